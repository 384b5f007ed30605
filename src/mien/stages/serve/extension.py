"""Addresses of another stage beside those of the service: a page, and functions behind it.

The functions know no HTTP. Each takes the body and the query of a request and returns JSON values,
or the name and content of a file; it runs in a thread, and every one of them needs the key.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mien.stages.serve import pages, routes, uploads
from mien.stages.serve.dispatch import Endpoint
from mien.stages.serve.loading import BundleSource

File = tuple[str, bytes]
"""Name and content of a file that the browser saves."""
Call = Callable[[bytes, Mapping[str, str]], Mapping[str, Any] | File]


@dataclass(frozen=True)
class Extension:
    """What a stage adds to the service."""

    sources: Sequence[BundleSource]
    """What is served; a bundle may be awaited."""
    page: str
    """Path of the page, whose file in `static/` has the same name."""
    calls: Mapping[str, Call]
    """By method and path, such as `GET /studio/state`."""


def install(app: FastAPI, extension: Extension) -> None:
    """Add the page and the functions to the app."""
    routes.add_get(app, extension.page, pages.whole_file(f"{extension.page[1:]}.html"))
    for address, call in extension.calls.items():
        method, path = address.split()
        routes.add(app, method, path, _endpoint(call), routes.UNDOCUMENTED)


def _endpoint(call: Call) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        state = routes.state_of(request)
        routes.authorize(request, state)
        limit = state.inference.max_upload_bytes
        uploads.check_length(request, limit)
        with state.inference.workers.admit(), state.upload_memory.counted() as take:
            reading = uploads.read_bytes(request, limit, take)
            data = await routes.within_timeout(request, reading, state)
            reply = await asyncio.to_thread(call, data, dict(request.query_params))
        if not isinstance(reply, tuple):
            return JSONResponse(reply, headers=routes.NO_STORE)
        name, content = reply
        sent = {**routes.NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, headers=sent, media_type="application/octet-stream")

    return endpoint
