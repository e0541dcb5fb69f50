"""The generator's environment, read once, at the edge.  Every variable begins with `GENERATOR_`."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from generator_service.contract.backbones import DEFAULT_BACKBONE
from shared.environment import Environment


class BadSettings(ValueError):
    """Well-formed settings that cannot work: a malformed address, or a combination that is not allowed."""


class StorageSettings(Environment):
    """Where videos go."""

    model_config = SettingsConfigDict(env_prefix="GENERATOR_STORAGE_")

    url: str = "s3://videos"
    """`s3://bucket[/prefix]`, `file:///folder` or `memory://`."""
    endpoint: str | None = None
    """The S3 server's address as the services see it; None: Amazon's."""
    public_endpoint: str | None = None
    """The same server's address as clients see it, for signed URLs; None: the same as `endpoint`."""
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: SecretStr | None = None
    url_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 900
    """Lifetime of a presigned URL: until then, whoever has it may fetch the file."""


def _refuse_ring(wish: object) -> object:
    if isinstance(wish, str) and "ring" in wish.lower():
        raise ValueError(
            "Got ring attention but expected how many GPUs share a video by Ulysses: in a ring a rank sees some of the "
            "keys at a time, and guided attention weighs each against all others"
        )
    return wish


class WorkerSettings(Environment):
    """What a render worker keeps in memory, and how."""

    model_config = SettingsConfigDict(env_prefix="GENERATOR_RENDER_", env_ignore_empty=True)

    backbone: str = DEFAULT_BACKBONE
    weights: Path | None = None
    """A local folder in diffusers' format; None: packaged weights or the hub's cache."""
    lora: Path | None = None
    """A LoRA for these weights, a .safetensors file: of a style, or one that makes do with four steps."""
    device: str = "auto"
    """"auto" is "cuda" where there is one, else "cpu"."""
    context_parallel: Annotated[int, Field(ge=1), BeforeValidator(_refuse_ring)] = 1
    """How many GPUs share each video: Ulysses, so the network's heads must come out even.  The worker then is torchrun,
    with a process for each."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """"auto" is, on a GPU, bfloat16 for Wan and else the checkpoint's own; on a CPU float32."""
    offload: Literal["none", "model", "group"] = "none"
    """diffusers' CPU offload, which saves GPU memory and costs time: of whole networks; or of layers, the next of which
    are fetched while others compute."""
    layerwise_casting: bool = False
    """Keep the denoising network's weights in 8 bits (float8 e4m3) and cast a layer when it computes: half the memory,
    and a little less exact."""
    vae_tiling: bool = False
    """Decode in tiles: less memory, slower."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10.0
    """A render is saved so often, or less often where saving is slow: what a killed worker's successor does again."""


class WebhookSettings(Environment):
    """Webhooks: notifying clients that jobs have ended."""

    model_config = SettingsConfigDict(env_prefix="GENERATOR_WEBHOOK_", env_ignore_empty=True)

    secret: Annotated[SecretStr, Field(min_length=24)] | None = None
    """Every owner's signing secret is derived from it; the same for the API and the webhook workers.  None: no
    webhooks."""
    ports: frozenset[Annotated[int, Field(ge=1, le=65535)]] = frozenset({443, 8443})
    """Ports that a target may use."""
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are allowed although not public, at any port, and over plain HTTP too."""


class Settings(Environment):
    model_config = SettingsConfigDict(env_prefix="GENERATOR_")

    host: str = "127.0.0.1"
    port: int = 8080
    require_keys: bool = False
    """Whether callers need an API key; without keys the API listens on loopback only."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Of the API, which share its port.  One answers about a thousand requests a second on a core of its own."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    planner_url: str = "http://127.0.0.1:8081"
    planner_token: SecretStr | None = None
    """The planner's PLANNER_TOKEN, if it requires one."""
    planner_patience: Annotated[float, Field(ge=0)] = 600.0
    """Seconds for which a job is tried again whose planner, or its language model, is gone; then it fails.  What counts
    is its tries and the pauses after them, not its turns in the queue."""
    planner_timeout: float = 400.0
    """Seconds a plan may take: four completions of a language model, 90 each unless the planner is told otherwise, and
    the pauses before a connection is tried again."""
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 3.0
    """After three missed heartbeats a worker counts as dead, which is noticed within one more."""
    maximum_attempts: Annotated[int, Field(ge=1)] = 3
    """How many workers may die with one job before the job fails."""
    job_seconds: Annotated[int, Field(ge=60)] = 4 * 3600
    """The longest a job may run."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where a worker serves health and metrics, at `host`; None: nowhere.  The API serves its own at its own port."""
    maximum_work: Annotated[int, Field(ge=1)] = 2 * 121 * 1280 * 704 * 50
    """Frames x pixels x steps of one job: twice the longest video of any backbone by itself, Wan 2.2's."""
    queue_limit: Annotated[int, Field(ge=1)] = 10_000
    """How many jobs may wait in one queue; more are refused with 429."""
    owner_unfinished: Annotated[int, Field(ge=1)] = 5_000
    """How many unfinished jobs one owner may have."""
    owner_rate: Annotated[float, Field(gt=0)] = 50.0
    """How many jobs a second one owner may submit in the long run."""
    owner_burst: Annotated[int, Field(ge=1)] = 500
    """And how many in one burst."""
    owner_kept: Annotated[int, Field(ge=1)] = 50_000
    """How many jobs one owner may have, the ended ones that are still kept included; and how many Idempotency-Keys."""
    owner_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """What one owner's requests and plans may take of Redis' memory."""
    owner_images: Annotated[int, Field(ge=1)] = 1_000
    """How many images that videos begin with one owner may have, of 10 MiB at most each."""
    owner_streams: Annotated[int, Field(ge=1)] = 100
    """How many event streams one owner may have open at each process of the API."""
    retention_days: Annotated[float, Field(gt=0)] = 7.0
    """How long an ended job is kept: record, plan and files; and for how long an uploaded image can be used."""
    maximum_body_bytes: Annotated[int, Field(ge=1024)] = 2 * 1024 * 1024
    cors_origins: tuple[str, ...] = ()
    """Whose pages in browsers may call the API and read its answers, as a JSON list: ["https://app.example.com"]."""
    root_path: Annotated[str, Field(pattern=r"^(/[^/?#]+)*$")] = ""
    """The path under which a proxy serves the API, whether it takes it away or not: /video."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of the proxies whose X-Forwarded-For and -Proto are believed, as a JSON list."""
    log_format: Literal["console", "json"] = "console"
    storage: StorageSettings = Field(default_factory=StorageSettings)
    render: WorkerSettings = Field(default_factory=WorkerSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
