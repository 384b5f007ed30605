"""Feedback: the true label of an earlier prediction; a later one replaces an earlier one.

Knows the prediction log and the labels of the served models; knows nothing of HTTP.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mien.errors import OtherInstanceError, RequestError, UnknownPredictionError
from mien.observability.prediction_log.writer import FLUSH_INTERVAL_S, PredictionLog
from mien.stages.serve.trace_id import is_of_this_instance

ARRIVAL_S = FLUSH_INTERVAL_S + 2.0
"""Age at which an answer of another server is in the database that both share, if that works."""
PAUSES_S = (0.05, 0.45, 1.5)
"""How long to wait for a younger one after each time that the other servers were asked for it."""


class FeedbackRequest(BaseModel):
    """The true label of a prediction."""

    model_config = ConfigDict(extra="forbid")
    trace_id: Annotated[
        str, Field(pattern="^[0-9a-f]{32}$", description="the `trace_id` of the prediction")
    ]
    label: Annotated[str | None, Field(description="the true label; null where no subject is")]


class FeedbackResult(BaseModel):
    """The stored feedback."""

    trace_id: str
    task: str
    version: Annotated[str, Field(description="version of the model that predicted")]
    predicted: Annotated[str | None, Field(description="the predicted label")]
    label: str | None
    correct: bool


def record_feedback(
    log: PredictionLog, labels: Mapping[str, Collection[str]], feedback: FeedbackRequest
) -> FeedbackResult:
    """Store a feedback.

    Args:
        log: the predictions.
        labels: those of the served models, by task; of a task that another server serves, the
            labels are unknown, and every label is stored.
        feedback: the true label of a prediction.

    Raises:
        OtherInstanceError: another instance made the prediction.
        UnknownPredictionError: there is no record of the prediction.
        RequestError: the model has no such label.
        PredictionLogError: the prediction log cannot be read or written.
    """
    record = log.find(feedback.trace_id)
    if record is None and not is_of_this_instance(feedback.trace_id):
        raise OtherInstanceError
    if record is None:
        raise UnknownPredictionError("There is no prediction with that trace_id, or no longer.")
    known = labels.get(record.task)
    if feedback.label is not None and known is not None and feedback.label not in known:
        raise RequestError(
            f"label: expected null or a label of {record.task} ({', '.join(known)}), found "
            "another. Send one of these."
        )
    if not log.record_feedback(feedback.trace_id, feedback.label, time.time()):
        raise UnknownPredictionError("The prediction with that trace_id was just deleted.")
    return FeedbackResult(
        trace_id=feedback.trace_id,
        task=record.task,
        version=record.version,
        predicted=record.label,
        label=feedback.label,
        correct=record.label == feedback.label,
    )


async def wait_for_record(log: PredictionLog, trace_id: str) -> None:
    """Ask the other servers for a record, and wait until it is there or will not come."""
    for pause_s in PAUSES_S:
        await asyncio.to_thread(log.want_records)
        await asyncio.sleep(pause_s)
        if await asyncio.to_thread(log.find, trace_id):
            return
