"""Finished videos on this machine's disk, until storage has them: no outage of storage, and no death of a worker while
it stores, costs the rendering.

{folder}/{job id}.zip: the files as they are to be stored, and the fingerprint of all that decides the video.  Whoever
takes the job next on this machine stores what is found here; a worker elsewhere goes on from the last checkpoint.
"""

import secrets
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from generator_service.contract.report import Diagnostics
from generator_service.jobs.store import JobStore
from generator_service.media.manifest import Manifest
from generator_service.rendering import Rendered
from shared.errors import Unavailable

_FINGERPRINT: Final = "fingerprint"
_VIDEO: Final = "video.mp4"
_PREVIEW: Final = "preview.png"
_MANIFEST: Final = "manifest.json"
_DIAGNOSTICS: Final = "report.json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Spooled:
    """What of `Rendered` is stored."""

    video: bytes
    preview: bytes
    manifest: Manifest
    diagnostics: Diagnostics


class Spool:
    """For all workers of one machine.  A disk that fails costs the copy, never the job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()

    def keep(self, job_id: str, fingerprint: str, rendered: Rendered | Spooled) -> None:
        partial = self._folder / f"{job_id}.{secrets.token_hex(4)}.partial"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with zipfile.ZipFile(partial, "w") as file:
                file.writestr(_FINGERPRINT, fingerprint)
                file.writestr(_VIDEO, rendered.video)
                file.writestr(_PREVIEW, rendered.preview)
                file.writestr(_MANIFEST, rendered.manifest.model_dump_json())
                file.writestr(_DIAGNOSTICS, rendered.diagnostics.model_dump_json())
            partial.replace(self._path(job_id))
        except OSError:
            log.exception("video_not_spooled")

    def load(self, job_id: str, fingerprint: str) -> Spooled | None:
        """The very video that would be rendered, if it is here."""
        try:
            with zipfile.ZipFile(self._path(job_id)) as file:
                if file.read(_FINGERPRINT).decode() != fingerprint:
                    log.warning("spooled_video_is_another")
                    return None
                found = Spooled(
                    video=file.read(_VIDEO),
                    preview=file.read(_PREVIEW),
                    manifest=Manifest.model_validate_json(file.read(_MANIFEST)),
                    diagnostics=Diagnostics.model_validate_json(file.read(_DIAGNOSTICS)),
                )
        except FileNotFoundError:
            return None
        except (OSError, zipfile.BadZipFile, KeyError, ValidationError):
            log.exception("spooled_video_unreadable")
            return None
        log.info("spooled_video_found")
        return found

    def tidy_up(self, store: JobStore) -> None:
        """Remove what no job needs any more: those that have ended, or are gone."""
        try:
            job_of = {path: path.name.partition(".")[0] for path in self._folder.glob("*.*")}
            needed = {record.id for record in store.some(set(job_of.values())) if not record.status.is_terminal}
            for path, job_id in job_of.items():
                if job_id not in needed:
                    path.unlink(missing_ok=True)
        except (OSError, Unavailable) as error:
            log.warning("spool_not_tidied", reason=str(error))

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.zip"
