"""A task made up for the tests of serving: it reads the label from the mean colour.

It lies outside the package; `conftest.py` adds the folder to where `mien.tasks` looks.
"""

import os
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from mien.errors import RequestError
from mien.model.runtime import Model
from mien.task import Detection, Prediction, Predictor, Request, Task, TaskData, Trainer

LABELS = ("round", "square", "star")
ROUND = (200, 40, 20)


class Point(BaseModel):
    """A schema within the schema, as real bodies have."""

    model_config = ConfigDict(extra="forbid")
    values: Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


class Body(BaseModel):
    """Three numbers, given straight."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"point": {"values": [0.1, 0.2, 0.6]}}]}
    )
    point: Point

    @field_validator("point")
    @classmethod
    def not_negative(cls, point: Point) -> Point:
        if min(point.values) < 0:
            raise ValueError("no value may be negative")
        return point


def predict(request: Request, model: Model) -> Prediction:
    """Black is no hand, all red (255, 0, 0) breaks, (0, 255, 0) is refused; a bundle may say what
    it does with a picture of the colour `ROUND`."""
    if request.image is None:
        assert isinstance(request.body, Body)
        values = np.array(request.body.point.values)
    else:
        values = request.image.mean(axis=(0, 1)) / 255
    if request.image is not None and np.array_equal(request.image[0, 0], ROUND):
        match model.preprocessing.get("round"):
            case "nothing":
                return Prediction("no_hand")
            case "failure":
                raise ZeroDivisionError
            case "hang":
                threading.Event().wait()
            case "end":
                os._exit(3)
    if request.image is not None and values.sum() < 0.01:
        return Prediction("no_hand", input_stats={"brightness": 0.0})
    if tuple(values.round(1)) == (1.0, 0.0, 0.0):
        raise ZeroDivisionError("a secret of the server")
    if tuple(values.round(1)) == (0.0, 1.0, 0.0):
        raise RequestError("Pure green cannot be judged; send another colour.")
    scores = model.run({"x": values[None].astype("float32")})[0][0]
    best = int(scores.argmax())
    detection = Detection(
        LABELS[best],
        float(scores[best]),
        (1.0, 2.0, 3.004, 4.0) if request.image is not None else None,
        dict(zip(LABELS, map(float, scores), strict=True)),
        {"handedness": "left"},
    )
    return Prediction("ok", (detection,), {"brightness": float(values.mean())})


def picture() -> Image.Image:
    return Image.new("RGB", (40, 30), (20, 40, 200))


def detect_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    return [predict(request, model) for request in requests]


def _no_part_of_serving(*_: object) -> Any:
    raise NotImplementedError


TASK: Task[Any] = Task(
    name="shape",
    summary="Tell the shape of a thing",
    default_labels=LABELS,
    data=TaskData(
        write_sample=_no_part_of_serving,
        param_names=(),
        checks=(),
        inspect=_no_part_of_serving,
        repair=_no_part_of_serving,
        prepare=_no_part_of_serving,
        examples=_no_part_of_serving,
    ),
    training=Trainer(Any, candidates=_no_part_of_serving, fit=_no_part_of_serving),
    inference=Predictor(detect_many, picture, Body, batching=False),
)
