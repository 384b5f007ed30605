"""The service's app called within the process, without sockets: as it is served, and the same
without monitoring, or with a clock at each part of it.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from inspect import getmembers, isfunction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien import config
from mien.stages.serve import app as serve_app
from mien.stages.serve import models
from mien.stages.serve.dispatch import Application, call_endpoint
from mien.stages.serve.errors import ErrorMiddleware
from mien.stages.serve.inference import InferenceService
from mien.stages.serve.metrics import RequestMetricsMiddleware
from mien.storage.workspace import Workspace

T = TypeVar("T")
LINE = "the line in the log"


@dataclass(frozen=True)
class Ask:
    """One request as it is sent."""

    path: str
    body: bytes = b""
    content_type: str = "application/json"
    method: str = "POST"

    @property
    def scope(self) -> dict[str, Any]:
        sent = {"content-type": self.content_type, "content-length": str(len(self.body))}
        headers = [(name.encode(), value.encode()) for name, value in sent.items()]
        path = {"path": self.path, "raw_path": self.path.encode(), "query_string": b""}
        return {"type": "http", "method": self.method, "headers": headers, **path}


class Silent:
    """In place of metrics, prediction log or windows: every method of theirs does nothing."""

    def __init__(self, whole: object) -> None:
        for name in _methods(whole):
            setattr(self, name, lambda *_: True)


class Plain:
    """In place of `RequestMetricsMiddleware`: what the app cannot do without, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = {"trace_id": secrets.token_hex(16), "started_at": time.perf_counter()}
        scope.setdefault("state", {}).update(found)
        await self.app(scope, receive, send)


class Clock:
    """CPU seconds of the parts of monitoring while requests are answered, by name of the part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.parts: set[str] = set()

    def around(self, part: str, work: Callable[..., T]) -> Callable[..., T]:
        self.parts.add(part)

        def timed(*arguments: Any) -> T:
            start = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.spent[part] += time.thread_time() - start

        return timed

    def beside(self, part: str, whole: object) -> Any:
        """Something with the same methods, each of them timed."""
        return SimpleNamespace(
            **{name: self.around(part, getattr(whole, name)) for name in _methods(whole)}
        )


def _methods(whole: object) -> list[str]:
    return [name for name, _ in getmembers(type(whole), isfunction) if not name.startswith("_")]


class Clocked(RequestMetricsMiddleware):
    """`RequestMetricsMiddleware` whose line in the log is timed."""

    def __init__(self, app: ASGIApp, metrics: Any, clock: Clock) -> None:
        super().__init__(app, metrics)
        self._log_request = clock.around(LINE, self._log_request)  # type: ignore[method-assign]


@asynccontextmanager
async def served(home: Workspace, scratch: Path) -> AsyncIterator[Application]:
    """The app as it is served, ready; its lines go to a file, as to a container's log."""
    (scratch / "log").unlink(missing_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", filename=scratch / "log")
    loaded = threading.Event()
    app = _create(home, scratch / "predictions.db", loaded.set)
    async with app.router.lifespan_context(app):
        await asyncio.to_thread(loaded.wait)
        if reason := app.state.service.inference.models.reason:
            raise SystemExit(reason)
        yield app


def _create(home: Workspace, prediction_log: Path, ready: Callable[[], None]) -> Application:
    settings = config.settings().model_copy(update={"threads": 1, "prediction_log": prediction_log})
    wanted = models.resolve_sources(home, ["emotion", "gesture"], [])
    return serve_app.create(home, wanted, settings, lambda _: ready())


def _variant(
    full: Application,
    home: Workspace,
    scratch: Path,
    observe: Callable[[ASGIApp], ASGIApp],
    **silent: Any,
) -> Application:
    """Another app over the same models and threads: their place in memory changes speed too."""
    app = _create(home, scratch / "unused.db", lambda: None)
    own: InferenceService = app.state.service.inference
    own.prediction_log.close()
    own.workers.close()
    inference = replace(full.state.service.inference, **silent)
    app.state.service = replace(full.state.service, inference=inference)
    app.layers = observe(ErrorMiddleware(call_endpoint))
    return app


def variants(
    full: Application, home: Workspace, scratch: Path, clock: Clock
) -> dict[str, Application]:
    """The app with monitoring, without, and with a clock at each of its parts."""
    own: InferenceService = full.state.service.inference
    timed = {
        "metrics": clock.beside("metrics of the answer", own.metrics),
        "prediction_log": clock.beside("the answer in the prediction log", own.prediction_log),
        "drift_windows": clock.beside("the answer in the window of drift", own.drift_windows),
    }
    counters = clock.beside("counters of the request", own.metrics)
    none = {name: Silent(getattr(own, name)) for name in timed}
    return {
        "with": full,
        "without": _variant(full, home, scratch, Plain, **none),
        "timed": _variant(
            full, home, scratch, lambda layers: Clocked(layers, counters, clock), **timed
        ),
    }


async def send(app: Application, ask: Ask) -> int:
    """Send one request and return the status, without a client library, which would cost more."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": ask.body, "more_body": False}

    async def sent(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(ask.scope, receive, sent)
    return status
