"""The metrics of requests, and the middleware that measures every request.

Each app has its own registry. All label values come from closed sets: route templates, HTTP
methods, task names, versions, labels and outcomes; nothing that a client sends becomes a label.
The table of all metrics is `mien.observability.metrics`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.observability.drift import NO_LABEL
from mien.observability.metrics import BY_NAME, STAGES
from mien.observability.prediction_log.shadow import ERROR, ShadowRecord
from mien.stages.serve import headers
from mien.stages.serve.dispatch import ADDRESS
from mien.stages.serve.errors import PROBLEM_TYPES
from mien.stages.serve.histogram import Histogram
from mien.stages.serve.loading import LoadedModel
from mien.stages.serve.trace_id import new_trace_id
from mien.task import Prediction

MEDIA_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBE_ROUTES = frozenset({"/livez", "/readyz", "/health", "/metrics", "/static/{path:path}"})
"""Routes that probes and pages poll: logged at DEBUG only, and 'not ready' counts as no
rejection."""
_log = logging.getLogger("mien.requests")


@dataclass(slots=True)
class RequestTimings:
    """How long each part of a prediction took; filled in while the request is handled."""

    upload_s: float = 0.0
    queue_s: float | None = None
    """Time in the queue; None while the request is still there."""
    stages_s: dict[str, float] = field(default_factory=dict)
    """Time of each of `STAGES`."""


class Metrics:
    """The instruments of one app. Children are cached: a look-up costs more than an update."""

    def __init__(self) -> None:
        # One more series beside each counter, which no dashboard reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._instrument("mien_requests_total")
        self._request_seconds = self._histogram("mien_request_seconds")
        self._in_progress = self._instrument("mien_requests_in_progress")
        self._predictions = self._instrument("mien_predictions_total")
        self._confidence = self._histogram("mien_confidence")
        self._predict_seconds = self._histogram("mien_predict_seconds")
        self._input_stats = self._histogram("mien_input_stat")
        self._feedback = self._instrument("mien_feedback_total")
        self._upload_seconds = self._histogram("mien_upload_seconds").labels()
        self._upload_bytes = self._histogram("mien_upload_bytes").labels()
        self._queue_wait = self._histogram("mien_queue_wait_seconds").labels()
        self._model_reloads = self._instrument("mien_model_reloads_total")
        self._shadow_answers = self._instrument("mien_shadow_answers_total")
        self._shadow_cpu = self._instrument("mien_shadow_cpu_seconds_total")
        rejected = self._instrument("mien_rejected_total")
        self._rejected = {each.slug: rejected.labels(each.slug) for each in PROBLEM_TYPES.values()}
        self._children: dict[tuple[Any, ...], Any] = {}

    def request_started(self, route: str) -> None:
        """Count a request in progress."""
        self._child(self._in_progress, route).inc()

    def request_finished(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        self._child(self._in_progress, route).dec()
        self._child(self._requests, route, method, str(status)).inc()
        self._request_seconds.labels(route, str(status)).observe(seconds)

    def count_rejection(self, reason: str) -> None:
        """Count a request that was answered with a problem document."""
        self._rejected[reason].inc()

    def initialise_series(self, model: LoadedModel) -> None:
        """Create the series of a model at 0, so that even a first burst shows as an increase."""
        of = (model.task.name, model.version)
        for route in ("/predict", f"/predict/{model.task.name}"):
            for status in (200, *sorted({each.status for each in PROBLEM_TYPES.values()})):
                self._child(self._requests, route, "POST", str(status))
            self._request_seconds.labels(route, "200")
        for label in model.labels:
            for outcome in ("ok", "unsure"):
                self._child(self._predictions, *of, label, outcome)
        for result in ("correct", "incorrect"):
            self._child(self._feedback, *of, result)
        for result in ("loaded", "refused"):
            self._child(self._model_reloads, model.task.name, result)

    def observe_prediction(
        self,
        model: LoadedModel,
        upload_bytes: int,
        timings: RequestTimings,
        prediction: Prediction | None,
    ) -> None:
        """Observe a request whose upload was read; `prediction` is None where it failed, or is of
        a frame of a video."""
        task, version = model.task.name, model.version
        self._upload_bytes.observe(upload_bytes)
        self._upload_seconds.observe(timings.upload_s)
        if timings.queue_s is not None:
            self._queue_wait.observe(timings.queue_s)
        if prediction is None:
            return
        best = prediction.best
        label = best.label if best else NO_LABEL
        self._child(self._predictions, task, version, label, prediction.outcome).inc()
        if best:
            self._confidence.labels(task, version).observe(best.confidence)
        for stage in STAGES:
            self._predict_seconds.labels(task, stage).observe(timings.stages_s[stage])
        for stat, value in prediction.input_stats.items():
            self._input_stats.labels(task, stat).observe(value)

    def count_feedback(self, task: str, version: str, correct: bool) -> None:
        """Count a feedback."""
        self._child(self._feedback, task, version, "correct" if correct else "incorrect").inc()

    def count_reload(self, task: str, loaded: bool) -> None:
        """Count a new bundle, by whether its model is served now."""
        self._child(self._model_reloads, task, "loaded" if loaded else "refused").inc()

    def initialise_shadow(self, task: str, version: str) -> None:
        """Create the series of a challenger at 0."""
        for result in ("agree", "disagree", "error", "dropped"):
            self._child(self._shadow_answers, task, version, result)

    def observe_shadow(self, task: str, record: ShadowRecord) -> None:
        """Count an answer of a challenger, and the CPU time of both models."""
        result = "agree" if record.agrees else "disagree"
        self.count_shadow(task, record.version, ERROR if record.outcome == ERROR else result)
        for role, cpu_s in (("champion", record.champion_cpu_s), ("challenger", record.cpu_s)):
            self._child(self._shadow_cpu, task, record.version, role).inc(cpu_s)

    def count_shadow(self, task: str, version: str, result: str) -> None:
        """Count a request for a challenger."""
        self._child(self._shadow_answers, task, version, result).inc()

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _child(self, parent: Any, *labels: str) -> Any:
        key = (parent, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = parent.labels(*labels)
        return child

    def _instrument(self, name: str) -> Any:
        row = BY_NAME[name]
        make = Counter if row.kind == "counter" else Gauge
        return make(name, row.meaning, row.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        histogram = Histogram(BY_NAME[name])
        self.registry.register(histogram)
        return histogram


class LogFormatter(logging.Formatter):
    """Lines with their time and level; those of requests are JSON and have the time already."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name == _log.name:
            return text
        return f"{_utc(record.created)} {record.levelname} {text}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class RequestMetricsMiddleware:
    """Outermost middleware: gives each request its trace_id, then times, counts and logs it."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, is_draining: Callable[[], bool] = lambda: False
    ) -> None:
        """While the server is draining, responses ask clients to open another connection."""
        self.app = app
        self.metrics = metrics
        self.is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id, start, status = new_trace_id(), time.perf_counter(), 499
        scope.setdefault("state", {}).update(trace_id=trace_id, started_at=start)
        route = scope[ADDRESS].template

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers.response_headers(trace_id)]
                if self.is_draining():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self.metrics.request_started(route)
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            self._finish(scope, route, status, time.perf_counter() - start)

    def _finish(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Count and log; status 499 means that the client disconnected before the response."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.request_finished(route, method, status, seconds)
        problem = scope["state"].get("problem")
        if problem and route not in _PROBE_ROUTES:
            self.metrics.count_rejection(problem)
        self._log_request(scope, route, method, status, seconds)

    def _log_request(
        self, scope: Scope, route: str, method: str, status: int, seconds: float
    ) -> None:
        """Log one line of JSON; for probes at DEBUG.

        Formatted by hand, as no value needs escaping, and without the look-up of the calling line:
        the line is the largest cost of monitoring after the prediction log's.
        """
        level = logging.DEBUG if route in _PROBE_ROUTES else logging.INFO
        if _log.isEnabledFor(level):
            line = (
                f'{{"time": "{_utc(time.time())}", "trace_id": "{scope["state"]["trace_id"]}", '
                f'"route": "{route}", '
                f'"method": "{method}", "status": {status}, "seconds": {seconds:.6f}}}'
            )
            _log.handle(logging.LogRecord(_log.name, level, __file__, 0, line, (), None))
