"""What both services' settings are read from: environment variables, and files for what should not stand in one."""

from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

SECRETS: Final = Path("/run/secrets")
"""Where containers find secrets: each a file, named like its variable in small letters."""


class Environment(BaseSettings):
    """The base of all settings.  A variable goes before a file."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = (SecretsSettingsSource(settings_cls, SECRETS),) if SECRETS.is_dir() else ()
        return init_settings, env_settings, *files
