"""Bytes to pixels, within limits, and statistics of the pixels.

Training, evaluation and serving decode every picture with `read`: upright, RGB, 8 bits, and no
larger than needed. This file knows no task and no HTTP.
"""

import io
import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from mien.errors import ImageError, ImageTypeError, TooLargeError

from . import colour, containers

Pixels = NDArray[np.uint8]
"""(height, width, 3), sRGB, upright."""

FORMATS = ("JPEG", "PNG", "WEBP", *(("AVIF",) if features.check("avif") else ()))
"""What is decoded; AVIF where Pillow was built with it, as its wheels are."""
REDUCED_LIMIT, PROGRESSIVE_LIMIT = 4, 2
"""How many times the limit on pixels a JPEG may have that is decoded at reduced size: its codes are
read in full, for a quarter of the cost. Of a progressive one, all coefficients stay in memory."""
MAX_SCANS, MAX_SCANNED_PIXELS = 20, 200_000_000
"""Scans of a progressive JPEG, and pixels of all scans together where there are more. A scan costs
the decoder as much as a plain picture, and the sender ten bytes. Encoders write about ten."""
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, AssertionError, struct.error, LookupError)
"""What Pillow raises over damaged files."""
Image.MAX_IMAGE_PIXELS = None  # the limits below are checked before a pixel is decoded
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32) / np.float32(255)  # ITU-R BT.601
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation; from 5 on, width and height are swapped."""
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
)
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
}
"""Of files in ISO's base media format, the first one listed that is known."""
_BRAND_BYTES = 64


@dataclass(frozen=True)
class Limits:
    """The largest picture that is decoded."""

    pixels: int = 64_000_000
    """Of a JPEG that is decoded at reduced size, see `REDUCED_LIMIT`."""
    side: int = 65_535


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture."""

    pixels: Pixels
    """The picture, perhaps reduced."""
    size: tuple[int, int]
    """Width and height of the upright picture as it was sent."""


def decode(data: bytes, limits: Limits | None = None) -> Pixels:
    """The pixels of an image file in its full size; see `read`."""
    return read(data, limits).pixels


def read(data: bytes, limits: Limits | None = None, min_side: int | None = None) -> DecodedImage:
    """Decode a file of one of `FORMATS` to upright sRGB.

    The orientation and the colour profile in the file are applied, transparency is composed on
    white, 16-bit grey is scaled to 8.

    Args:
        data: the file.
        limits: on the size.
        min_side: pixels of the shorter side that the reader needs. A picture of twice as many is
            read at a half, of four times as many at a quarter, and so on. A JPEG is decoded at
            that size, down to an eighth, which saves most of the work: its blocks of 8 x 8 pixels
            are computed as 4 x 4, 2 x 2 or 1. Other types are decoded and then averaged. None:
            all pixels.

    Raises:
        ImageTypeError: the bytes are of none of these types, whatever their name says.
        TooLargeError: more pixels than the limits allow.
        ImageError: the file is cut off or damaged.
    """
    image, size = read_image(data, limits, min_side)
    return DecodedImage(np.asarray(image), size)


def read_image(
    data: bytes, limits: Limits | None = None, min_side: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """What `read` returns as an image of Pillow, for those that go on with Pillow, and its size."""
    kind = sniff(data)
    if kind is None or kind not in FORMATS:
        raise ImageTypeError(_unsupported(kind))
    try:
        file = containers.split(data, kind)
        image = _decode(file, file.data, kind, limits or Limits(), min_side)
        if file.padded is not None:
            again = _decode(file, file.padded, kind, limits or Limits(), min_side)
            if not np.array_equal(np.asarray(image[0]), np.asarray(again[0])):
                raise ValueError("data are missing at its end")
        return image
    except UnidentifiedImageError:
        raise ImageError(f"The {kind} header is damaged; send the picture again.") from None
    except _BROKEN as error:
        raise ImageError(f"The {kind} picture is cut off or damaged ({error}).") from None


def sniff(data: bytes) -> str | None:
    """The type of a file by its first bytes, decoded here or not; None for an unknown one."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4]), _BRAND_BYTES)
        brands = [data[start : start + 4] for start in (8, *range(16, end, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def image_stats(pixels: Pixels) -> dict[str, float]:
    """Brightness (mean luma, 0..1) and sharpness (variance of the Laplacian of luma, 0..1 scale).

    Both are taken on a thinned copy of at most 256 pixels on the shorter side, so that their cost
    does not grow with the picture.
    """
    luma = _thin_luma(pixels)
    laplacian = luma[1:-1, 1:-1] * np.float32(-4)
    for neighbour in (luma[:-2, 1:-1], luma[2:, 1:-1], luma[1:-1, :-2], luma[1:-1, 2:]):
        laplacian += neighbour
    sharpness = float(laplacian.var()) if laplacian.size else 0.0
    return {"brightness": float(luma.mean()), "sharpness": sharpness}


def brightness(pixels: Pixels) -> float:
    """The brightness of `image_stats` alone."""
    return float(_thin_luma(pixels).mean())


def _thin_luma(pixels: Pixels) -> NDArray[np.float32]:
    step = math.ceil(min(pixels.shape[:2]) / 256)
    thin = pixels[::step, ::step]
    # Channel by channel: faster than a product of matrices.
    luma: NDArray[np.float32] = thin[..., 0] * _LUMA[0]
    for channel in (1, 2):
        luma += thin[..., channel] * _LUMA[channel]
    return luma


def _decode(
    file: containers.ImageFile, data: bytes, kind: str, limits: Limits, min_side: int | None
) -> tuple[Image.Image, tuple[int, int]]:
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        sent = picture.size
        times = _reduction(picture, min_side)
        _check_size(sent, limits, picture.size != sent, file)
        picture.load()
        if kind not in ("JPEG", "PNG"):
            info = picture.info
            file.exif = info.get("exif") or b""  # of AVIF: made by Pillow, the orientation alone
            file.xmp = info.get("xmp") or b"" if kind == "WEBP" else b""
            file.icc_profile = info.get("icc_profile") or b""
        orientation = containers.orientation(file)
        turn = _TRANSPOSES.get(orientation)
        upright = picture if turn is None else picture.transpose(turn)
        image = colour.to_srgb(upright, file.icc_profile, times)
        return image, sent[::-1] if orientation >= 5 else sent


def _check_size(
    size: tuple[int, int], limits: Limits, reduced: bool, file: containers.ImageFile
) -> None:
    pixels, allowed = size[0] * size[1], limits.pixels
    if reduced:
        allowed *= PROGRESSIVE_LIMIT if file.progressive else REDUCED_LIMIT
    if pixels > allowed:
        raise TooLargeError(
            f"The picture is too large: expected at most {allowed / 1e6:g} megapixels, found "
            f"{pixels / 1e6:.1f}. Scale it down."
        )
    if max(size) > limits.side:
        raise TooLargeError(
            f"The picture is too large: expected a longer side of at most {limits.side} pixels, "
            f"found {max(size)}. Scale it down."
        )
    if file.scans > MAX_SCANS and file.scans * pixels > MAX_SCANNED_PIXELS:
        raise ImageError(
            f"The JPEG has too many scans: {file.scans}. Save it again as a plain JPEG."
        )


def _reduction(picture: Image.Image, min_side: int | None) -> int:
    """Let a JPEG decode at reduced size; return by how many times it must still be reduced."""
    times = min(picture.size) // min_side if min_side else 1
    if min_side is None or times < 2:
        return 1
    width = picture.width
    drafted = picture.draft(None, (min_side, min_side))  # None: only a JPEG knows a short cut
    drafted_times = round(width / drafted[1][2]) if drafted else 1
    return (1 << (times.bit_length() - 1)) // drafted_times


def _unsupported(kind: str | None) -> str:
    *first, last = FORMATS
    expected = f"expected {', '.join(first)} or {last}"
    if kind is None:
        return f"This is not a picture of a known type: {expected}. Send one of these."
    advice = " An iPhone saves JPEG with Settings, Camera, Formats, Most Compatible."
    return (
        f"The type of the picture is not supported: {expected}, found {kind}. Save it as JPEG."
        f"{advice if kind == 'HEIC' else ''}"
    )
