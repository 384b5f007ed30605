"""Bytes to pixels, within limits, and statistics of the pixels.

Training, evaluation and serving decode every picture with `read`: upright, RGB, 8 bits, and no
larger than needed. This file knows no task and no HTTP.
"""

import io
import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mien.errors import ImageError, ImageTypeError, TooLargeError

Pixels = NDArray[np.uint8]
"""(height, width, 3), RGB, upright."""

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SCANS, MAX_SCANNED_PIXELS = 20, 200_000_000
"""Scans of a progressive JPEG, and pixels of all scans together where there are more. A scan costs
the decoder as much as a plain picture, and the sender ten bytes. Encoders write about ten."""
_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
"""Start of a scan with one to four colours."""
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, AssertionError, struct.error, LookupError)
"""What Pillow raises over damaged files."""
Image.MAX_IMAGE_PIXELS = None  # the limits below are checked before a pixel is decoded
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32) / np.float32(255)  # ITU-R BT.601
_ORIENTATIONS_TO_APPLY = range(2, 9)
"""EXIF orientations that are not upright; from 5 on, width and height are swapped."""


@dataclass(frozen=True)
class Limits:
    """The largest picture that is decoded."""

    pixels: int = 50_000_000
    side: int = 20_000


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture."""

    pixels: Pixels
    """The picture, perhaps reduced."""
    size: tuple[int, int]
    """Width and height of the upright picture as it was sent."""


def decode(data: bytes, limits: Limits | None = None) -> Pixels:
    """The pixels of a JPEG, PNG or WEBP file in its full size; see `read`."""
    return read(data, limits).pixels


def read(data: bytes, limits: Limits | None = None, min_side: int | None = None) -> DecodedImage:
    """Decode a JPEG, PNG or WEBP file to upright RGB.

    EXIF orientation is applied, transparency is composed on white, 16-bit grey is scaled to 8.

    Args:
        data: the file.
        limits: on the size as sent.
        min_side: pixels of the shorter side that the reader needs. A picture of twice as many is
            read at a half, of four times as many at a quarter, and so on. A JPEG is decoded at
            that size, down to an eighth, which saves most of the work: its blocks of 8 x 8 pixels
            are computed as 4 x 4, 2 x 2 or 1. Other types are decoded and then averaged. None:
            all pixels.

    Raises:
        ImageTypeError: the bytes are not one of the three types, whatever their name says.
        TooLargeError: more pixels than the limits allow.
        ImageError: the file is cut off or damaged.
    """
    kind = sniff(data)
    if kind is None:
        raise ImageTypeError("This is not a JPEG, PNG or WEBP picture; send one of these.")
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            sent = picture.size
            _check_size(sent, limits or Limits())
            if kind == "JPEG":
                _check_scans(data, sent)
            times = _reduction(picture, min_side)
            upright, crosswise = _apply_orientation(picture)
            colour = _to_rgb(upright)
            pixels = np.asarray(colour.reduce(times) if times > 1 else colour)
            return DecodedImage(pixels, sent[::-1] if crosswise else sent)
    except UnidentifiedImageError:
        raise ImageError(f"The {kind} header is damaged; send the picture again.") from None
    except _BROKEN as error:
        raise ImageError(f"The {kind} picture is cut off or damaged ({error}).") from None


def sniff(data: bytes) -> str | None:
    """Return JPEG, PNG, WEBP by the first bytes, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def image_stats(pixels: Pixels) -> dict[str, float]:
    """Brightness (mean luma, 0..1) and sharpness (variance of the Laplacian of luma, 0..1 scale).

    Both are taken on a thinned copy of at most about 256 pixels a side, so that their cost
    does not grow with the picture.
    """
    step = max(1, min(pixels.shape[:2]) // 256)
    thin = pixels[::step, ::step]
    luma = thin[..., 0] * _LUMA[0]  # colour by colour: faster than a product of matrices
    for colour in (1, 2):
        luma += thin[..., colour] * _LUMA[colour]
    laplacian = luma[1:-1, 1:-1] * np.float32(-4)
    for neighbour in (luma[:-2, 1:-1], luma[2:, 1:-1], luma[1:-1, :-2], luma[1:-1, 2:]):
        laplacian += neighbour
    sharpness = float(laplacian.var()) if laplacian.size else 0.0
    return {"brightness": float(luma.mean()), "sharpness": sharpness}


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise TooLargeError(
            f"The picture is too large: expected at most {limits.pixels / 1e6:g} megapixels, found "
            f"{width * height / 1e6:.1f}. Scale it down."
        )
    if max(size) > limits.side:
        raise TooLargeError(
            f"The picture is too large: expected a longer side of at most {limits.side} pixels, "
            f"found {max(size)}. Scale it down."
        )


def _check_scans(data: bytes, size: tuple[int, int]) -> None:
    scans = len(_SCAN.findall(data))
    if scans > MAX_SCANS and scans * size[0] * size[1] > MAX_SCANNED_PIXELS:
        raise ImageError(f"The JPEG has too many scans: {scans}. Save it again as a plain JPEG.")


def _reduction(picture: Image.Image, min_side: int | None) -> int:
    """Let a JPEG decode at reduced size; return by how many times it must still be reduced."""
    times = min(picture.size) // min_side if min_side else 1
    if min_side is None or times < 2:
        return 1
    width = picture.width
    drafted = picture.draft(None, (min_side, min_side))  # None: only a JPEG knows a short cut
    drafted_times = round(width / drafted[1][2]) if drafted else 1
    return (1 << (times.bit_length() - 1)) // drafted_times


def _apply_orientation(picture: Image.Image) -> tuple[Image.Image, bool]:
    """Apply the EXIF orientation; also return whether it swaps width and height.

    A picture with damaged EXIF stays as it is.
    """
    picture.load()  # raises for damaged pixels; a PNG may hold its EXIF after them
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation in _ORIENTATIONS_TO_APPLY:
            return ImageOps.exif_transpose(picture), orientation >= 5
    except (struct.error, SyntaxError, ValueError, TypeError, KeyError):
        pass
    return picture, False


def _to_rgb(upright: Image.Image) -> Image.Image:
    if upright.mode.startswith("I"):
        grey = np.asarray(upright, dtype=np.float64) / 257.0  # 65535 / 255
        upright = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.new("RGBA", layer.size, "white")
        upright.alpha_composite(layer)
    return upright if upright.mode == "RGB" else upright.convert("RGB")  # which would copy it
