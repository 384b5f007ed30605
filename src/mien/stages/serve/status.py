"""The state of every model for people: what the page /status shows, from the server's own windows.

Knows no HTTP. What it shows of drift and live accuracy is what /metrics has.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from mien.observability.drift import MIN_ROWS
from mien.observability.estimate import AccuracyEstimate
from mien.stages.serve.collector import LiveScores, live_scores
from mien.stages.serve.inference import InferenceService
from mien.stages.serve.models import ModelSlot
from mien.task import Outcome


class AnswerCount(BaseModel):
    """Answers of one label and outcome in the last hour."""

    label: str | None
    outcome: Outcome
    count: int


class LatencyStatus(BaseModel):
    """Time of an answer in the last hour, in milliseconds, to within 8 %."""

    p50_ms: float
    p95_ms: float


class DriftState(BaseModel):
    """The latest answers against the validation data."""

    rows: Annotated[int, Field(description="answers in the window")]
    needed: Annotated[int, Field(description="answers from which on drift is computed")]
    drifting: Annotated[list[str], Field(description="quantities beyond their threshold")]
    scores: Annotated[
        Mapping[str, float], Field(description="score of each quantity, in thresholds")
    ]


class ModelStatus(BaseModel):
    """One task of the server."""

    task: str
    state: str
    reason: str | None
    version: str | None
    trained_on: str | None
    answers: Annotated[list[AnswerCount], Field(description="most frequent first; no frames")]
    frames: Annotated[int, Field(description="answers for frames of videos in the last hour")]
    latency: LatencyStatus | None
    drift: DriftState | None
    live: LiveScores | None
    estimated: Annotated[
        AccuracyEstimate | None, Field(description="accuracy of the latest answers, without labels")
    ]


class ServerStatus(BaseModel):
    """The state of the server."""

    models: list[ModelStatus]


def report(inference: InferenceService) -> ServerStatus:
    """Read the state of every model; reads the prediction log, so it may wait for a disk."""
    return ServerStatus(models=[_model(inference, slot) for slot in inference.models.slots])


def _model(inference: InferenceService, slot: ModelSlot) -> ModelStatus:
    counts, model = inference.answers.counts(slot.name), slot.model
    sent = [(kind, count) for kind, count in counts.most_common() if not kind.is_frame]
    return ModelStatus(
        task=slot.name,
        state=slot.state,
        reason=slot.reason or slot.reload_error,
        version=model.version if model else None,
        trained_on=model.trained_on if model else None,
        answers=[
            AnswerCount(label=kind.label, outcome=kind.outcome, count=count) for kind, count in sent
        ],
        frames=sum(count for kind, count in counts.items() if kind.is_frame),
        latency=_latency(inference, slot.name),
        drift=_drift(inference, slot),
        live=live_scores(inference.prediction_log, model) if model else None,
        estimated=inference.drift_windows.status(model).accuracy if model else None,
    )


def _latency(inference: InferenceService, task: str) -> LatencyStatus | None:
    p50_s, p95_s = (inference.answers.latency_s(task, each) for each in (0.5, 0.95))
    if p50_s is None or p95_s is None:
        return None
    return LatencyStatus(p50_ms=round(1000 * p50_s, 1), p95_ms=round(1000 * p95_s, 1))


def _drift(inference: InferenceService, slot: ModelSlot) -> DriftState | None:
    if slot.model is None or slot.model.reference is None:
        return None
    inference.drift_windows.refresh(slot.model)
    status = inference.drift_windows.status(slot.model)
    scores = {name: round(each.score / each.limit, 3) for name, each in status.scores.items()}
    drifting = [name for name, score in scores.items() if score > 1]
    return DriftState(rows=status.rows, needed=MIN_ROWS, drifting=drifting, scores=scores)
