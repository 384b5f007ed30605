"""What people say of answers: one verdict for each, a later one in place of an earlier one.

Knows the prediction log and the labels of the tasks that are served; knows nothing of HTTP.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mien.errors import RequestError, UnknownPredictionError
from mien.observability.prediction_log.writer import PredictionLog
from mien.task import Task


class Feedback(BaseModel):
    """A verdict as it is sent."""

    model_config = ConfigDict(extra="forbid")
    trace_id: Annotated[
        str, Field(pattern="^[0-9a-f]{32}$", description="the `trace_id` of the answer")
    ]
    label: Annotated[
        str | None, Field(description="what is right; null where no subject is to be seen")
    ]


class Judged(BaseModel):
    """A verdict as it is kept."""

    trace_id: str
    task: str
    version: Annotated[str, Field(description="the version that answered")]
    answered: Annotated[str | None, Field(description="what it answered")]
    label: str | None
    right: bool


def judge(prediction_log: PredictionLog, tasks: Sequence[Task[Any]], sent: Feedback) -> Judged:
    """Keep a verdict.

    Raises:
        UnknownPredictionError: no such answer is kept, or not of a task that is served.
        RequestError: the label is none of the task's.
        PredictionLogError: the prediction log cannot be read or written.
    """
    event = prediction_log.find(sent.trace_id)
    labels = {task.name: task.labels for task in tasks}
    if event is None or event.task not in labels:
        raise UnknownPredictionError("There is no answer of that trace_id, or no longer.")
    if sent.label is not None and sent.label not in labels[event.task]:
        raise RequestError(
            f"label: expected null or one of {', '.join(labels[event.task])}: the labels of "
            f"{event.task}, which gave that answer."
        )
    if not prediction_log.record_feedback(sent.trace_id, sent.label, time.time()):
        raise UnknownPredictionError("The answer of that trace_id has just been forgotten.")
    return Judged(
        trace_id=sent.trace_id,
        task=event.task,
        version=event.version,
        answered=event.label,
        label=sent.label,
        right=event.label == sent.label,
    )
