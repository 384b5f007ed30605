"""What Prometheus is told, and the middleware that measures every request.

Each app has its own registry. All label values come from closed sets: route templates, the
methods of HTTP, task names, labels and outcomes; nothing that a client sends becomes a label.
"""

import json
import logging
import secrets
import time
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.stages.serve.models import Entry, Served
from mien.task import Prediction

MEDIA_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "unmatched"
NO_LABEL = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STAGES = ("read", "wait", "decode", "predict")
"""Upload read, worker waited for, picture decoded (or JSON checked), model asked."""
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CONFIDENCE = tuple(step / 10 for step in range(1, 11))
_QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics", "/static/{path:path}"})
"""Routes that probes and pages ask all the time; their lines are for debugging."""
_log = logging.getLogger("mien.requests")


class Metrics:
    """The metrics of one app. Children are kept, as looking one up costs more than using it."""

    def __init__(self) -> None:
        # One more series beside each counter, which no dashboard of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "mien_requests_total",
            "Requests answered, by route template.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "mien_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "mien_requests_in_flight", "Requests being answered now.", registry=self.registry
        )
        self._predictions = Counter(
            "mien_predictions_total",
            "Answers of a model; label is 'none' where nothing was found.",
            ("task", "label", "outcome"),
            registry=self.registry,
        )
        self._confidence = Histogram(
            "mien_confidence",
            "Confidence of the answers that name a label.",
            ("task",),
            buckets=CONFIDENCE,
            registry=self.registry,
        )
        self._predict_seconds = Histogram(
            "mien_predict_seconds",
            f"Time of each stage of an answer: {', '.join(STAGES)}.",
            ("task", "stage"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._info = Gauge(
            "mien_model_info",
            "The model that answers; always 1.",
            ("task", "version", "candidate", "digest"),
            registry=self.registry,
        )
        self._loaded = Gauge(
            "mien_model_loaded",
            "1 once the model has answered its warm-up, 0 before and when it could not be loaded.",
            ("task",),
            registry=self.registry,
        )
        self._request_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._answer_children: dict[tuple[str, str, str], Counter] = {}
        self._task_children: dict[str, tuple[Histogram, dict[str, Histogram]]] = {}

    def model(self, entry: Entry) -> None:
        """Tell the state of one model."""
        served = entry.served
        self._loaded.labels(entry.name).set(served is not None)
        if served is not None:
            digest = served.digest[:12]
            self._info.labels(entry.name, served.version, served.candidate, digest).set(1)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        key = (route, method, status)
        if key not in self._request_children:
            counter = self._requests.labels(route, method, str(status))
            self._request_children[key] = (counter, self._request_seconds.labels(route))
        counter, histogram = self._request_children[key]
        counter.inc()
        histogram.observe(seconds)

    def answer(self, served: Served, prediction: Prediction, seconds: Mapping[str, float]) -> None:
        """Count one answer of a model; `seconds` has a number for each of `STAGES`."""
        task, best = served.task.name, prediction.best
        key = (task, best.label if best else NO_LABEL, prediction.outcome)
        if key not in self._answer_children:
            self._answer_children[key] = self._predictions.labels(*key)
        self._answer_children[key].inc()
        confidence, stages = self._of_task(task)
        if best:
            confidence.observe(best.confidence)
        for stage, histogram in stages.items():
            histogram.observe(seconds[stage])

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _of_task(self, task: str) -> tuple[Histogram, dict[str, Histogram]]:
        if task not in self._task_children:
            stages = {stage: self._predict_seconds.labels(task, stage) for stage in STAGES}
            self._task_children[task] = (self._confidence.labels(task), stages)
        return self._task_children[task]


class Observe:
    """Outermost middleware: gives each request its trace_id, measures, counts and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id, start, status = secrets.token_hex(16), time.perf_counter(), 499
        scope.setdefault("state", {}).update(trace_id=trace_id, start=start)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(trace_id)]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, watch)
        finally:
            self.metrics.in_flight.dec()
            self._finish(scope, status, time.perf_counter() - start)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log; 499 stands for a client that left before it was answered."""
        route = getattr(scope.get("route"), "path", UNMATCHED) or UNMATCHED
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.request(route, method, status, seconds)
        line = {
            "trace_id": scope["state"]["trace_id"],
            "route": route,
            "method": method,
            "status": status,
            "seconds": round(seconds, 6),
        }
        _log.log(logging.DEBUG if route in _QUIET else logging.INFO, json.dumps(line))


def _headers(trace_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-trace-id", trace_id.encode()), (b"x-content-type-options", b"nosniff")]
