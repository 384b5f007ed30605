"""The metrics that requests move, and the middleware that measures every request.

Each app has its own registry. All label values come from closed sets: route templates, the
methods of HTTP, task names, versions, labels and outcomes; nothing that a client sends becomes
a label. What there is to tell stands in `mien.observability.metrics`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

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

from mien.observability.drift import NOTHING
from mien.observability.metrics import BY_NAME, STAGES, Metric
from mien.stages.serve import envelope
from mien.stages.serve.errors import KINDS
from mien.stages.serve.loading import Served
from mien.task import Prediction

MEDIA_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics", "/static/{path:path}"})
"""Routes that probes and pages ask all the time; their lines are for debugging, and that they
are told 'not ready' is no rejection."""
_TOGETHER = 8
"""Answers that are counted at once."""
_log = logging.getLogger("mien.requests")


class Metrics:
    """The counters of one app. Children are kept, as looking one up costs more than using it."""

    def __init__(self) -> None:
        # One more series beside each counter, which no dashboard of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("mien_requests_total")
        self._request_seconds = self._histogram("mien_request_seconds")
        self._in_progress = self._gauge("mien_requests_in_progress")
        self._predictions = self._counter("mien_predictions_total")
        self._confidence = self._histogram("mien_confidence")
        self._predict_seconds = self._histogram("mien_predict_seconds")
        self._input_stats = self._histogram("mien_measure")
        self._feedback = self._counter("mien_feedback_total")
        self._upload_seconds = self._histogram("mien_upload_seconds")
        self._upload_bytes = self._histogram("mien_upload_bytes")
        self._queue_wait = self._histogram("mien_queue_wait_seconds")
        self._dropped = self._counter("mien_prediction_log_dropped_total")
        self._swaps = self._counter("mien_swaps_total")
        rejected = self._counter("mien_rejected_total")
        self._rejected = {kind.slug: rejected.labels(kind.slug) for kind in KINDS.values()}
        self._answers: deque[tuple[str, str, Prediction, Mapping[str, float]]] = deque()
        self._children: dict[tuple[Any, ...], Any] = {}

    def begin(self, route: str) -> None:
        """Count a request that is being answered now."""
        self._child(self._in_progress, route).inc()

    def end(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        self._child(self._in_progress, route).dec()
        self._child(self._requests, route, method, str(status)).inc()
        self._child(self._request_seconds, route, str(status)).observe(seconds)

    def reject(self, reason: str) -> None:
        """Count a request that was answered with a problem document."""
        self._rejected[reason].inc()

    def read(self, size: int, seconds: float) -> None:
        """Observe the size of a question and the time that it took to arrive."""
        self._upload_bytes.observe(size)
        self._upload_seconds.observe(seconds)

    def wait(self, seconds: float) -> None:
        """Observe how long a question waited for a worker, whatever becomes of it."""
        self._queue_wait.observe(seconds)

    def serve(self, served: Served) -> None:
        """Begin the series of a model at 0, so that even a first burst is seen as an increase."""
        of = (served.task.name, served.version)
        for route in ("/predict", f"/predict/{served.task.name}"):
            for status in (200, *sorted({kind.status for kind in KINDS.values()})):
                self._child(self._requests, route, "POST", str(status))
            self._child(self._request_seconds, route, "200")
        for label in served.task.labels:
            for outcome in ("ok", "unsure"):
                self._child(self._predictions, *of, label, outcome)
        for verdict in ("right", "wrong"):
            self._child(self._feedback, *of, verdict)
        for result in ("done", "refused"):
            self._child(self._swaps, served.task.name, result)

    def answer(self, served: Served, prediction: Prediction, seconds: Mapping[str, float]) -> None:
        """Count one answer; `seconds` has a number for each of `STAGES`.

        Answers are counted some at a time and before a scrape: the dozen observations of one
        answer cost a fraction where the code for them is in the processor's cache already.
        """
        self._answers.append((served.task.name, served.version, prediction, seconds))
        if len(self._answers) >= _TOGETHER:
            self._count_answers()

    def drop(self) -> None:
        """Count an answer that could not be recorded."""
        self._dropped.inc()

    def judge(self, task: str, version: str, right: bool) -> None:
        """Count a verdict."""
        self._child(self._feedback, task, version, "right" if right else "wrong").inc()

    def swap(self, task: str, taken: bool) -> None:
        """Count that another model was found, and whether it answers now."""
        self._child(self._swaps, task, "done" if taken else "refused").inc()

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        self._count_answers()
        return generate_latest(self.registry)

    def _count_answers(self) -> None:
        with suppress(IndexError):  # until nothing is left, whoever else takes some
            while True:
                self._count(*self._answers.popleft())

    def _count(
        self, task: str, version: str, prediction: Prediction, seconds: Mapping[str, float]
    ) -> None:
        best = prediction.best
        label = best.label if best else NOTHING
        self._child(self._predictions, task, version, label, prediction.outcome).inc()
        if best:
            self._child(self._confidence, task, version).observe(best.confidence)
        for stage in STAGES:
            self._child(self._predict_seconds, task, stage).observe(seconds[stage])
        for measure, value in prediction.input_stats.items():
            self._child(self._input_stats, task, measure).observe(value)

    def _child(self, parent: Any, *labels: str) -> Any:
        key = (parent, *labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = parent.labels(*labels)
        return found

    def _counter(self, name: str) -> Counter:
        row = _row(name, "counter")
        return Counter(name, row.meaning, row.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        row = _row(name, "gauge")
        return Gauge(name, row.meaning, row.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        row = _row(name, "histogram")
        return Histogram(name, row.meaning, row.labels, buckets=row.buckets, registry=self.registry)


def _row(name: str, kind: str) -> Metric:
    row = BY_NAME[name]
    if row.kind != kind:
        raise TypeError(f"{name} is a {row.kind} in the table, not a {kind}")
    return row


class Observe:
    """Outermost middleware: gives each request its trace_id, measures, counts and logs it."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, leaving: Callable[[], bool] = lambda: False
    ) -> None:
        """While the server is `leaving`, clients are told to take another connection."""
        self.app = app
        self.metrics = metrics
        self.leaving = leaving
        self._templates: dict[str, str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id, start, status = envelope.new_trace(), time.perf_counter(), 499
        scope.setdefault("state", {}).update(trace_id=trace_id, start=start)
        route = self._template(scope)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *envelope.headers(trace_id)]
                if self.leaving():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self.metrics.begin(route)
        try:
            await self.app(scope, receive, watch)
        finally:
            self._finish(scope, route, status, time.perf_counter() - start)

    def _finish(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Count and log; 499 stands for a client that left before it was answered."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.end(route, method, status, seconds)
        problem = scope["state"].get("problem")
        if problem and route not in _QUIET:
            self.metrics.reject(problem)
        self._tell(scope, route, method, status, seconds)

    def _tell(self, scope: Scope, route: str, method: str, status: int, seconds: float) -> None:
        """Log one line of JSON; that of a probe only where debugging is on.

        Written by hand, as no value needs escaping, and without the search for the calling line:
        the line is the largest cost of monitoring after the prediction log's.
        """
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if _log.isEnabledFor(level):
            line = (
                f'{{"trace_id": "{scope["state"]["trace_id"]}", "route": "{route}", '
                f'"method": "{method}", "status": {status}, "seconds": {seconds:.6f}}}'
            )
            _log.handle(logging.LogRecord(_log.name, level, __file__, 0, line, (), None))

    def _template(self, scope: Scope) -> str:
        """The route template of a request, told before the router has looked at it."""
        path = scope["path"]
        if self._templates is None:
            routes = scope["app"].routes if "app" in scope else ()
            self._templates = {each.path: each.path for each in routes if "{" not in each.path}
            self._patterns = [(each.path_regex, each.path) for each in routes if "{" in each.path]
        if path in self._templates:
            return self._templates[path]
        return next((own for regex, own in self._patterns if regex.match(path)), UNMATCHED)
