"""Answers of the task; the same function serves, evaluates and predicts files."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.images import image_stats
from mien.model.runtime import Model
from mien.task import Detection, Prediction, Request


def features(pixels: NDArray[np.uint8], cells: int) -> NDArray[np.float32]:
    """Mean colours of a grid of cells, in 0..1: what the network reads."""
    small = Image.fromarray(pixels).resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / np.float32(255)


def detect_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    """One answer for each picture."""
    images = [each.image for each in requests if each.image is not None]
    cells = int(model.preprocessing["cells"])
    rows = model.run({"features": np.stack([features(each, cells) for each in images])})[0]
    return [_prediction(image, row, model.labels) for image, row in zip(images, rows, strict=True)]


def _prediction(
    pixels: NDArray[np.uint8], row: NDArray[np.float32], labels: Sequence[str]
) -> Prediction:
    scores = dict(zip(labels, map(float, row), strict=True))
    label = max(labels, key=lambda each: scores[each])
    detection = Detection(label, scores[label], None, scores)
    return Prediction("ok", (detection,), image_stats(pixels))
