"""The image that a video begins with, as it was sent: hostile until it is read."""

import hashlib
import io
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from generator_service.contract.request import MAXIMUM_IMAGE_BYTES, MAXIMUM_IMAGE_PIXELS
from shared.errors import InvalidRequest, Violation

_FORMATS: Final = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class FirstFrame:
    picture: Image.Image
    """RGB, the way up that its file says; of any size."""
    media_type: str
    sha256: str
    """Of the file."""

    @classmethod
    def read(cls, data: bytes) -> "FirstFrame":
        """All of it is decoded; of several pictures the first one.  Raises InvalidRequest, which names `image`."""
        if len(data) > MAXIMUM_IMAGE_BYTES:
            raise _refusal(f"{len(data):,} bytes, and {MAXIMUM_IMAGE_BYTES:,} are allowed")
        try:
            # Nothing but the header is read before the size is known.
            file = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = file.size
            picture = None
            if width * height <= MAXIMUM_IMAGE_PIXELS:
                picture = ImageOps.exif_transpose(file).convert("RGB")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _refusal(f"too many pixels: {MAXIMUM_IMAGE_PIXELS:,} are allowed") from None
        except UnidentifiedImageError:
            raise _refusal("no PNG, JPEG or WebP") from None
        except Exception as error:  # Pillow has no class for it: of a damaged file nearly everything is raised
            raise _refusal("a damaged file: it cannot be decoded") from error
        if picture is None:
            raise _refusal(f"{width} × {height} pixels, and {MAXIMUM_IMAGE_PIXELS:,} are allowed in all")
        return cls(picture, str(file.get_format_mimetype()), hashlib.sha256(data).hexdigest())


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest(f"image: {message}", [Violation(field="image", message=message)])
