"""Which part of an input is kept for review, by task: its subject as a crop, or its JSON body."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.images import Pixels
from mien.observability.review.sample import CROPS
from mien.task import Detection, Request, Task

MAX_SIDE = 320
"""Pixels of the longer side of a crop."""
CROP_MARGIN = 0.25
"""Of the picture around a subject, in sides of its box."""


@dataclass(frozen=True)
class Subject:
    """What is kept of an input, not encoded yet."""

    body: Mapping[str, Any] | None = None
    pixels: Pixels | None = None
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def size_bytes(self) -> int:
        return 2_000 if self.pixels is None else self.pixels.nbytes


def parse_kinds(text: str) -> dict[str, str]:
    """What is kept of each task.

    Raises:
        ConfigError: it is not TASK:KIND,TASK:KIND.
    """
    kinds: dict[str, str] = {}
    for entry in filter(None, (each.strip() for each in text.split(","))):
        task, colon, kind = (part.strip() for part in entry.partition(":"))
        if not (task and colon and kind) or task in kinds:
            raise ConfigError(
                f"MIEN_REVIEW: expected TASK:KIND,TASK:KIND with each task once, found {entry!r}. "
                "As in gesture:landmarks,emotion:crops."
            )
        kinds[task] = kind
    return kinds


def check_kind(task: Task[Any], kind: str) -> None:
    """Check that a kind is one of a task.

    Raises:
        ConfigError: it is not.
    """
    possible = [CROPS, *(task.inference.Body.model_fields if task.inference.Body else ())]
    if kind not in possible:
        raise ConfigError(
            f"MIEN_REVIEW: {task.name}: expected one of {', '.join(possible)}; found {kind!r}."
        )


def subject_of(kind: str, request: Request, best: Detection) -> Subject | None:
    """The subject of an answer; None where the input has none of that kind."""
    if kind != CROPS:
        if request.body is not None:
            return Subject(body=request.body.model_dump(mode="json", exclude_none=True))
        return Subject(body={kind: best.extra[kind]}) if kind in best.extra else None
    if request.image is None or best.box is None:
        return None
    scale = np.array([*request.scale, *request.scale])
    return _crop(request.image, np.array(best.box) / scale)


def _crop(pixels: Pixels, box: NDArray[np.float64]) -> Subject | None:
    """The box with a margin. Of a large one every n-th pixel: an answer waits to be sent."""
    height, width = pixels.shape[:2]
    across, down = CROP_MARGIN * (box[2] - box[0]), CROP_MARGIN * (box[3] - box[1])
    left, top = max(0, int(box[0] - across)), max(0, int(box[1] - down))
    right, bottom = min(width, ceil(box[2] + across)), min(height, ceil(box[3] + down))
    if right <= left or bottom <= top:
        return None
    step = ceil(max(right - left, bottom - top) / MAX_SIDE)
    crop = pixels[top:bottom:step, left:right:step].copy()
    x1, y1, x2, y2 = ((box - [left, top, left, top]) / step).tolist()
    rows, columns = crop.shape[:2]
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(columns)), min(y2, float(rows)))
    return Subject(pixels=crop, box=inside)
