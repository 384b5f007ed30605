"""Square crops of a picture as inputs of networks, and points of a crop back in the picture.

A crop may be rotated and reach beyond the picture. It is sampled as MediaPipe's
ImageToTensorCalculator does it on a CPU, by OpenCV's warpPerspective: each pixel from its four
neighbours without smoothing first, the square's corner at the centre of a pixel, positions rounded
to 1/32 pixel and colours to whole numbers. Without the rounding, landmarks are twice as far from
MediaPipe's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.images import Pixels

Floats = NDArray[np.float32]
_SUBPIXEL_BITS = 5
_SUBPIXELS = 1 << _SUBPIXEL_BITS
"""Positions between two pixels."""


@dataclass(frozen=True)
class RotatedRoi:
    """A square region of interest in a picture, in its pixels."""

    x: float
    """Centre, from the left."""
    y: float
    """Centre, from the top."""
    side: float
    rotation: float = 0.0
    """Radians, clockwise as the picture is seen."""

    def is_near(self, other: "RotatedRoi") -> bool:
        """Whether both regions have about the same centre: one hand is in both."""
        return max(abs(self.x - other.x), abs(self.y - other.y)) < other.side / 4

    def within(self, other: "RotatedRoi") -> "RotatedRoi":
        """This region as another one sees it: in its sides from its centre, relative to its side
        and rotation."""
        x, y = self.x - other.x, self.y - other.y
        cos, sin = np.cos(other.rotation), np.sin(other.rotation)
        turn = (self.rotation - other.rotation + np.pi) % (2 * np.pi) - np.pi
        across, down = (x * cos + y * sin) / other.side, (y * cos - x * sin) / other.side
        return RotatedRoi(float(across), float(down), self.side / other.side, float(turn))

    def moved_by(self, offset: "RotatedRoi") -> "RotatedRoi":
        """The region that this one sees as `offset`: the inverse of `within`."""
        x, y, _ = self.to_picture(np.array([offset.x + 0.5, offset.y + 0.5, 0.0]))
        turn = self.rotation + offset.rotation
        return RotatedRoi(float(x), float(y), self.side * offset.side, turn)

    def to_picture(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Map points (..., 2 or 3), in sides from the upper left corner, to pixels of the picture.

        A third coordinate is a depth, in sides too, and only scaled.
        """
        offset = (points.astype(np.float64) - 0.5) * self.side
        cos, sin = np.cos(self.rotation), np.sin(self.rotation)
        x = self.x + offset[..., 0] * cos - offset[..., 1] * sin
        y = self.y + offset[..., 0] * sin + offset[..., 1] * cos
        depth = points[..., 2:] * self.side
        return np.concatenate([x[..., None], y[..., None], depth], axis=-1)


def full_picture_roi(pixels: Pixels) -> RotatedRoi:
    """The smallest square around a picture, centred on it."""
    height, width = pixels.shape[:2]
    return RotatedRoi(width / 2, height / 2, max(width, height))


def crop(pixels: Pixels, roi: RotatedRoi, size: int) -> Floats:
    """Crop a picture (height, width, 3) to planes (3, size, size), values 0..1."""
    corners = roi.to_picture(np.array([[0, 0], [1, 0], [0, 1]])).astype(np.float32)
    origin, right, below = corners
    steps = np.arange(size, dtype=np.float32) / size
    across = steps[None, :, None] * (right - origin)
    down = steps[:, None, None] * (below - origin) + origin
    return sample_bilinear(pixels, across[..., 0] + down[..., 0], across[..., 1] + down[..., 1])


def sample_bilinear(pixels: Pixels, x: Floats, y: Floats) -> Floats:
    """Sample a picture (height, width, 3) at positions: (3, rows, columns), values 0..1.

    Positions outside take the nearest pixel of the border.

    Args:
        pixels: the picture.
        x: (rows, columns), or (1, columns) where it is the same in all rows; pixels.
        y: (rows, columns), or (rows, 1) where it is the same in all columns; pixels.
    """
    height, width = pixels.shape[:2]
    column, x_fraction = _split_position(x, width)
    row, y_fraction = _split_position(y, height)
    right, below = 3 * min(width - 1, 1), 3 * width * min(height - 1, 1)
    start = (column * 3 + row * (width * 3)).astype(np.intp)
    flat = pixels.reshape(-1)
    sampled = np.empty((3, *start.shape), np.float32)
    for channel in range(3):  # one after the other: numpy is slow along an axis of three
        upper = _interpolate(flat[channel:], start, right, x_fraction)
        lower = _interpolate(flat[channel + below :], start, right, x_fraction)
        lower -= upper
        lower *= y_fraction
        lower += upper
        np.rint(lower, out=lower)
        np.multiply(lower, np.float32(1 / 255), out=sampled[channel])
    return sampled


def _split_position(position: Floats, length: int) -> tuple[NDArray[np.int32], Floats]:
    """The pixel before each position, and the fraction of the next one; 0 for the last pixel."""
    steps = np.rint(position * np.float32(_SUBPIXELS)).astype(np.int32)
    np.clip(steps, 0, (length - 1) * _SUBPIXELS, out=steps)
    fraction = (steps & (_SUBPIXELS - 1)).astype(np.float32)
    return steps >> _SUBPIXEL_BITS, fraction / np.float32(_SUBPIXELS)


def _interpolate(values: Pixels, start: NDArray[np.intp], step: int, fraction: Floats) -> Floats:
    """Linear interpolation between the values at `start` and those at `start + step`.

    An index behind the end, which only a fraction of 0 has, takes the last value.
    """
    first = values.take(start, mode="clip").astype(np.float32)
    mixed = values[step:].take(start, mode="clip").astype(np.float32)
    mixed -= first
    mixed *= fraction
    mixed += first
    return mixed
