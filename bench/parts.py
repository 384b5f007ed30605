"""CPU time of the parts of a request, measured where they run, in the process of the server.

A part's time is that of its functions without the parts that they call. The clock itself adds
about a microsecond a call.
"""

import asyncio.selector_events
import selectors
import threading
from collections import defaultdict
from collections.abc import Callable
from time import thread_time
from typing import Any

from starlette.responses import Response

from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import response, uploads
from mien.stages.serve.drift_window import DriftWindows
from mien.stages.serve.inference import InferencePipeline
from mien.stages.serve.metrics import Metrics, RequestMetricsMiddleware
from mien.stages.serve.workers import WorkerPool

MODEL = "decode and predict"
PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    MODEL: ((uploads, "decode"), (InferencePipeline, "_predict")),
    "accept, read and parse HTTP": (
        (asyncio.selector_events._SelectorSocketTransport, "_read_ready__data_received"),
    ),
    "multipart": ((uploads, "_image"),),
    "queue and thread hops": (
        (WorkerPool, "_put"),
        (WorkerPool, "_take"),
        (WorkerPool, "_finish"),
        (WorkerPool, "_leave"),
        (selectors.EpollSelector, "select"),
        (asyncio.selector_events.BaseSelectorEventLoop, "_write_to_self"),
        (asyncio.selector_events.BaseSelectorEventLoop, "_read_from_self"),
    ),
    "JSON": ((response, "render"), (Response, "__init__")),
    "send the response": ((asyncio.selector_events._SelectorSocketTransport, "write"),),
    "log": ((RequestMetricsMiddleware, "_log_request"),),
    "prediction log": ((PredictionLog, "add"), (PredictionLog, "_try_drain")),
    "metrics": (
        (Metrics, "request_started"),
        (Metrics, "request_finished"),
        (Metrics, "observe_prediction"),
        (DriftWindows, "add"),
    ),
}
"""The functions of each part, by the module or class that has them."""


class PartClock:
    """Adds up the CPU seconds of each part, in all threads."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self._local = threading.local()

    def install(self) -> None:
        """Put a clock around every function of `PARTS`; it stays in this process."""
        for part, functions in PARTS.items():
            for owner, name in functions:
                setattr(owner, name, self._around(part, getattr(owner, name)))

    def _around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            inner = getattr(self._local, "inner", None)
            if inner is None:
                inner = self._local.inner = []
            inner.append(0.0)
            start = thread_time()
            try:
                return work(*arguments, **options)
            finally:
                whole = thread_time() - start
                self.spent_s[part] += whole - inner.pop()
                if inner:
                    inner[-1] += whole

        return timed
