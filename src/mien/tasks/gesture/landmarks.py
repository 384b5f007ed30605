"""The 21 points of a hand as numbers: three conventions, one common frame, ONE normalisation.

Training and serving both call `normalise`, so that the two cannot drift apart. This file knows
no CSV, no model and no picture.

Common frame: x and y in one unit with y downwards, any place and any scale; z negative towards
the camera, in any unit of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

Floats = NDArray[np.float64]
Known = Literal["pixels", "unit", "wrist"]

VERSION = "wrist-origin/1"
"""Changes when `normalise` changes; a bundle names the version that it was trained with."""

DEPTH_WEIGHT = 0.5
"""Depth is the least certain of the three axes. Measured with an RBF SVC trained on one public
table and tested on two others: 0.5 scores 0.977 / 0.939, weight 1 0.975 / 0.940, no depth
0.974 / 0.924."""

GRID = 2**16
"""Features are multiples of 1 / GRID, far below the noise of a landmark. No feature exceeds 5, so
the middle between any two is exact in float32: a tree's split point means the same to the library
that chose it in float64 and to its exported form."""


@dataclass(frozen=True)
class Guess:
    """A convention, and by what it was known."""

    convention: Known
    why: str


def normalise(landmarks: Floats) -> NDArray[np.float32]:
    """Turn landmarks (n, 21, 3) of the common frame into features (n, 63), float32.

    The wrist is the origin. x and y are divided by the root mean square distance of the points
    from the wrist in the picture's plane: unlike the distance to a single joint it vanishes for
    no pose (a folded finger, a palm towards the camera). z is divided by its own root mean square,
    because the unit of z differs between sources and is often unknown.

    Raises:
        ValueError: a hand without extent; ask `measurable` first.
    """
    if not measurable(landmarks).all():
        raise ValueError("a hand without extent cannot be normalised")
    offset = landmarks - landmarks[:, :1]
    plane = _by_root_mean_square(offset[:, :, :2])
    depth = _by_root_mean_square(offset[:, :, 2:]) * DEPTH_WEIGHT
    features = np.concatenate([plane, depth], axis=2).reshape(len(landmarks), 63)
    return np.ascontiguousarray(np.round(features * GRID) / GRID, dtype=np.float32)


def measurable(landmarks: Floats) -> NDArray[np.bool_]:
    """Which of n hands (n, 21, 3) are finite and have an extent in the picture's plane."""
    with np.errstate(over="ignore", invalid="ignore"):
        offset = landmarks - landmarks[:, :1]
        finite = np.isfinite(offset).all(axis=(1, 2))
        result: NDArray[np.bool_] = finite & (np.abs(offset[:, :, :2]).max(axis=(1, 2)) > 0)
    return result


def to_common(
    landmarks: Floats, convention: Known, sizes: Floats | None, aspect: float | None
) -> Floats:
    """Bring landmarks (n, 21, 3) of one convention into the common frame.

    Args:
        landmarks: as they stand in the source.
        convention: what x and y are.
        sizes: width and height of each picture (n, 2), where known; used for `unit` alone.
        aspect: width / height of all pictures, where x and y have lost it.

    Raises:
        DataError: x and y are shares of sides whose proportion is not known.
    """
    common = landmarks.astype(np.float64, copy=True)
    if convention == "unit" and sizes is not None:
        common[:, :, :2] *= sizes[:, None, :]
    elif convention == "unit" and aspect is None:
        raise DataError(
            "x and y are shares (0..1) of the picture's width and height, and there are no width "
            "and height columns: the hand's proportions are lost. Add the two columns, or say the "
            "pictures' width / height: --set params.aspect=0.75 (1 for square ones)."
        )
    elif convention != "pixels" and aspect is not None:
        common[:, :, 0] *= aspect
    return common


def recognise(landmarks: Floats) -> Guess:
    """Tell the convention of a whole table (n, 21, 3) by its values.

    Raises:
        DataError: the rows fit none of the three, or not all the same.
    """
    plane = np.abs(landmarks[:, :, :2])
    reach = plane.max(axis=(1, 2))
    at_origin = plane[:, 0].max(axis=1) <= 1e-5 * reach
    if at_origin.all():
        return Guess("wrist", "the wrist of every row lies at 0, 0")
    x_and_y = landmarks[:, :, :2]
    inside = float(((x_and_y >= 0) & (x_and_y <= 1)).mean())
    if not at_origin.any() and reach.max() <= 2 and inside > 0.9:
        return Guess("unit", f"{inside:.1%} of all x and y lie in 0..1, none beyond 2")
    if not at_origin.any() and reach.min() > 10:
        return Guess("pixels", f"x and y reach from {reach.min():.0f} to {reach.max():.0f}")
    raise DataError(_undecided(reach, at_origin))


def kind(hand: Floats) -> Known | None:
    """The convention that a single hand (21, 3) fits by itself; None where it fits none."""
    plane = hand[:, :2]
    reach = float(np.abs(plane).max())
    if not np.abs(plane[0]).max() > 1e-5 * reach:
        return "wrist"
    if reach <= 2 and float(((plane >= 0) & (plane <= 1)).mean()) > 0.5:
        return "unit"
    return "pixels" if reach > 10 else None


def _by_root_mean_square(offset: Floats) -> Floats:
    # Divided by the peak first, so that squares of huge or tiny units stay within range.
    peak = np.abs(offset).max(axis=(1, 2), keepdims=True)
    even = np.divide(offset, peak, out=np.zeros_like(offset), where=peak > 0)
    size = np.sqrt((even**2).sum(axis=2).mean(axis=1))[:, None, None]
    scaled: Floats = np.divide(even, size, out=np.zeros_like(even), where=size > 0)
    return scaled


def _undecided(reach: Floats, at_origin: NDArray[np.bool_]) -> str:
    low, high = float(reach.min()), float(reach.max())
    return (
        "the convention of x and y cannot be told: "
        f"{int(at_origin.sum())} of {len(reach)} rows have the wrist at 0, 0, and the largest "
        f"value of a row goes from {low:.3g} to {high:.3g}. Expected one of: wrist at the origin "
        "in every row; shares of 0..1; pixels above 10. Rows of two conventions belong into two "
        "files; otherwise say it: --set params.convention=pixels (or unit, or wrist)."
    )


def as_array(points: Sequence[Sequence[float]]) -> Floats:
    """The landmarks of one hand as an array (1, 21, 3)."""
    return np.asarray(points, dtype=np.float64).reshape(1, 21, 3)
