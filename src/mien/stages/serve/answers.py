"""The shape of an answer: the JSON document, and its schema for OpenAPI.

Knows the contract of tasks and no HTTP. The first key of an answer is the task's name.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from mien.stages.serve.loading import Served
from mien.task import Detection, Outcome, Prediction, Task

DIGITS = 6
"""Decimals of numbers in 0..1: what a 32-bit float can tell."""


class Named(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["mien-task"])
    version: str = Field(examples=["3"])


def document(served: Served, prediction: Prediction, trace_id: str) -> dict[str, Any]:
    """Make the answer, in the order of keys in which it is sent."""
    best = prediction.best
    return {
        served.task.name: best.label if best else None,
        "confidence": round(best.confidence, DIGITS) if best else 0.0,
        "outcome": prediction.outcome,
        "detections": [_detection(detection) for detection in prediction.detections],
        "model": {"name": served.name, "version": served.version},
        "trace_id": trace_id,
    }


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "label": detection.label,
        "confidence": round(detection.confidence, DIGITS),
        "box": [round(edge, 2) for edge in detection.box] if detection.box else None,
        "scores": {label: round(score, DIGITS) for label, score in detection.scores.items()},
        **detection.extra,
    }


def title(task: Task[Any]) -> str:
    """The task's name as the names of schemas begin with it."""
    return task.name.title().replace("_", "")


def schema(task: Task[Any]) -> type[BaseModel]:
    """Make the schema of a task's answers."""
    label: Any = Literal[task.labels]
    share: Any = (float, Field(ge=0, le=1))
    detection = create_model(
        f"{title(task)}Detection",
        __config__=ConfigDict(extra="allow"),
        __doc__="One subject in the picture, and what else the task tells about it.",
        label=(label, ...),
        confidence=share,
        box=(
            tuple[float, float, float, float] | None,
            Field(description="x1, y1, x2, y2 in pixels of the upright picture"),
        ),
        scores=(dict[str, float], Field(description="one number in 0..1 for each label")),
    )
    fields: dict[str, Any] = {
        task.name: (label | None, Field(description="null where no subject was found")),
        "confidence": share,
        "outcome": (Outcome, ...),
        "detections": (list[detection], Field(description="best first")),  # type: ignore[valid-type]
        "model": (Named, ...),
        "trace_id": (str, Field(description="names this request in the server's log")),
    }
    config = ConfigDict(extra="forbid", json_schema_extra={"example": _example(task)})
    return create_model(f"{title(task)}Answer", __config__=config, **fields)


def _example(task: Task[Any]) -> dict[str, Any]:
    label, *others = task.labels
    scores = {label: 0.982} | {other: round(0.018 / len(others), DIGITS) for other in others}
    box = [40.0, 32.0, 180.0, 196.0]
    return {
        task.name: label,
        "confidence": 0.982,
        "outcome": "ok",
        "detections": [{"label": label, "confidence": 0.982, "box": box, "scores": scores}],
        "model": {"name": f"mien-{task.name}", "version": "3"},
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
