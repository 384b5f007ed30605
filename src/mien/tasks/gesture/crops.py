"""Square pieces of a picture as networks see them, and points of a piece back in the picture.

Knows squares that may be turned and reach beyond the picture; nothing of palms and hands. A piece
is taken as MediaPipe's ImageToTensorCalculator takes it on a CPU, by OpenCV's warpPerspective: each
pixel from its four neighbours without smoothing first, the square's corner on the middle of a
pixel, places rounded to 1/32 pixel and colours to whole numbers. Without the rounding, landmarks
lie twice as far from MediaPipe's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.images import Pixels

Floats = NDArray[np.float32]
_FINE = np.float32(32)
"""Places between two pixels."""


@dataclass(frozen=True)
class Square:
    """A square in a picture, in its pixels."""

    x: float
    """Middle, from the left."""
    y: float
    """Middle, from the top."""
    side: float
    turn: float = 0.0
    """Radians by which it is turned, clockwise to whoever looks at the picture."""

    def place(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points (..., 2 or 3), measured in sides from the upper left corner, in pixels.

        A third coordinate is a depth, measured in sides too, and only scaled.
        """
        offset = (points.astype(np.float64) - 0.5) * self.side
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x = self.x + offset[..., 0] * cos - offset[..., 1] * sin
        y = self.y + offset[..., 0] * sin + offset[..., 1] * cos
        depth = points[..., 2:] * self.side
        return np.concatenate([x[..., None], y[..., None], depth], axis=-1)


def around(pixels: Pixels) -> Square:
    """The smallest square around a whole picture, with the picture in its middle."""
    height, width = pixels.shape[:2]
    return Square(width / 2, height / 2, max(width, height))


def cut(pixels: Pixels, square: Square, size: int) -> Floats:
    """A piece of a picture (height, width, 3) as (size, size, 3), values 0..1."""
    corner, right, below = square.place(np.array([[0, 0], [1, 0], [0, 1]])).astype(np.float32)
    steps = np.arange(size, dtype=np.float32) / size
    along = steps[None, :, None] * (right - corner)
    down = steps[:, None, None] * (below - corner) + corner
    return sample(pixels, along[..., 0] + down[..., 0], along[..., 1] + down[..., 1])


def sample(pixels: Pixels, x: Floats, y: Floats) -> Floats:
    """The colours at places of a picture (height, width, 3): (rows, columns, 3), values 0..1.

    Beyond its edge the picture goes on as its outermost pixels.

    Args:
        x: (rows, columns), or (1, columns) where it is the same in all rows; pixels.
        y: (rows, columns), or (rows, 1) where it is the same in all columns; pixels.
    """
    height, width = pixels.shape[:2]
    left, aside, step = _between(x, width)
    top, below, line = _between(y, height)
    start = (left * 3 + top * (width * 3)).astype(np.intp)
    flat = pixels.reshape(-1)
    piece = np.empty((*start.shape, 3), np.float32)
    for colour in range(3):  # one after the other: numpy is slow along an axis of three
        upper = _mixed(flat[colour:], start, 3 * step, aside)
        lower = _mixed(flat[colour + 3 * width * line :], start, 3 * step, aside)
        lower -= upper
        lower *= below
        lower += upper
        np.rint(lower, out=lower)
        np.multiply(lower, np.float32(1 / 255), out=piece[..., colour])
    return piece


def _between(at: Floats, length: int) -> tuple[NDArray[np.int32], Floats, int]:
    """The pixel before each place, the share of the one after it, and the way to that one."""
    share = np.rint(at * _FINE)
    share /= _FINE
    np.maximum(share, 0, out=share)
    np.minimum(share, length - 1, out=share)
    before = np.floor(share)
    np.minimum(before, max(length - 2, 0), out=before)
    share -= before
    return before.astype(np.int32), share, min(length - 1, 1)


def _mixed(values: Pixels, at: NDArray[np.intp], step: int, share: Floats) -> Floats:
    """Values between each place and the one a step after it."""
    first = values.take(at).astype(np.float32)
    mixed = values[step:].take(at).astype(np.float32)
    mixed -= first
    mixed *= share
    mixed += first
    return mixed
