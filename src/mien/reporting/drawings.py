"""An example and its prediction as a small drawing: picture, box, points and their bones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.config import Schema
from mien.task import Detection, Example, Prediction

from .html import thumbnail

SIDE = 100.0
"""The longer side of a drawing in its own units."""
_MARGIN = 4.0
_PIXELS = 144
"""Of the longer side of a drawing's picture."""
Points = NDArray[np.float64]


class Drawing(Schema):
    """A picture as JPEG in base64 with a box and points on it, all in units of the drawing."""

    width: float = SIDE
    height: float = SIDE
    picture: str = ""
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()


def draw(example: Example, prediction: Prediction) -> Drawing:
    """The request of an example with the best detection of its prediction."""
    best = prediction.best
    points = next(iter(points_of(example, best)), np.zeros((0, 2)))
    request = example.request
    if request.image is None:
        return Drawing(points=fitted(points))
    scale = SIDE / max(request.size)
    x1, y1, x2, y2 = best.box if best and best.box else (0.0, 0.0, 0.0, 0.0)
    return Drawing(
        width=round(request.size[0] * scale, 1),
        height=round(request.size[1] * scale, 1),
        picture=thumbnail(request.image, _PIXELS),
        box=_rounded((x1, y1, x2 - x1, y2 - y1), scale) if best and best.box else None,
        points=_pairs(points * scale),
    )


def fitted(points: Points) -> tuple[tuple[float, float], ...]:
    """Points (n, 2 or more) moved and scaled into the square of a drawing; shapes stay."""
    if not len(points):
        return ()
    low, extent = points[:, :2].min(axis=0), np.ptp(points[:, :2], axis=0)
    scale = (SIDE - 2 * _MARGIN) / max(float(extent.max()), 1e-9)
    return _pairs(SIDE / 2 + (points[:, :2] - low - extent / 2) * scale)


def points_of(example: Example, best: Detection | None) -> list[Points]:
    """Points that came with the request or were detected in its picture, as (n, 2 or more)."""
    body = example.request.body.model_dump() if example.request.body else {}
    lists = [*body.values(), *(best.extra.values() if best else ())]
    arrays = [np.array(each, dtype=float) for each in lists if isinstance(each, list)]
    return [array for array in arrays if array.ndim == 2]


def _pairs(points: Points) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in points[:, :2])


def _rounded(box: Sequence[float], scale: float) -> tuple[float, float, float, float]:
    x, y, width, height = (round(value * scale, 1) for value in box)
    return x, y, width, height
