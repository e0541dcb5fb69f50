"""Images that videos begin with: uploads, kept in object storage for those who sent them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from generator_service.contract.answers import UploadedImage
from generator_service.media.first_frame import FirstFrame
from generator_service.storage import ObjectStore, image_key
from shared.errors import InvalidRequest, NotFound, TooMuchKept, Violation

LONGEST_SECONDS: Final = 3600


@dataclass(frozen=True)
class Images:
    """Every upload has a new id: what is stored never changes, and what the cleanup deletes does not come back."""

    objects: ObjectStore
    most: int
    """That one owner may have."""
    kept: timedelta
    """So long can a new job begin with one; after that it stays for the jobs that have not ended."""

    def keep(self, owner: str, image: FirstFrame, data: bytes) -> UploadedImage:
        """data: the file that was read.  Raises TooMuchKept and StorageUnavailable."""
        if len(self.objects.keys(image_key(owner))) >= self.most:
            reason = f"'{owner}' has {self.most} images here, as many as it may: use one again, or delete some"
            raise TooMuchKept(reason, retry_after=LONGEST_SECONDS)
        image_id = uuid4().hex
        self.objects.put(image_key(owner, image_id), data, image.media_type)
        width, height = image.picture.size
        expires_at = datetime.now(UTC) + self.kept
        return UploadedImage(id=image_id, sha256=image.sha256, width=width, height=height, expires_at=expires_at)

    def require(self, owner: str, image_id: str) -> None:
        """Raises InvalidRequest where the owner has no such image, or no new job can use it; StorageUnavailable."""
        try:
            stored_at = self.objects.stored_at(image_key(owner, image_id))
        except NotFound:
            stored_at = datetime.min.replace(tzinfo=UTC)
        if stored_at + self.kept < datetime.now(UTC):
            days = self.kept / timedelta(days=1)
            message = f"there is no upload '{image_id}' of yours: one can be used for {days:g} days"
            raise InvalidRequest(f"image: {message}", [Violation(field="image", message=message)])

    def delete(self, owner: str, image_id: str) -> None:
        """Raises NotFound and StorageUnavailable."""
        key = image_key(owner, image_id)
        try:
            self.objects.stored_at(key)
        except NotFound:
            raise NotFound(f"there is no image '{image_id}'") from None
        self.objects.delete(key)
