"""What is sent as an image is read, or refused by name and limit, whatever it is."""

import hashlib
import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from generator_service.contract.request import MAXIMUM_IMAGE_BYTES, MAXIMUM_IMAGE_PIXELS
from generator_service.media.first_frame import FirstFrame
from shared.errors import InvalidRequest


def file_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A file that says it is so large, and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_can_be_read(photo: Image.Image, kind: str) -> None:
    data = file_of(photo, kind)
    read = FirstFrame.read(data)
    assert (read.picture.mode, read.picture.size, read.media_type) == ("RGB", (70, 40), f"image/{kind.lower()}")
    assert read.sha256 == hashlib.sha256(data).hexdigest()
    red, green, _ = read.picture.getpixel((5, 5))  # type: ignore[misc]
    assert red > 150 > 80 > green


def test_it_is_the_way_up_that_its_file_says(photo: Image.Image) -> None:
    exif = photo.getexif()
    exif[0x0112] = 6  # a quarter turn clockwise
    turned = FirstFrame.read(file_of(photo, exif=exif)).picture
    assert turned.size == (40, 70)
    assert turned.getpixel((39, 0)) == photo.getpixel((0, 0))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_other_modes_are_read_as_rgb(photo: Image.Image, mode: str) -> None:
    picture = Image.new("I;16", (70, 40)) if mode == "I;16" else photo.convert(mode)
    assert FirstFrame.read(file_of(picture, "JPEG" if mode == "CMYK" else "PNG")).picture.mode == "RGB"


def truncated(photo: Image.Image, kind: str) -> bytes:
    data = file_of(photo, kind)
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no PNG, JPEG or WebP"),
        ("text", "no PNG, JPEG or WebP"),
        ("SVG", "no PNG, JPEG or WebP"),
        ("GIF", "no PNG, JPEG or WebP"),
        ("truncated PNG", "a damaged file"),
        ("truncated JPEG", "a damaged file"),
        ("truncated WEBP", "a damaged file"),
        ("compressed text of 100 MB", "a damaged file"),
        ("one pixel too many", f"4096 × 4097 pixels, and {MAXIMUM_IMAGE_PIXELS:,} are allowed"),
        ("bomb", "too many pixels"),
        ("large bomb", "too many pixels"),
        ("too large", f"10,485,761 bytes, and {MAXIMUM_IMAGE_BYTES:,} are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(photo: Image.Image, name: str, message: str) -> None:
    def data() -> bytes:
        match name.split():
            case ["nothing"]:
                return b""
            case ["text"]:
                return b"http://169.254.169.254/latest"
            case ["SVG"]:
                return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
            case ["GIF"]:
                return file_of(photo, "GIF")
            case ["truncated", kind]:
                return truncated(photo, kind)
            case ["compressed", *_]:
                plain = file_of(photo)
                text = b"Comment\0\0" + zlib.compress(bytes(100_000_000))
                chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
                return plain[:33] + chunk + plain[33:]
            case ["one", *_]:
                return png_of(4096, 4097)
            case ["bomb"]:
                return png_of(10_000, 10_000)
            case ["large", _]:
                return png_of(2**31 - 1, 2**31 - 1)
            case _:
                return bytes(MAXIMUM_IMAGE_BYTES + 1)

    with pytest.raises(InvalidRequest) as refusal:
        FirstFrame.read(data())
    assert [violation.field for violation in refusal.value.violations] == ["image"]
    assert message in refusal.value.detail
