"""Where videos are kept: one port over S3 (and whatever speaks its protocol), a folder, or this process's memory.

jobs/{id}/{attempt}/video.mp4 · plan.json · preview.png · manifest.json · report.json

and, while the job is not done, jobs/{id}/checkpoint.bin.

Each attempt has a folder of its own: one that was taken for dead and comes back late touches nothing of the next one's.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, S3Store

from generator_service.settings import BadSettings, StorageSettings
from shared.errors import NotFound, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import S3Config  # exists for type checkers only

CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 60.0
"""One request, its body included."""
RETRIES: Final = 3
RETRY_SECONDS: Final = 30.0
"""No retry begins later than this after the first try."""
CHECK_SECONDS: Final = 3.0
"""The readiness probe's patience: one request, no retry."""

_UNUSED_PREFIX: Final = "readiness"

VIDEO_TYPE: Final = "video/mp4"
PREVIEW_TYPE: Final = "image/png"
JSON_TYPE: Final = "application/json"
CHECKPOINT_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True)
class JobKeys:
    """The keys of everything that is stored for one job, in one attempt at it."""

    job_id: str
    attempt: int = 1

    @property
    def prefix(self) -> str:
        return f"jobs/{self.job_id}/"

    @property
    def checkpoint(self) -> str:
        """Every attempt's, since each goes on from it."""
        return f"{self.prefix}checkpoint.bin"

    @property
    def attempt_prefix(self) -> str:
        return f"{self.prefix}{self.attempt}/"

    @property
    def video(self) -> str:
        return f"{self.attempt_prefix}video.mp4"

    @property
    def plan(self) -> str:
        return f"{self.attempt_prefix}plan.json"

    @property
    def preview(self) -> str:
        return f"{self.attempt_prefix}preview.png"

    @property
    def manifest(self) -> str:
        return f"{self.attempt_prefix}manifest.json"

    @property
    def report(self) -> str:
        return f"{self.attempt_prefix}report.json"


class ObjectStore:
    """Every method may be called from any thread, and raises StorageUnavailable where the storage does not answer."""

    def __init__(
        self,
        store: S3Store | LocalStore | MemoryStore,
        *,
        probe: S3Store | None = None,
        signer: S3Store | None = None,
        folder: Path | None = None,
        url_seconds: int,
    ) -> None:
        self._store = store
        self._probe = probe
        self._signer = signer
        self._folder = folder
        self._url_lifetime = timedelta(seconds=url_seconds)

    @classmethod
    def open(cls, settings: StorageSettings, *, request_seconds: float = REQUEST_SECONDS) -> "ObjectStore":
        """Connects to nothing yet.  Raises BadSettings, and OSError for a folder that cannot be made."""
        url = urlsplit(settings.url)
        if url.scheme == "s3" and url.netloc:
            prefix = unquote(url.path).strip("/") or None
            patient = _s3(settings, url.netloc, prefix, settings.endpoint, request_seconds, RETRIES)
            probe = _s3(settings, url.netloc, prefix, settings.endpoint, CHECK_SECONDS, 0)
            public = settings.public_endpoint or settings.endpoint
            signer = _s3(settings, url.netloc, prefix, public, request_seconds, RETRIES)
            return cls(patient, probe=probe, signer=signer, url_seconds=settings.url_seconds)
        if url.scheme == "file" and not url.netloc and url.path:
            folder = Path(unquote(url.path))
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder, automatic_cleanup=True), folder=folder, url_seconds=settings.url_seconds)
        if url.scheme == "memory":
            return cls(MemoryStore(), url_seconds=settings.url_seconds)
        raise BadSettings(f"Got the storage URL {settings.url!r} but expected s3://bucket, file:///folder or memory://")

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write an object, or replace it; nobody ever sees half of it."""
        filename = key.rpartition("/")[2]
        attributes = {"Content-Type": content_type, "Content-Disposition": f'inline; filename="{filename}"'}
        with _answering():
            if isinstance(self._store, LocalStore):  # a folder has no place for attributes
                self._store.put(key, data)
            else:
                self._store.put(key, data, attributes=attributes)

    def get(self, key: str) -> bytes:
        """Raises NotFound."""
        with _answering():
            try:
                return bytes(self._store.get(key).bytes())
            except FileNotFoundError as error:
                raise NotFound(f"the storage holds no '{key}'") from error

    def keys(self, prefix: str) -> tuple[str, ...]:
        """Of every object whose key begins with `prefix`, which ends in "/"."""
        if not prefix.endswith("/"):
            raise ValueError(f"Got the prefix {prefix!r} but expected one that ends in '/'")
        with _answering():
            return tuple(entry["path"] for chunk in self._store.list(prefix) for entry in chunk)

    def delete_prefix(self, prefix: str) -> None:
        """Delete every object whose key begins with `prefix`, which ends in "/"; none is no error."""
        self._delete(self.keys(prefix))

    def delete_leftovers(self, job_id: str, winner: int | None) -> None:
        """Delete all that is stored for a job that has ended, but for the results of the attempt that won, if any."""
        results = None if winner is None else JobKeys(job_id, winner).attempt_prefix
        stored = self.keys(JobKeys(job_id).prefix)
        self._delete(key for key in stored if results is None or not key.startswith(results))

    def _delete(self, keys: Iterable[str]) -> None:
        with _answering():
            for key in keys:
                with suppress(FileNotFoundError):  # somebody else deletes the same
                    self._store.delete(key)

    def sign(self, key: str) -> str | None:
        """A URL that anyone may GET for `url_seconds`, whether or not there is such an object.

        None where the storage cannot sign (folder, memory): then the API serves the bytes itself.
        """
        if self._signer is None:
            return None
        with _answering():
            return obstore.sign(self._signer, "GET", key, self._url_lifetime)

    def check(self) -> None:
        """Returns if the storage answers, within `CHECK_SECONDS`; writes nothing."""
        if self._folder is not None and not os.access(self._folder, os.W_OK | os.X_OK):
            raise StorageUnavailable("the storage folder is missing or cannot be written to")
        with _answering():
            (self._probe or self._store).list(_UNUSED_PREFIX).collect()


def _s3(
    settings: StorageSettings, bucket: str, prefix: str | None, endpoint: str | None, seconds: float, retries: int
) -> S3Store:
    if endpoint is not None:
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise BadSettings(f"Got the storage endpoint {endpoint!r} but expected http://host or https://host")
    config: S3Config = {"region": settings.region}
    if endpoint is not None:
        config["endpoint"] = endpoint
    if settings.access_key is not None:
        config["access_key_id"] = settings.access_key
    if settings.secret_key is not None:
        config["secret_access_key"] = settings.secret_key.get_secret_value()
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(seconds, CONNECT_SECONDS)),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=min(seconds, RETRY_SECONDS)),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )


@contextmanager
def _answering() -> Iterator[None]:
    """A missing bucket is an outage as any other: somebody will put it right, and the job may be tried again."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageUnavailable("the object storage refuses the service's keys") from error
    except (BaseError, OSError) as error:
        raise StorageUnavailable("the object storage does not answer as it should") from error
