"""Statistics of many images: size, mean colour, brightness, perceptual hash, thumbnail.

    measure(paths) -> ImageStats    one decode per image

Imports little, because processes that measure images start with it (`stages/check`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import images
from mien.errors import RequestError

THUMBNAIL_SIDE = 16
"""Pixels of a thumbnail's side."""
_SIDE = 2 * THUMBNAIL_SIDE
_LOW = 8
"""The hash holds 8 x 8 of the 32 x 32 frequencies, as in Zauner, Implementation and benchmarking of
perceptual image hash functions (2010), and in imagehash.phash."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class ImageStats:
    """Statistics of n images. An unreadable image is 0 everywhere; `errors` has the reason."""

    readable: NDArray[np.bool_]
    size: NDArray[np.int64]
    """(n, 2): width and height of the upright image in its file."""
    mean_rgb: NDArray[np.float64]
    """(n, 3): mean red, green and blue, 0..255."""
    phash: NDArray[np.uint64]
    """(n,): one bit for each of the 64 lowest frequencies of luma, set above their median."""
    thumbnail: NDArray[np.uint8]
    """(n, 16, 16): luma of the image, resized to a square."""
    brightness: NDArray[np.float64]
    """(n,): mean luma, 0..1, of the image as it was read."""
    errors: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {each.name: len(getattr(self, each.name)) for each in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"image statistics: expected one row per image, found {lengths}")

    def __len__(self) -> int:
        return len(self.errors)


def measure(paths: Sequence[Path], min_side: int | None = None) -> ImageStats:
    """Decode every image once; see `images.read` for `min_side`.

    A missing or broken file becomes a row that is not readable. One image is in memory at a time.
    """
    count = len(paths)
    small = np.zeros((count, _SIDE, _SIDE, 3), dtype=np.uint8)
    size = np.zeros((count, 2), dtype=np.int64)
    brightness = np.zeros(count)
    errors = [""] * count
    for index, path in enumerate(paths):
        try:
            image, size[index] = images.read_image(path.read_bytes(), min_side=min_side)
        except RequestError as error:
            errors[index] = str(error)
        except OSError as error:
            errors[index] = f"The file cannot be read ({error.strerror or error})."
        else:
            small[index], brightness[index] = shrink(image), images.brightness(np.asarray(image))
    return from_pixels(small, size, brightness, errors)


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    """The image as a square of 32 pixels, each the mean of the area that it covers."""
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))


def from_pixels(
    small: NDArray[np.uint8],
    size: NDArray[np.int64],
    brightness: NDArray[np.float64],
    errors: Sequence[str],
) -> ImageStats:
    """Statistics of what `shrink` gives (n, 32, 32, 3), with what is known of the whole images."""
    rgb = small.astype(np.float32)
    luma = rgb @ _LUMA
    halved = luma[:, ::2] + luma[:, 1::2]
    thumbnail = (halved[:, :, ::2] + halved[:, :, 1::2]) / 4
    weights = np.full(_SIDE * _SIDE, 1 / _SIDE**2, dtype=np.float32)  # much faster than a mean
    return ImageStats(
        readable=np.array([not error for error in errors], dtype=bool),
        size=size,
        mean_rgb=(weights @ rgb.reshape(-1, _SIDE * _SIDE, 3)).astype(np.float64),
        phash=_phash(luma),
        thumbnail=np.rint(thumbnail).astype(np.uint8),
        brightness=brightness,
        errors=tuple(errors),
    )


def _phash(luma: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Perceptual hashes of squares (n, 32, 32). One matrix product per image, so that rounding
    does not depend on the other images."""
    frequency, position = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    waves = np.cos(np.pi * (2 * position + 1) * frequency / (2 * _SIDE)).astype(np.float32)
    low = (waves @ luma @ waves.T).reshape(-1, _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def concatenate(parts: Sequence[ImageStats]) -> ImageStats:
    """The statistics of several groups of images as those of one."""
    arrays = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(ImageStats)
        if each.name != "errors"
    }
    return ImageStats(**arrays, errors=tuple(error for part in parts for error in part.errors))
