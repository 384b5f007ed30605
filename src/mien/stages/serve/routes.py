"""The addresses of the service: each parses, calls one function and formats.

Knows HTTP and the contract of tasks. How an address is described is in `openapi.py`, what is
behind it in the other files beside this one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from mien.config import Settings
from mien.images import Limits
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import answers, batching, drill, envelope, errors, openapi, protocol, uploads
from mien.stages.serve.access import Access
from mien.stages.serve.answering import Answer, Answering, Question
from mien.stages.serve.errors import KINDS, NotReadyError, TooSlowError
from mien.stages.serve.feedback import Feedback, judge
from mien.stages.serve.loading import Served
from mien.stages.serve.metrics import MEDIA_TYPE, Metrics
from mien.stages.serve.models import Entry, Models
from mien.stages.serve.protocol import Bounds
from mien.stages.serve.uploads import Upload
from mien.stages.serve.windows import Windows
from mien.stages.serve.workers import Desk, Workers

STATIC = Path(__file__).parent / "static"
_FILES = StaticFiles(directory=STATIC, check_dir=False)
_PRIVATE = {"Cache-Control": "no-store"}
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Service:
    """What the endpoints work with; made in `app.create`."""

    settings: Settings
    access: Access
    models: Models
    workers: Workers
    metrics: Metrics
    prediction_log: PredictionLog
    windows: Windows
    scraping: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Not in `init`: a service that is made of another by `replace` has desks of its own, or its
    # answers would be recorded by the other's prediction_log.
    _desks: WeakKeyDictionary[Served, dict[tuple[str, bool], Desk[Question, Answer]]] = field(
        default_factory=WeakKeyDictionary, init=False
    )

    @property
    def max_bytes(self) -> int:
        return int(self.settings.max_upload_mb * 1e6)

    @property
    def limits(self) -> Limits:
        return Limits(pixels=int(self.settings.max_megapixels * 1e6))

    def desk(self, served: Served, upload: Upload) -> Desk[Question, Answer]:
        """Where questions like this one are answered by this model."""
        of = self._desks.setdefault(served, {})
        kind = "json" if upload.boundary is None else "picture"
        large = len(upload.data) > batching.LARGE
        if (kind, large) not in of:
            answering = Answering(self.limits, self.metrics, self.prediction_log)
            most = served.together.get(kind, 1)
            of[kind, large] = Desk(answering, min(most, batching.FEW) if large else most)
        return of[kind, large]

    def bounds(self) -> Bounds:
        """What connections may take, before anything is asked on them."""
        connections = protocol.affordable(self.settings.connections)
        return Bounds(connections, self.settings.header_timeout_s, self._refuse)

    def _refuse(self, error: BaseException) -> bytes:
        trace_id = envelope.new_trace()
        self.metrics.reject(errors.kind_of(error).slug)
        return errors.raw(error, trace_id, envelope.headers(trace_id))


def install(app: FastAPI, service: Service) -> None:
    """Add every address to the app."""
    app.state.service = service
    tasks = service.models.tasks
    if tasks:
        _post(app, "/predict", predict_default, openapi.first(tasks))
    for task in tasks:
        _post(app, f"/predict/{task.name}", _predict_task(task.name), openapi.one(task))
    _post(app, "/predict/{task}", predict_unknown, {"include_in_schema": False})
    _post(app, "/feedback", feedback, openapi.FEEDBACK)
    _get(app, "/health", health, openapi.HEALTH)
    _get(app, "/livez", livez, openapi.LIVEZ)
    _get(app, "/readyz", readyz, openapi.READYZ)
    _get(app, "/metrics", metrics, openapi.METRICS)
    _get(app, "/sample/{task}", sample, openapi.SAMPLE)
    _get(app, "/errors/{name}", problem, openapi.ERRORS)
    _get(app, "/openapi.json", schema, {"include_in_schema": False})
    _get(app, "/docs", docs, {"include_in_schema": False})
    _get(app, "/", page, {"include_in_schema": False})
    _get(app, "/static/{path:path}", static, {"include_in_schema": False})


async def predict_default(request: Request) -> Response:
    first = _service(request).models.tasks[0].name
    return await _predict(request, request.query_params.get("task", first))


async def predict_unknown(request: Request) -> Response:
    return await _predict(request, request.path_params["task"])


def _predict_task(name: str) -> Endpoint:
    async def predict(request: Request) -> Response:
        return await _predict(request, name)

    return predict


async def feedback(request: Request) -> Response:
    service = _service(request)
    _admit(request, service)
    with service.workers.slot():
        async with _deadline(service):
            sent = await uploads.document(request, Feedback)
        judged = await asyncio.to_thread(judge, service.prediction_log, service.models.tasks, sent)
    service.metrics.judge(judged.task, judged.version, judged.right)
    return JSONResponse(judged.model_dump())


async def health(request: Request) -> Response:
    models = _service(request).models
    report = [_line(entry) for entry in models.entries]
    if models.reason:
        return errors.answer(NotReadyError(models.reason), request.scope, models=report)
    return JSONResponse({"status": "ok", "models": report})


async def livez(request: Request) -> Response:
    if _service(request).workers.stuck:
        raise NotReadyError("The threads that answer hang; the process has to be started again.")
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    models = _service(request).models
    if models.leaving:
        raise NotReadyError("The server was told to end.")
    if models.loading or not models.ready:
        raise NotReadyError(models.reason or "nothing is served")
    return JSONResponse({"status": "ok", "tasks": models.ready})


async def metrics(request: Request) -> Response:
    service = _service(request)
    async with service.scraping:  # one after the other, whoever asks
        page = await asyncio.to_thread(service.metrics.page)
    return Response(page, media_type=MEDIA_TYPE)


async def sample(request: Request) -> Response:
    served = _service(request).models.find(request.path_params["task"])
    return Response(served.picture, media_type="image/png")


async def problem(request: Request) -> Response:
    for kind in KINDS.values():
        if kind.slug == request.path_params["name"]:
            facts = {"type": kind.type, "title": kind.title, "status": kind.status}
            return JSONResponse(facts | {"remedy": kind.remedy})
    raise HTTPException(404)


async def schema(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


async def docs(request: Request) -> Response:
    return _Whole(FileResponse(STATIC / "docs.html"))


async def page(request: Request) -> Response:
    return _Whole(FileResponse(STATIC / "index.html"))


async def static(request: Request) -> Response:
    # A mounted StaticFiles would leave the request without a route template to count it by.
    found = await _FILES.get_response(_FILES.get_path(request.path_params), request.scope)
    return _Whole(found)


class _Whole(Response):
    """A file, whole: what asks for parts of it is not heeded, as HTTP allows."""

    def __init__(self, file: Response) -> None:
        super().__init__()
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await self._file({**scope, "headers": headers}, receive, send)


async def _predict(request: Request, name: str) -> Response:
    """The guards, from the cheapest on; nothing is read before there is a place to answer it."""
    service = _service(request)
    served = service.models.find(name)
    _admit(request, service)
    uploads.check_length(request, service.max_bytes)
    with service.workers.slot():
        start = time.perf_counter()
        async with _deadline(service):
            upload = await uploads.read(
                request, served.task.inference.Body is not None, service.max_bytes
            )
        sent = time.perf_counter()
        service.metrics.read(len(upload.data), sent - start)
        told = request.headers.get(drill.HEADER) if service.settings.drill else None
        question = Question(served, upload, request.state.trace_id, request.state.start, sent, told)
        answer = await service.workers.run(
            service.desk(served, upload),
            question,
            service.settings.deadline_s,
            request.is_disconnected,
        )
    if answer is None:
        raise ClientDisconnect
    service.metrics.answer(served, answer.prediction, answer.seconds)
    service.windows.add(answer.event)
    document = answers.document(served, answer.prediction, question.trace_id)
    return JSONResponse(document, headers=_PRIVATE)


def _admit(request: Request, service: Service) -> None:
    headers = request.headers
    service.access.check(headers.get("authorization"), headers.get("x-api-key"))


@asynccontextmanager
async def _deadline(service: Service) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(service.settings.body_timeout_s):
            yield
    except TimeoutError:
        raise TooSlowError from None


def _line(entry: Entry) -> dict[str, Any]:
    served = entry.served
    return {
        "task": entry.name,
        "name": f"mien-{entry.name}",
        "version": served.version if served else None,
        "candidate": served.candidate if served else None,
        "digest": served.digest if served else None,
        "labels": list(served.task.labels) if served else [],
        "state": entry.state,
        "reason": entry.reason,
        "refused": entry.refused,
        "golden": asdict(served.golden) if served else None,
    }


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


class _Route(APIRoute):
    """An address whose endpoint takes the request and gives the response.

    What FastAPI does to call one with parameters costs more than the rest of our code.
    """

    def get_route_handler(self) -> Endpoint:
        return self.endpoint


def _post(app: FastAPI, path: str, endpoint: Endpoint, described: dict[str, Any]) -> None:
    _add(app, path, endpoint, "POST", described)


def _get(app: FastAPI, path: str, endpoint: Endpoint, described: dict[str, Any]) -> None:
    _add(app, path, endpoint, "GET", described)
    _add(app, path, endpoint, "HEAD", {"include_in_schema": False})


def _add(app: FastAPI, path: str, endpoint: Endpoint, method: str, described: Any) -> None:
    app.router.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=None,
        route_class_override=_Route,
        **described,
    )
