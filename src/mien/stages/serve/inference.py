"""The inference service: from an uploaded body to a recorded prediction.

`InferenceService.predict` admits a request, reads its upload, queues it and returns its result;
`InferencePipeline` decodes, predicts and records in a worker thread. Knows models and tasks, and
nothing of HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from mien.config import Settings
from mien.images import Limits
from mien.model import runtime
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import batching, fault_injection, uploads
from mien.stages.serve.answer_window import AnswerWindow
from mien.stages.serve.batching import BatchHandler
from mien.stages.serve.canary import Canary
from mien.stages.serve.drift_window import DriftWindows
from mien.stages.serve.loading import LoadedModel
from mien.stages.serve.metrics import Metrics, RequestTimings
from mien.stages.serve.models import Models
from mien.stages.serve.registry_follower import RegistryFollower
from mien.stages.serve.review_sampler import ReviewSampler
from mien.stages.serve.shadow import ShadowRunner
from mien.stages.serve.uploads import Upload
from mien.stages.serve.workers import WorkerPool
from mien.task import Prediction, Request


@dataclass(frozen=True)
class InferenceRequest:
    """An uploaded input for one model. Times are of `time.perf_counter()`."""

    model: LoadedModel
    upload: Upload
    trace_id: str
    started_at: float
    received_at: float
    """When the upload was complete."""
    fault: str | None = None
    """The fault that a fire drill asks for."""
    shadowed: bool = False
    """Whether a challenger answers it afterwards."""
    timings: RequestTimings = field(default_factory=RequestTimings)


Decoded = tuple[InferenceRequest, Request]
"""A request, and what the task makes of its upload."""


@dataclass(frozen=True)
class InferenceResult:
    """A prediction and its record in the prediction log."""

    prediction: Prediction
    record: PredictionRecord
    is_frame: bool
    """Whether it is of a frame of a video. Such frames are near copies of each other: they are
    neither recorded nor watched for drift, and are no part of what monitoring counts."""
    decoded: Request | None = None
    """For the challenger, where one answers too."""
    cpu_s: float = 0.0
    """CPU time of the prediction then."""


@dataclass(frozen=True)
class InferenceService:
    """Everything that a prediction needs; made in `app.create`."""

    settings: Settings
    models: Models
    workers: WorkerPool
    metrics: Metrics
    prediction_log: PredictionLog
    drift_windows: DriftWindows
    shadow: ShadowRunner
    canary: Canary
    review: ReviewSampler | None = None
    """None where no input is kept for review."""
    follower: RegistryFollower | None = None
    """None where no team's registry is followed."""
    answers: AnswerWindow = field(default_factory=AnswerWindow)
    # Not in `init`: a service that `replace` makes of another has handlers of its own, or its
    # predictions would go into the other's prediction log. Weak keys free a replaced model.
    _handlers: WeakKeyDictionary[
        LoadedModel, dict[tuple[str, bool], BatchHandler[InferenceRequest, InferenceResult]]
    ] = field(default_factory=WeakKeyDictionary, init=False)

    @property
    def max_upload_bytes(self) -> int:
        return int(self.settings.max_upload_mb * 1e6)

    def load_others(self, on_ready: Callable[[LoadedModel], None]) -> None:
        """Load the canary and the challengers, after the champions."""
        self.canary.load(on_ready)
        self.shadow.follow()

    @property
    def digests(self) -> set[str]:
        """Of the models whose answers clients get."""
        served = [slot.model for slot in self.models.slots] + [self.canary.model]
        return {model.digest for model in served if model is not None}

    def close_logs(self) -> None:
        """Write what waits, and close the other models, the prediction log and the sampler."""
        self.shadow.close()
        self.canary.close()
        self.prediction_log.close()
        if self.review is not None:
            self.review.close()

    async def predict(
        self,
        model: LoadedModel,
        read_upload: Callable[[], Awaitable[Upload]],
        trace_id: str,
        started_at: float,
        is_disconnected: Callable[[], bool],
        fault: str | None = None,
    ) -> InferenceResult | None:
        """Predict for one request; None if its client disconnected before the end.

        Nothing is read before the request is admitted.

        Raises:
            OverloadedError: too many requests are in flight.
            DeadlineError: there was no result in time.
            MienError: as reading, decoding and the model have it.
        """
        with self.workers.admit():
            read_at = time.perf_counter()
            upload = await read_upload()
            received_at = time.perf_counter()
            is_frame, task = upload.video is not None, model.task.name
            shadowed = not is_frame and self.shadow.wants(task, trace_id)
            timings = RequestTimings(received_at - read_at)
            request = InferenceRequest(
                *(model, upload, trace_id, started_at, received_at, fault, shadowed, timings)
            )
            canary = None if is_frame else self.canary.choose(model, trace_id)
            if canary is None:
                result = await self._answer(request, is_disconnected)
            else:
                result = await self._answer_with(canary, request, is_disconnected)
        if result is not None:
            self._observe(result, time.perf_counter() - started_at)
        return result

    async def _answer(
        self, request: InferenceRequest, is_disconnected: Callable[[], bool]
    ) -> InferenceResult | None:
        model, upload, result = request.model, request.upload, None
        try:
            result = await self.workers.run(
                self.handler(model, upload), request, self.settings.deadline_s, is_disconnected
            )
        finally:
            prediction = result.prediction if result and not result.is_frame else None
            self.metrics.observe_prediction(model, len(upload.data), request.timings, prediction)
        return result

    async def _answer_with(
        self, canary: LoadedModel, request: InferenceRequest, is_disconnected: Callable[[], bool]
    ) -> InferenceResult | None:
        """The canary's answer, or the champion's where the canary fails; only what the champion
        can answer is held against it."""
        own = RequestTimings(request.timings.upload_s)
        try:
            return await self._answer(
                replace(request, model=canary, shadowed=False, timings=own), is_disconnected
            )
        except Exception as error:  # noqa: BLE001 - a canary may fail in any way
            result = await self._answer(request, is_disconnected)
            if result is not None:
                self.canary.end(f"it failed with {type(error).__name__}, the champion did not")
            return result

    def _observe(self, result: InferenceResult, latency_s: float) -> None:
        record = result.record
        self.answers.add(record.task, result.prediction, result.is_frame, latency_s)
        if not result.is_frame:
            self.drift_windows.add(record)
        if result.decoded is not None:  # after the response, which is sent without a pause
            loop = asyncio.get_running_loop()
            loop.call_soon(self.shadow.offer, result.decoded, record, result.cpu_s)

    def handler(
        self, model: LoadedModel, upload: Upload
    ) -> BatchHandler[InferenceRequest, InferenceResult]:
        """The handler of a model for uploads of this kind and size."""
        handlers = self._handlers.setdefault(model, {})
        key = upload.kind, len(upload.data) > batching.LARGE_UPLOAD_BYTES
        if key not in handlers:
            limits = Limits(pixels=int(self.settings.max_megapixels * 1e6))
            size = model.max_batch_sizes.get(upload.kind, 1)
            handlers[key] = BatchHandler(
                InferencePipeline(limits, self.prediction_log, self.review),
                min(size, batching.LARGE_UPLOAD_BATCH) if key[1] else size,
            )
        return handlers[key]


@dataclass(frozen=True)
class InferencePipeline:
    """Decodes, predicts and records the requests of a batch, in a worker thread.

    All requests of a batch are for one model. Keeps no reference to a model, so that a replaced
    one is freed after its last request.
    """

    limits: Limits
    prediction_log: PredictionLog
    review: ReviewSampler | None = None

    def __call__(self, batch: Sequence[InferenceRequest]) -> list[InferenceResult | Exception]:
        """One result, or the error, for each request; an error of one does not affect others."""
        results: list[Any] = [self._decode(request) for request in batch]
        decoded = [index for index, each in enumerate(results) if isinstance(each, tuple)]
        predicted = self._predict([results[index] for index in decoded])
        for index, result in zip(decoded, predicted, strict=True):
            results[index] = result
        return results

    def _decode(self, request: InferenceRequest) -> Decoded | Exception:
        start = time.perf_counter()
        request.timings.queue_s = start - request.received_at
        try:
            fault_injection.inject_fault(request.fault)
            decoded = uploads.decode(request.upload, request.model.task, self.limits)
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            return error
        request.timings.stages_s["decode"] = time.perf_counter() - start
        return request, decoded

    def _predict(self, batch: Sequence[Decoded]) -> list[InferenceResult | Exception]:
        if not batch:
            return []
        model, start = batch[0][0].model, time.perf_counter()
        shadowed = any(request.shadowed for request, _ in batch)
        cpu_start = time.thread_time() if shadowed else 0.0
        try:
            with runtime.collect_timings() as networks:
                requests = [task_request for _, task_request in batch]
                predictions = model.task.inference.predict_many(requests, model.model)
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            # One request of several may cause it: each is predicted alone.
            return [error] if len(batch) == 1 else [self._predict([each])[0] for each in batch]
        cpu_s = (time.thread_time() - cpu_start) / len(batch) if shadowed else 0.0
        finished = time.perf_counter()
        first = networks.started_at or finished
        stages_s = {
            "preprocess": (first - start) / len(batch),
            "infer": networks.inference_s / len(batch),
            "postprocess": (finished - first - networks.inference_s) / len(batch),
        }
        results = []
        for (request, task_request), prediction in zip(batch, predictions, strict=True):
            request.timings.stages_s.update(stages_s)
            result = self._record(request, task_request, prediction)
            if request.shadowed and isinstance(result, InferenceResult):
                result = replace(result, decoded=task_request, cpu_s=cpu_s)
            results.append(result)
        return results

    def _record(
        self, request: InferenceRequest, task_request: Request, prediction: Prediction
    ) -> InferenceResult | Exception:
        is_frame = request.upload.video is not None
        try:
            record = _record_of(request, prediction)
            if not is_frame:
                self.prediction_log.add(record)
                if self.review is not None:
                    self.review.offer(request.model, task_request, prediction, record)
            return InferenceResult(prediction, record, is_frame)
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            return error


def _record_of(request: InferenceRequest, prediction: Prediction) -> PredictionRecord:
    best = prediction.best
    return PredictionRecord(
        trace_id=request.trace_id,
        timestamp=time.time(),
        task=request.model.task.name,
        version=request.model.version,
        digest=request.model.digest,
        outcome=prediction.outcome,
        label=best.label if best else None,
        confidence=best.confidence if best else 0.0,
        input_stats=prediction.input_stats,
        latency_s=time.perf_counter() - request.started_at,
    )
