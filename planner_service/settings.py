"""The planner's environment, read once, at the edge.  Every variable begins with `PLANNER_`."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.environment import Environment


class Settings(Environment):
    model_config = SettingsConfigDict(env_prefix="PLANNER_")

    host: str = "127.0.0.1"
    port: int = 8081
    token: SecretStr | None = None
    """Who wants a plan must show it; None: nobody is asked."""
    language_model_url: str | None = None
    """The base URL of an OpenAI-compatible server, "http://vllm:8000/v1"; None: plan with the parser only."""
    language_model_name: str = "meta-llama/Llama-3.3-70B-Instruct"
    language_model_key: SecretStr | None = None
    language_model_seconds: Annotated[float, Field(gt=0)] = 90.0
    """The longest one completion may take, waiting for a connection and retries included; a plan takes four at most."""
    language_model_connections: Annotated[int, Field(ge=1)] = 8
    """How many completions may be under way at once; more wait."""
    language_model_fallback: bool = False
    """Whether "auto" plans with the parser while the language model is unavailable."""
    maximum_body_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    log_format: Literal["console", "json"] = "console"
