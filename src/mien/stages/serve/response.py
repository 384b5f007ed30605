"""The response to a prediction request: the JSON document, and its schema for OpenAPI.

Knows the contract of tasks and no HTTP. The first key of a response is the task's name.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import to_json

from mien.model.decision import UnsureReason
from mien.stages.serve.loading import LoadedModel
from mien.task import DECIMALS, Outcome, Prediction, Task


class ModelReference(BaseModel):
    """The model that predicted."""

    name: str = Field(examples=["mien-task"])
    version: str = Field(examples=["3"])


def render(model: LoadedModel, version: str, prediction: Prediction, trace_id: str) -> bytes:
    """The response as JSON, its keys in the order of the schema; `version` is what answered."""
    document = {
        **prediction.as_json(model.task.name),
        "model": {"name": model.name, "version": version},
        "trace_id": trace_id,
    }
    return to_json(document, inf_nan_mode="null")


def schema_prefix(task: Task[Any]) -> str:
    """The prefix of the names of a task's schemas."""
    return task.name.title().replace("_", "")


def schema(task: Task[Any]) -> type[BaseModel]:
    """Make the schema of a task's responses; `with_labels` adds the labels of a model."""
    share: Any = (float, Field(ge=0, le=1))
    detection = create_model(
        f"{schema_prefix(task)}Detection",
        __config__=ConfigDict(extra="allow"),
        __doc__="One subject in the image, with further keys of the task.",
        label=(str, ...),
        confidence=share,
        box=(
            tuple[float, float, float, float] | None,
            Field(description="x1, y1, x2, y2 in pixels of the upright image"),
        ),
        scores=(dict[str, float], Field(description="a score in 0..1 for each label")),
    )
    fields: dict[str, Any] = {
        task.name: (str | None, Field(description="null where no subject was detected")),
        "confidence": share,
        "outcome": (Outcome, ...),
        "unsure_reason": (UnsureReason | None, Field(description="of the outcome unsure")),
        "detections": (list[detection], Field(description="best first")),  # type: ignore[valid-type]
        "model": (ModelReference, ...),
        "trace_id": (str, Field(description="identifies this request in the server's log")),
    }
    config = ConfigDict(
        extra="forbid", json_schema_extra={"example": _example(task, task.default_labels)}
    )
    return create_model(f"{schema_prefix(task)}Prediction", __config__=config, **fields)


def with_labels(
    schemas: dict[str, Any], task: Task[Any], labels: Sequence[str], trained_on: str
) -> dict[str, Any]:
    """The schemas of an OpenAPI document, with the labels that the model of a task predicts and
    what it was trained on."""
    prefix, choice = schema_prefix(task), {"type": "string", "enum": list(labels)}
    prediction, detection = (schemas[f"{prefix}{part}"] for part in ("Prediction", "Detection"))
    own = {**prediction["properties"][task.name], "anyOf": [choice, {"type": "null"}]}
    return {
        **schemas,
        f"{prefix}Prediction": {
            **prediction,
            "description": f"trained_on: {trained_on}",
            "properties": {**prediction["properties"], task.name: own},
            "example": _example(task, labels),
        },
        f"{prefix}Detection": {
            **detection,
            "properties": {
                **detection["properties"],
                "label": {**detection["properties"]["label"], **choice},
            },
        },
    }


def _example(task: Task[Any], labels: Sequence[str]) -> dict[str, Any]:
    label, *other_labels = labels
    scores = {label: 0.982} | {
        other: round(0.018 / len(other_labels), DECIMALS) for other in other_labels
    }
    box = [40.0, 32.0, 180.0, 196.0]
    return {
        task.name: label,
        "confidence": 0.982,
        "outcome": "ok",
        "unsure_reason": None,
        "detections": [{"label": label, "confidence": 0.982, "box": box, "scores": scores}],
        "model": {"name": f"mien-{task.name}", "version": "3"},
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
