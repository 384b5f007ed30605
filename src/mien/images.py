"""Bytes to pixels, within limits, and what can be measured of the pixels.

Every picture that mien looks at, in training, evaluation and serving, comes through `decode`:
upright, RGB, 8 bits. This file knows no task and no HTTP.
"""

import io
import struct
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import ImageError, ImageTypeError, TooLargeError

Pixels = NDArray[np.uint8]
"""(height, width, 3), RGB, upright."""

FORMATS = ("JPEG", "PNG", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # the limits below are checked before a pixel is decoded


@dataclass(frozen=True)
class Limits:
    """The largest picture that is decoded."""

    pixels: int = 50_000_000
    side: int = 20_000


def decode(data: bytes, limits: Limits | None = None) -> Pixels:
    """Decode a JPEG, PNG or WEBP file to upright RGB.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8.

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
            _check_size(picture.size, limits or Limits())
            return _to_rgb(picture)
    except UnidentifiedImageError:
        raise ImageError(f"The {kind} header is damaged; send the picture again.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
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


def measures(pixels: Pixels) -> dict[str, float]:
    """Brightness (mean luma, 0..1) and sharpness (variance of the Laplacian of luma, 0..1 scale).

    Both are taken on a thinned copy of at most about 256 pixels a side, so that their cost
    does not grow with the picture.
    """
    step = max(1, min(pixels.shape[:2]) // 256)
    thin = pixels[::step, ::step].astype(np.float32) / 255.0
    luma = thin @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    sharpness = float(laplacian.var()) if laplacian.size else 0.0
    return {"brightness": float(luma.mean()), "sharpness": sharpness}


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        found, allowed = width * height / 1e6, limits.pixels / 1e6
        raise TooLargeError(
            f"The picture has {found:.1f} megapixels; up to {allowed:g} are taken. Scale it down."
        )
    if max(size) > limits.side:
        raise TooLargeError(
            f"The picture's longer side is {max(size)} pixels; up to {limits.side} are taken."
        )


def _turned(picture: Image.Image) -> Image.Image:
    """Apply the orientation that EXIF tells; a picture with damaged EXIF is taken as it lies."""
    try:
        return ImageOps.exif_transpose(picture)
    except (struct.error, SyntaxError, ValueError, TypeError, KeyError):
        picture.load()  # what is damaged beyond EXIF is told here
        return picture


def _to_rgb(picture: Image.Image) -> Pixels:
    upright = _turned(picture)
    if upright.mode.startswith("I"):
        grey = np.asarray(upright, dtype=np.float64) / 257.0  # 65535 / 255
        upright = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.new("RGBA", layer.size, "white")
        upright.alpha_composite(layer)
    return cast(Pixels, np.ascontiguousarray(upright.convert("RGB"), dtype=np.uint8))
