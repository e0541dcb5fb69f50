"""What the commands that run beside the servers begin with: settings from the environment."""

from pydantic import ValidationError

from generator_service.cli_refusals import NONSENSE, refuse
from generator_service.settings import Settings, StorageSettings, WebhookSettings, WorkerSettings
from shared.errors import violations_of
from telemetry.logging import set_up_logging


def read_settings() -> Settings:
    """Names what is wrong, and ends the command, where they make no sense.  Sets up logging."""
    try:
        settings = Settings()
    except ValidationError as error:
        kinds = (Settings, StorageSettings, WorkerSettings, WebhookSettings)
        prefix = next(kind.model_config["env_prefix"] for kind in kinds if kind.__name__ == error.title)
        named = (f"{prefix}{violation.field.upper()}: {violation.message}" for violation in violations_of(error))
        refuse("; ".join(named), NONSENSE)
    set_up_logging(settings.log_format)
    return settings
