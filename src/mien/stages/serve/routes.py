"""The addresses of the service: each parses the request, calls one function and formats.

Knows HTTP and the contract of tasks. `openapi.py` describes the addresses, `pages.py` has those
of the web page, and `inference.py` makes the predictions. An endpoint takes the HTTP request and
returns the response; `dispatch.py` calls it.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from mien.errors import UnknownPredictionError
from mien.stages.serve import errors, fault_injection, openapi, response, status, uploads
from mien.stages.serve.auth import ApiKeyAuth
from mien.stages.serve.dispatch import Endpoint
from mien.stages.serve.errors import PROBLEM_TYPES, NotReadyError, RequestTimeoutError
from mien.stages.serve.feedback import (
    ARRIVAL_S,
    FeedbackRequest,
    record_feedback,
    wait_for_record,
)
from mien.stages.serve.inference import InferenceService
from mien.stages.serve.metrics import MEDIA_TYPE
from mien.stages.serve.protocol import RECEIVED
from mien.stages.serve.trace_id import age_s

T = TypeVar("T")
UNDOCUMENTED: dict[str, Any] = {"include_in_schema": False}
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class AppState:
    """What the endpoints use; made in `app.create`."""

    inference: InferenceService
    auth: ApiKeyAuth
    upload_memory: uploads.UploadMemory
    scrape_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def install(app: FastAPI, state: AppState) -> None:
    """Add the addresses of the API to the app."""
    app.state.service = state
    tasks = state.inference.models.tasks
    if tasks:
        add(app, "POST", "/predict", predict_default, openapi.predict_default(tasks))
    for task in tasks:
        path = f"/predict/{task.name}"
        add(app, "POST", path, _predict_task(task.name), openapi.predict_task(task))
    add(app, "POST", "/predict/{task}", predict_unknown, UNDOCUMENTED)
    add(app, "POST", "/feedback", feedback, openapi.FEEDBACK)
    add_get(app, "/health", health, openapi.HEALTH)
    add_get(app, "/livez", livez, openapi.LIVEZ)
    add_get(app, "/readyz", readyz, openapi.READYZ)
    add_get(app, "/metrics", metrics, openapi.METRICS)
    add_get(app, "/status.json", status_document, openapi.STATUS)
    add_get(app, "/sample/{task}", sample, openapi.SAMPLE)
    add_get(app, "/errors/{name}", problem_type, openapi.ERRORS)


def add_get(
    app: FastAPI, path: str, endpoint: Endpoint, description: dict[str, Any] = UNDOCUMENTED
) -> None:
    """Add an address for GET and HEAD, with what OpenAPI says about it."""
    add(app, "GET", path, endpoint, description)
    add(app, "HEAD", path, endpoint, UNDOCUMENTED)


def add(
    app: FastAPI, method: str, path: str, endpoint: Endpoint, description: dict[str, Any]
) -> None:
    app.add_api_route(path, endpoint, methods=[method], response_model=None, **description)


async def predict_default(request: Request) -> Response:
    first = state_of(request).inference.models.tasks[0].name
    return await _predict(request, request.query_params.get("task", first))


async def predict_unknown(request: Request) -> Response:
    return await _predict(request, request.path_params["task"])


def _predict_task(name: str) -> Endpoint:
    async def predict(request: Request) -> Response:
        return await _predict(request, name)

    return predict


async def _predict(request: Request, task_name: str) -> Response:
    """The cheapest checks first; nothing is read before the request is admitted."""
    state, own = state_of(request), request.scope["state"]
    inference = state.inference
    model = inference.models.find(task_name)
    authorize(request, state)
    limit = inference.max_upload_bytes
    uploads.check_length(request, limit)
    takes_json = model.task.inference.Body is not None
    with state.upload_memory.counted() as take:
        result = await inference.predict(
            model,
            lambda: within_timeout(request, uploads.read(request, takes_json, limit, take), state),
            own["trace_id"],
            own["started_at"],
            lambda: _is_disconnected(request),
            _fault(request, inference),
        )
    if result is None:
        raise ClientDisconnect
    version = result.record.version
    content = response.render(model, version, result.prediction, own["trace_id"])
    sent = NO_STORE
    if result.is_frame:
        sent = sent | uploads.frame_header(result.prediction.video)
    return Response(content, headers=sent, media_type="application/json")


def _is_disconnected(request: Request) -> bool:
    """Whether the client of a request that was received is gone: one step of `receive`, where
    Starlette's own method starts and cancels a scope of tasks."""
    receiving = cast(Coroutine[Any, Any, Message], request.receive())
    try:
        receiving.send(None)
    except StopIteration as received:
        return bool(received.value["type"] == "http.disconnect")
    receiving.close()
    return False


def _fault(request: Request, inference: InferenceService) -> str | None:
    """The fault that a fire drill asks for, where drills are allowed."""
    allowed = inference.settings.fault_injection
    return request.headers.get(fault_injection.HEADER) if allowed else None


async def feedback(request: Request) -> Response:
    state = state_of(request)
    inference = state.inference
    authorize(request, state)
    with inference.workers.admit():
        sent = await within_timeout(request, uploads.read_json(request, FeedbackRequest), state)
        log, labels = inference.prediction_log, inference.models.labels
        try:
            result = await asyncio.to_thread(record_feedback, log, labels, sent)
        except UnknownPredictionError:
            if not log.shared or age_s(sent.trace_id) > ARRIVAL_S:
                raise
            await wait_for_record(log, sent.trace_id)
            result = await asyncio.to_thread(record_feedback, log, labels, sent)
    if inference.canary.model is not None:
        await asyncio.to_thread(inference.canary.check, result.task)
    inference.metrics.count_feedback(result.task, result.version, result.correct)
    if inference.review is not None and not result.correct:
        inference.review.correct(result.task, result.trace_id, result.label)
    return JSONResponse(result.model_dump())


async def health(request: Request) -> Response:
    inference = state_of(request).inference
    models = inference.models
    report = [slot.as_json(inference.settings.notice) for slot in models.slots]
    followed = {"registry": inference.follower.as_json()} if inference.follower else {}
    if models.reason:
        error = NotReadyError(models.reason)
        return errors.problem_response(error, request.scope, models=report, **followed)
    return JSONResponse({"status": "ok", "models": report, **followed})


async def livez(request: Request) -> Response:
    if state_of(request).inference.workers.needs_restart:
        raise NotReadyError("The worker threads hang; the process needs a restart.")
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    models = state_of(request).inference.models
    if models.draining:
        raise NotReadyError("The server is shutting down.")
    if models.loading or not models.ready:
        raise NotReadyError(models.reason or "no model is served")
    return JSONResponse({"status": "ok", "tasks": models.ready})


async def metrics(request: Request) -> Response:
    state = state_of(request)
    async with state.scrape_lock:  # one scrape at a time
        page = await asyncio.to_thread(state.inference.metrics.render)
    return Response(page, media_type=MEDIA_TYPE)


async def status_document(request: Request) -> Response:
    state = state_of(request)
    async with state.scrape_lock:  # it reads the same windows and the same database
        report = await asyncio.to_thread(status.report, state.inference)
    return Response(report.model_dump_json(), headers=NO_STORE, media_type="application/json")


async def sample(request: Request) -> Response:
    model = state_of(request).inference.models.find(request.path_params["task"])
    return Response(model.sample_png, media_type="image/png")


async def problem_type(request: Request) -> Response:
    for each in PROBLEM_TYPES.values():
        if each.slug == request.path_params["name"]:
            facts = {"type": each.type, "title": each.title, "status": each.status}
            return JSONResponse(facts | {"remedy": each.remedy})
    raise HTTPException(404)


def authorize(request: Request, state: AppState) -> None:
    if state.auth.keys:
        headers = request.headers
        state.auth.check(headers.get("authorization"), headers.get("x-api-key"))


async def within_timeout(request: Request, reading: Awaitable[T], state: AppState) -> T:
    if RECEIVED in request.scope:  # a timer would cost more than the reading
        return await reading
    try:
        async with asyncio.timeout(state.inference.settings.body_timeout_s):
            return await reading
    except TimeoutError:
        raise RequestTimeoutError from None


def state_of(request: Request) -> AppState:
    state: AppState = request.app.state.service
    return state
