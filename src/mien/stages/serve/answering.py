"""From questions that wait to their answers: decode, predict, record. Work for a worker's thread.

Knows a model and its task; knows nothing of HTTP. Questions that are answered together are
decoded one by one, and one that cannot be answered keeps no other from its answer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mien.images import Limits
from mien.model import runtime
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import drill, uploads
from mien.stages.serve.loading import Served
from mien.stages.serve.metrics import Metrics
from mien.stages.serve.uploads import Upload
from mien.task import Prediction, Request


@dataclass(frozen=True)
class Question:
    """What was asked, of which model, and when."""

    served: Served
    upload: Upload
    trace_id: str
    start: float
    """`time.perf_counter()` when the request came,"""
    sent: float
    """and when the last of it had come."""
    drill: str | None = None
    """The fault that the header for fire drills asks for, where they are allowed."""


@dataclass(frozen=True)
class Answer:
    """What the model says, what was recorded of it, and the seconds of each stage."""

    prediction: Prediction
    event: PredictionRecord
    seconds: dict[str, float]


@dataclass(frozen=True)
class Answering:
    """Answers questions; those that come together are for one model.

    Holds no model, so that one whose place was taken is freed after its last answer.
    """

    limits: Limits
    metrics: Metrics
    prediction_log: PredictionLog

    def __call__(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        """One answer for each question, or why there is none."""
        found: list[Any] = [self._decode(question) for question in questions]
        fine = [place for place, each in enumerate(found) if isinstance(each, _Decoded)]
        for place, answer in zip(fine, self._predict([found[at] for at in fine]), strict=True):
            found[place] = answer
        return found

    def _decode(self, question: Question) -> "_Decoded | Exception":
        taken = time.perf_counter()
        self.metrics.wait(taken - question.sent)
        try:
            drill.obey(question.drill)
            request = uploads.question(question.upload, question.served.task, self.limits)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            return error
        return _Decoded(question, request, time.perf_counter() - taken)

    def _predict(self, asked: Sequence["_Decoded"]) -> list[Answer | Exception]:
        start = time.perf_counter()
        try:
            with runtime.collect_timings() as networks:
                predictions = _ask(asked)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            # Of several, one may be at fault: it is found by asking each alone.
            return [error] if len(asked) == 1 else [self._predict([each])[0] for each in asked]
        done = time.perf_counter()
        first = networks.started_at or done
        share = {
            "preprocess": (first - start) / max(1, len(asked)),
            "infer": networks.inference_s / max(1, len(asked)),
            "postprocess": (done - first - networks.inference_s) / max(1, len(asked)),
        }
        return [
            self._record(each, prediction, {"decode": each.seconds, **share})
            for each, prediction in zip(asked, predictions, strict=True)
        ]

    def _record(
        self, asked: "_Decoded", prediction: Prediction, seconds: dict[str, float]
    ) -> Answer | Exception:
        try:
            return self._recorded(asked, prediction, seconds)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            return error

    def _recorded(
        self, asked: "_Decoded", prediction: Prediction, seconds: dict[str, float]
    ) -> Answer:
        best, served = prediction.best, asked.question.served
        event = PredictionRecord(
            trace_id=asked.question.trace_id,
            timestamp=time.time(),
            task=served.task.name,
            version=served.version,
            digest=served.digest,
            outcome=prediction.outcome,
            label=best.label if best else None,
            confidence=best.confidence if best else 0.0,
            input_stats=prediction.input_stats,
            latency_s=time.perf_counter() - asked.question.start,
        )
        if not self.prediction_log.add(event):
            self.metrics.drop()
        return Answer(prediction, event, seconds)


@dataclass(frozen=True)
class _Decoded:
    question: Question
    request: Request
    seconds: float


def _ask(asked: Sequence[_Decoded]) -> Sequence[Prediction]:
    if not asked:
        return []
    served, requests = asked[0].question.served, [each.request for each in asked]
    if len(requests) > 1 and served.task.inference.batching:
        return served.task.inference.predict_many(requests, served.model)
    return [served.task.inference.predict(request, served.model) for request in requests]
