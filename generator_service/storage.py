"""Object storage for videos: S3 and compatible servers, a folder, or memory.

jobs/{id}/{attempt}/video.mp4 · plan.json · preview.png · manifest.json · report.json

and, until the job is done, jobs/{id}/checkpoint.bin; and images/{owner}/{id}, which a job may begin with.

Each attempt writes to its own folder, so a late attempt cannot overwrite the results of the next one.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
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
"""No retry starts later than this after the first try."""
CHECK_SECONDS: Final = 3.0
"""Timeout of the readiness probe, which is not retried."""

_UNUSED_PREFIX: Final = "readiness"
_IMAGES: Final = "images/"

VIDEO_TYPE: Final = "video/mp4"
PREVIEW_TYPE: Final = "image/png"
JSON_TYPE: Final = "application/json"
CHECKPOINT_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True)
class JobKeys:
    """Object keys of one attempt at one job."""

    job_id: str
    attempt: int = 1

    @property
    def prefix(self) -> str:
        return f"jobs/{self.job_id}/"

    @property
    def checkpoint(self) -> str:
        """Shared by all attempts: each resumes from it."""
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


def image_key(owner: str, image_id: str = "") -> str:
    """Without an id: the prefix of all of the owner's."""
    return f"{_IMAGES}{owner}/{image_id}"


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
        """Write or replace an object, atomically.  A browser that is led to it saves it; in a page it is shown."""
        filename = key.rpartition("/")[2]
        attributes = {"Content-Type": content_type, "Content-Disposition": f'attachment; filename="{filename}"'}
        with _errors_as_unavailable():
            if isinstance(self._store, LocalStore):  # files have no attributes
                self._store.put(key, data)
            else:
                self._store.put(key, data, attributes=attributes)

    def get(self, key: str) -> bytes:
        """Raises NotFound."""
        with _errors_as_unavailable():
            try:
                return bytes(self._store.get(key).bytes())
            except FileNotFoundError as error:
                raise NotFound(f"the storage holds no '{key}'") from error

    def stored_at(self, key: str) -> datetime:
        """By the storage's clock.  Raises NotFound."""
        with _errors_as_unavailable():
            try:
                return self._store.head(key)["last_modified"]
            except FileNotFoundError as error:
                raise NotFound(f"the storage holds no '{key}'") from error

    def path(self, key: str) -> Path | None:
        """The object's file; None where the storage is no folder.  Raises NotFound."""
        if self._folder is None:
            return None
        path = self._folder / key
        if not path.is_file():
            raise NotFound(f"the storage holds no '{key}'")
        return path

    def keys(self, prefix: str) -> tuple[str, ...]:
        """All keys under `prefix`, which ends in "/"."""
        if not prefix.endswith("/"):
            raise ValueError(f"Got the prefix {prefix!r} but expected one that ends in '/'")
        with _errors_as_unavailable():
            return tuple(entry["path"] for chunk in self._store.list(prefix) for entry in chunk)

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects under `prefix`, which ends in "/"."""
        self._delete(self.keys(prefix))

    def delete_leftovers(self, job_id: str, winner: int | None) -> None:
        """Delete all objects of an ended job except the results of attempt `winner`."""
        results = None if winner is None else JobKeys(job_id, winner).attempt_prefix
        stored = self.keys(JobKeys(job_id).prefix)
        self._delete(key for key in stored if results is None or not key.startswith(results))

    def delete_images(self, before: datetime, in_use: Callable[[str], Collection[str]]) -> None:
        """Those that were stored before then, but for the ids that are in use, of an owner's."""
        with _errors_as_unavailable():
            stored = [entry for chunk in self._store.list(_IMAGES) for entry in chunk]
        used: dict[str, Collection[str]] = {}
        for key in (entry["path"] for entry in stored if entry["last_modified"] < before):
            owner, _, image = key.removeprefix(_IMAGES).partition("/")
            if owner not in used:
                used[owner] = in_use(owner)
            if image not in used[owner]:
                self._delete((key,))

    def delete(self, key: str) -> None:
        """Nothing happens where there is none."""
        self._delete((key,))

    def _delete(self, keys: Iterable[str]) -> None:
        with _errors_as_unavailable():
            for key in keys:
                with suppress(FileNotFoundError):  # deleted concurrently
                    self._store.delete(key)

    def sign(self, key: str) -> str | None:
        """A presigned GET URL, valid for `url_seconds`; the object need not exist.

        None where the storage cannot sign (folder, memory): the API then serves the bytes itself.
        """
        if self._signer is None:
            return None
        with _errors_as_unavailable():
            return obstore.sign(self._signer, "GET", key, self._url_lifetime)

    @cached_property
    def signs_for(self) -> str | None:
        """The origin to which signed URLs lead, such as https://s3.example.com; None where the storage cannot sign."""
        url = self.sign(_UNUSED_PREFIX)
        return None if url is None else url[: url.index("/", url.index("//") + 2)]

    def check(self) -> None:
        """Readiness probe: one listing within `CHECK_SECONDS`."""
        if self._folder is not None and not os.access(self._folder, os.W_OK | os.X_OK):
            raise StorageUnavailable("the storage folder is missing or cannot be written to")
        with _errors_as_unavailable():
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
def _errors_as_unavailable() -> Iterator[None]:
    """Storage errors as StorageUnavailable.  A missing bucket is one too: the job can be retried once it exists."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageUnavailable("the object storage refuses the service's keys") from error
    except (BaseError, OSError) as error:
        raise StorageUnavailable("the object storage does not answer as it should") from error
