"""Which samples tell a model most: the order of the queue.

    value = uncertainty + disagreement + 0.5 if the model drifted + 1 if feedback gave another label

Uncertainty is 1 less the margin between the two best scores. Disagreement is the share of a
sample's nearest neighbours that have another label: by people where they labelled them, else
predicted. Each is in 0..1.
"""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.observability.review.sample import ReviewSample

NEIGHBOURS = 5
DRIFT_VALUE, WRONG_VALUE = 0.5, 1.0
_SIDE = 16
_BLOCK = 512
Features = NDArray[np.float32]


def values(
    samples: Sequence[ReviewSample], labels: Mapping[str, str | None]
) -> NDArray[np.float64]:
    """The value of each sample.

    Args:
        samples: of one task and one kind.
        labels: what people said, by trace_id; None for no subject.
    """
    names = [labels.get(each.trace_id, each.label) or "" for each in samples]
    total = np.array([1 - each.margin for each in samples], np.float64)
    rows = [features(each) for each in samples]
    if len({len(row) for row in rows}) == 1 and len(rows[0]):  # else there is no distance
        total += disagreement(np.array(rows), names)
    total += [DRIFT_VALUE * ("drift" in each.reasons) for each in samples]
    total += [WRONG_VALUE * ("wrong" in each.reasons) for each in samples]
    return total


def features(sample: ReviewSample) -> Features:
    """Numbers by which samples are near or far: points without place and size, or a small picture
    without brightness and contrast."""
    if sample.crop is not None:
        picture = Image.open(io.BytesIO(base64.b64decode(sample.crop.picture))).convert("L")
        numbers = np.asarray(picture.resize((_SIDE, _SIDE)), np.float32).ravel()
        return _scaled(numbers - numbers.mean())
    points = points_of(sample)
    return _scaled((points - points[:1]).astype(np.float32).ravel())


def points_of(sample: ReviewSample) -> NDArray[np.float64]:
    """The points (n, 2) of a JSON body, in one unit for both axes; none of other bodies."""
    body = sample.body or {}
    try:
        points = np.array(body.get(sample.kind), np.float64)[:, :2]
    except (ValueError, TypeError, IndexError):
        return np.zeros((0, 2))
    if "width" in body and "height" in body and np.abs(points).max(initial=0) <= 2:
        points = points * (body["width"], body["height"])  # fractions of the picture
    return points


def disagreement(rows: Features, names: Sequence[str]) -> NDArray[np.float64]:
    """Share of the nearest neighbours of each row (n, features) whose name is another one."""
    count = min(NEIGHBOURS, len(rows) - 1)
    if count < 1:
        return np.zeros(len(rows))
    codes = np.unique(np.array(names), return_inverse=True)[1]
    result = np.empty(len(rows))
    squares = (rows**2).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        distances = squares[None] - 2 * rows[block] @ rows.T
        distances[np.arange(block.stop - start), np.arange(start, block.stop)] = np.inf
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        result[block] = (codes[nearest] != codes[block][:, None]).mean(axis=1)
    return result


def _scaled(numbers: Features) -> Features:
    norm = float(np.linalg.norm(numbers))
    return numbers / norm if norm else numbers
