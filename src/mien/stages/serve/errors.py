"""Problem documents: ONE table from exception to what a client gets.

The documents follow RFC 9457. They say what to do, and never repeat the input or reveal internals
of the server. HTTP status codes of failures are in this file and nowhere else.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import (
    DeadlineError,
    ImageError,
    ImageTypeError,
    MienError,
    OtherInstanceError,
    OverloadedError,
    PredictionLogError,
    RateLimitError,
    RequestError,
    TooLargeError,
    UnauthorizedError,
    UnknownPredictionError,
    UnknownTaskError,
)
from mien.stages.serve.dispatch import ADDRESS

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("mien.serve")


class MediaTypeError(RequestError):
    """A request body of an unsupported content type."""


class BadHttpError(RequestError):
    """Bytes that are not an HTTP request."""


class HeadersTooLargeError(RequestError):
    """Request line and headers beyond the limit."""


class RequestTimeoutError(RequestError):
    """A request that did not arrive in time."""


class NotReadyError(MienError):
    """A model that is still being loaded, or could not be loaded."""


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    """A stable name of the problem, and the address of its description on this server."""
    title: str
    status: int
    detail: str
    """What to do."""
    trace_id: str
    """Identifies this request in the server's log."""


@dataclass(frozen=True)
class ProblemType:
    """One row of the table: status, name and meaning of a failure."""

    status: int
    slug: str
    title: str
    remedy: str
    expose_message: bool
    """Whether the exception's own message replaces the remedy."""
    retry_after: int | None
    """Seconds after which a client should try again."""

    @property
    def type(self) -> str:
        return f"/errors/{self.slug}"


_TABLE: Mapping[tuple[type[Exception] | int, int, str, str], str] = {
    (BadHttpError, 400, "bad-http", "This is not an HTTP request"): (
        "Send HTTP/1.1 as RFC 9112 defines it."
    ),
    (ImageError, 400, "undecodable-image", "The image cannot be decoded"): (
        "The image is truncated or damaged. Export it again, then send it again."
    ),
    (UnauthorizedError, 401, "unauthorized", "This server needs an API key"): (
        "Send a valid key in the header `Authorization: Bearer KEY`."
    ),
    (UnknownTaskError, 404, "unknown-task", "This server does not serve that task"): (
        "GET /health lists the served tasks."
    ),
    (UnknownPredictionError, 404, "unknown-prediction", "There is no such prediction"): (
        "Send the trace_id of a prediction of this server; old records are deleted."
    ),
    (OtherInstanceError, 404, "other-instance", "The prediction is not of this instance"): (
        "Another instance of the server made it, or this one before its last start; its record is "
        "in another log, or not written yet. Send the feedback again: the next request may reach "
        "the right instance."
    ),
    (404, 404, "not-found", "There is no such address"): "GET /docs lists all addresses.",
    (405, 405, "method-not-allowed", "This address does not support that method"): (
        "Use a method that the header Allow lists."
    ),
    (RequestTimeoutError, 408, "request-timeout", "The request did not arrive in time"): (
        "Send the image again over a faster connection, or scale it down."
    ),
    (TooLargeError, 413, "too-large", "The upload is too large"): (
        "Scale the image down and send it again."
    ),
    (ImageTypeError, 415, "unsupported-image-type", "This image type is not supported"): (
        "Send a JPEG, PNG, WEBP or AVIF image; the content counts, not the file name."
    ),
    (MediaTypeError, 415, "unsupported-media-type", "This content type is not supported"): (
        "Send a form (multipart/form-data) with the image in the field `file`, or its bytes."
    ),
    (RequestError, 422, "malformed-request", "The request has another form than expected"): (
        "Send the image in the field `file` of a form; GET /docs has examples."
    ),
    (RateLimitError, 429, "rate-limit", "This key exceeds its rate limit"): (
        "Send fewer requests per second; try again after the seconds of Retry-After."
    ),
    (HeadersTooLargeError, 431, "headers-too-large", "The headers are too large"): (
        "Send fewer or shorter headers; the limit is 16 KB, with the address."
    ),
    (OverloadedError, 503, "overloaded", "Too many requests are in flight"): (
        "Try again after the seconds of the header Retry-After."
    ),
    (NotReadyError, 503, "not-ready", "The model is not ready"): (
        "Try again after the seconds of the header Retry-After; GET /health has the reason."
    ),
    (MemoryError, 503, "out-of-memory", "The server has not enough memory now"): (
        "Try again later, or send a smaller image."
    ),
    (PredictionLogError, 503, "prediction-log", "The prediction log cannot be written"): (
        "Send the feedback again later; the server's log has the reason."
    ),
    (DeadlineError, 504, "deadline", "The prediction took too long"): (
        "Try again, with a smaller image if this one is large."
    ),
    (Exception, 500, "internal", "The server failed"): (
        "This is a defect of the server. Report it with the trace_id, by which its log has it."
    ),
}
"""Exception, or status of a framework's error; status, name and title of the problem; remedy."""
_EXPOSED = {
    UnknownTaskError,
    UnknownPredictionError,
    TooLargeError,
    ImageTypeError,
    MediaTypeError,
    RequestError,
    NotReadyError,
}
"""Exceptions whose own message replaces the remedy."""
_RETRY_AFTER_S: Mapping[type[Exception] | int, int] = {
    RateLimitError: 1,
    OverloadedError: 1,
    NotReadyError: 5,
    MemoryError: 5,
    PredictionLogError: 60,
    DeadlineError: 1,
}
PROBLEM_TYPES = {
    error: ProblemType(status, slug, title, remedy, error in _EXPOSED, _RETRY_AFTER_S.get(error))
    for (error, status, slug, title), remedy in _TABLE.items()
}

_EXPECTED: tuple[type[Exception], ...] = (
    HTTPException,
    *(error for error in PROBLEM_TYPES if isinstance(error, type) and error is not Exception),
)
"""Exceptions that are no defect of the server."""


def problem_type_of(error: BaseException) -> ProblemType:
    """The row of an exception: by the status of a framework's error, or by its class."""
    if isinstance(error, HTTPException) and error.status_code in PROBLEM_TYPES:
        return PROBLEM_TYPES[error.status_code]
    return next(PROBLEM_TYPES[base] for base in type(error).__mro__ if base in PROBLEM_TYPES)


def problem_response(error: Exception, scope: Scope, **more: Any) -> Response:
    """Make the problem document of an exception, with `more` members than `Problem`."""
    problem_type, state = problem_type_of(error), scope.setdefault("state", {})
    state["problem"] = problem_type.slug
    headers = _headers(problem_type)
    if problem_type.status == 405:
        headers["Allow"] = ", ".join(sorted(scope[ADDRESS].endpoints))
    document = _document(error, problem_type, state.get("trace_id", "")) | more
    return JSONResponse(document, problem_type.status, headers, MEDIA_TYPE)


def raw_response(
    error: BaseException, trace_id: str, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """The bytes of the response to invalid HTTP; the connection is closed after it."""
    problem_type = problem_type_of(error)
    body = json.dumps(_document(error, problem_type, trace_id)).encode()
    own_headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **_headers(problem_type),
    }
    lines = [f"{name}: {value}".encode() for name, value in own_headers.items()]
    lines += [name + b": " + value for name, value in headers]
    status = f"HTTP/1.1 {problem_type.status} {HTTPStatus(problem_type.status).phrase}".encode()
    return b"\r\n".join([status, *lines, b"", body])


class ErrorMiddleware:
    """Answers every exception with its problem document; logs an unexpected one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except ClientDisconnect:
            _log.debug("the client of %s disconnected before its request was read", _trace(scope))
        except Exception as error:
            if started or not isinstance(error, _EXPECTED):
                _log.exception("request %s failed", _trace(scope))
            if started:
                raise
            await problem_response(error, scope)(scope, receive, send)


def _document(error: BaseException, problem_type: ProblemType, trace_id: str) -> dict[str, Any]:
    return Problem(
        type=problem_type.type,
        title=problem_type.title,
        status=problem_type.status,
        detail=str(error) if problem_type.expose_message and str(error) else problem_type.remedy,
        trace_id=trace_id,
    ).model_dump()


def _headers(problem_type: ProblemType) -> dict[str, str]:
    seconds = problem_type.retry_after
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if problem_type.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _trace(scope: Scope) -> str:
    return str(scope.get("state", {}).get("trace_id", "?"))
