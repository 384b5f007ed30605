"""Images of types that `images.read` does not take: as PNG with the same pixels.

BMP, TIFF, GIF (its first frame) and other types that the installed Pillow reads become PNG files in
the cache, by content. Orientation and colour profile stay.
"""

import io
import struct
from hashlib import sha256
from pathlib import Path

from PIL import ExifTags, Image

from mien import images
from mien.storage.files import atomic_write

TYPES = ("BMP", "DIB", "TIFF", "GIF", "AVIF", "HEIF", "PPM", "JPEG2000", "TGA", "PCX")
"""Of these, the ones that the installed Pillow reads are converted."""
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")
"""What PNG holds; others become RGB."""
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, LookupError, TypeError),
    *(ArithmeticError, AttributeError),  # over odd tags of TIFF
)
_HEADER_BYTES = 64


def readable_path(path: Path, cache: Path) -> tuple[Path, str]:
    """A file with the pixels of an image that `images.read` takes, and the type of the image.

    That is the image itself, also where it cannot be read at all; its type is `other` then.
    """
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  faster for 64 bytes
        kind = images.sniff(stream.read(_HEADER_BYTES))
    if kind is not None and kind in images.FORMATS:
        return path, kind
    content = path.read_bytes()
    converted = cache / "converted" / f"{sha256(content).hexdigest()}.png"
    kind = image_type(content)
    if kind is None:
        return path, "other"
    if not converted.is_file():
        png = _to_png(content, kind)
        if png is None:
            return path, "other"
        converted.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(converted) as temporary:
            temporary.write_bytes(png)
    return converted, kind


def image_type(content: bytes) -> str | None:
    """The type of an image that can be converted; None for other bytes."""
    Image.init()  # without it Pillow knows some of its formats by their file names only
    formats = [each for each in TYPES if each in Image.OPEN]
    try:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            return picture.format
    except _BROKEN:
        return None


def _to_png(content: bytes, kind: str) -> bytes | None:
    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            limits = images.Limits()
            too_large = picture.width * picture.height > limits.pixels
            if too_large or max(picture.size) > limits.side or picture.mode == "F":
                return None  # the unit of floats is not known
            picture.load()
            exif = Image.Exif()
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
            if orientation:
                exif[ExifTags.Base.Orientation] = orientation
            profile = picture.info.get("icc_profile")
            writable = picture if picture.mode in _MODES else picture.convert("RGB")
            out = io.BytesIO()
            writable.save(out, "PNG", exif=exif, icc_profile=profile, compress_level=1)
            return out.getvalue()
    except _BROKEN:
        return None
