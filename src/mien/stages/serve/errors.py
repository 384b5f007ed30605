"""What a client is told when something fails: ONE table from exception to problem document.

The documents follow RFC 9457. They say what to do, and never repeat what was sent nor tell what
the server is made of. HTTP status codes of failures stand in this file and nowhere else.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import (
    AccessError,
    DeadlineError,
    ImageError,
    ImageTypeError,
    MienError,
    OverloadedError,
    PredictionLogError,
    RateError,
    RequestError,
    TooLargeError,
    UnknownPredictionError,
    UnknownTaskError,
)

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("mien.serve")


class MediaTypeError(RequestError):
    """A request body of a content type that this address does not take."""


class BadHttpError(RequestError):
    """Bytes that are no HTTP request."""


class HeadTooLargeError(RequestError):
    """A request line with headers beyond the limit."""


class TooSlowError(RequestError):
    """A request that did not arrive in time."""


class NotReadyError(MienError):
    """A model that is still being loaded, or that could not be loaded."""


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    """A stable name of the problem; as an address of this server it tells what it means."""
    title: str
    status: int
    detail: str
    """What to do."""
    trace_id: str
    """Names this request in the server's log."""


@dataclass(frozen=True)
class Kind:
    """One row of the table: what a kind of failure is called and what it means."""

    status: int
    slug: str
    title: str
    remedy: str
    speaks: bool = False
    """Whether the exception's own message is made for clients and stands in for the remedy."""
    retry_after: int | None = None
    """Seconds after which trying again makes sense."""

    @property
    def type(self) -> str:
        return f"/errors/{self.slug}"


KINDS: Mapping[type[Exception] | int, Kind] = {
    BadHttpError: Kind(
        400,
        "bad-http",
        "This is no HTTP request",
        "Send HTTP/1.1 as its standard (RFC 9112) has it; most libraries do.",
    ),
    ImageError: Kind(
        400,
        "undecodable-image",
        "The picture cannot be decoded",
        "The picture is cut off or damaged; export or fetch it again, then send it again.",
    ),
    AccessError: Kind(
        401,
        "no-key",
        "This server wants a key",
        "Send a key that this server knows as the header `Authorization: Bearer KEY`.",
    ),
    UnknownTaskError: Kind(
        404,
        "unknown-task",
        "This server does not serve that task",
        "GET /health lists the tasks that are served.",
        speaks=True,
    ),
    UnknownPredictionError: Kind(
        404,
        "unknown-prediction",
        "There is no such prediction",
        "Send the trace_id of a prediction of this server; old records are deleted.",
        speaks=True,
    ),
    404: Kind(
        404,
        "not-found",
        "There is nothing at this address",
        "GET /docs lists every address of this server.",
    ),
    405: Kind(
        405,
        "method-not-allowed",
        "This address does not take that method",
        "Use one of the methods that the header Allow names.",
    ),
    TooSlowError: Kind(
        408,
        "too-slow",
        "The request did not arrive in time",
        "Send the picture again over a faster line, or scale it down.",
    ),
    TooLargeError: Kind(
        413,
        "too-large",
        "The upload is too large",
        "Scale the picture down and send it again.",
        speaks=True,
    ),
    ImageTypeError: Kind(
        415,
        "image-type",
        "This is not a type of picture that is taken",
        "Send a JPEG, PNG or WEBP picture; the content counts, not the name.",
    ),
    MediaTypeError: Kind(
        415,
        "media-type",
        "This content type is not taken here",
        "Send a form (multipart/form-data) with the picture in the field `file`.",
        speaks=True,
    ),
    RequestError: Kind(
        422,
        "malformed-request",
        "The request is not of the form that is expected",
        "Send the picture in the field `file` of a form; GET /docs shows examples.",
        speaks=True,
    ),
    RateError: Kind(
        429,
        "too-many",
        "This key sends more requests than it may",
        "Send fewer requests a second; try again after the seconds that Retry-After names.",
        retry_after=1,
    ),
    HeadTooLargeError: Kind(
        431,
        "head-too-large",
        "The headers are too large",
        "Send fewer or shorter headers; 16 KB are taken, with the address.",
    ),
    OverloadedError: Kind(
        503,
        "overloaded",
        "More requests wait than the server takes",
        "Try again after the seconds that the header Retry-After names.",
        retry_after=1,
    ),
    NotReadyError: Kind(
        503,
        "not-ready",
        "The model is not ready",
        "Try again after the seconds that the header Retry-After names; GET /health tells why.",
        speaks=True,
        retry_after=5,
    ),
    MemoryError: Kind(
        503,
        "no-memory",
        "The server has no memory for this now",
        "Try again later, or send a smaller picture.",
        retry_after=5,
    ),
    PredictionLogError: Kind(
        503,
        "prediction-log",
        "Answers cannot be recorded now",
        "Send the verdict again later; the server's log has the reason.",
        retry_after=60,
    ),
    DeadlineError: Kind(
        504,
        "deadline",
        "The answer took too long",
        "Try again, with a smaller picture if this one is large.",
        retry_after=1,
    ),
    Exception: Kind(
        500,
        "internal",
        "The server failed",
        "The fault is the server's. Report it with the trace_id, which names it in the log.",
    ),
}


def kind_of(error: BaseException) -> Kind:
    """Find the row of an exception: by the status of a framework's error, or by its class."""
    if isinstance(error, HTTPException) and error.status_code in KINDS:
        return KINDS[error.status_code]
    return next(KINDS[base] for base in type(error).__mro__ if base in KINDS)


def answer(error: Exception, scope: Scope, **more: Any) -> Response:
    """Make the problem document of an exception, with `more` members than those of `Problem`."""
    kind, state = kind_of(error), scope.setdefault("state", {})
    state["problem"] = kind.slug
    headers = _headers(kind)
    if kind.status == 405:
        headers["Allow"] = ", ".join(_allowed(scope))
    document = _document(error, kind, state.get("trace_id", "")) | more
    return JSONResponse(document, kind.status, headers, MEDIA_TYPE)


def raw(error: BaseException, trace_id: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The whole answer to what did not become a request; the connection is closed after it."""
    kind = kind_of(error)
    body = json.dumps(_document(error, kind, trace_id)).encode()
    own = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **_headers(kind),
    }
    lines = [f"{name}: {value}".encode() for name, value in own.items()]
    lines += [name + b": " + value for name, value in headers]
    status = f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}".encode()
    return b"\r\n".join([status, *lines, b"", body])


def install(app: FastAPI) -> None:
    """Translate every expected exception of the app's routes; `Catch` takes the unexpected."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(error, request.scope)

    for expected in (HTTPException, *KINDS):
        if isinstance(expected, type) and expected is not Exception:
            app.add_exception_handler(expected, handle)


class Catch:
    """Middleware that logs an unexpected exception and answers 500 without a word about it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            _log.debug("the client of %s left before its request was read", _trace(scope))
        except Exception as error:
            _log.exception("request %s failed", _trace(scope))
            if started:
                raise
            await answer(error, scope)(scope, receive, send)


def _document(error: BaseException, kind: Kind, trace_id: str) -> dict[str, Any]:
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=str(error) if kind.speaks and str(error) else kind.remedy,
        trace_id=trace_id,
    ).model_dump()


def _headers(kind: Kind) -> dict[str, str]:
    headers = {} if kind.retry_after is None else {"Retry-After": str(kind.retry_after)}
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _trace(scope: Scope) -> str:
    return str(scope.get("state", {}).get("trace_id", "?"))


def _allowed(scope: Scope) -> list[str]:
    routes = [route for route in scope["app"].routes if route.matches(scope)[0] != Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})
