"""Adds addresses whose endpoint takes the HTTP request and returns the response.

FastAPI's own call of an endpoint with parameters costs more than the rest of the service's code.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
UNDOCUMENTED: dict[str, Any] = {"include_in_schema": False}


class _DirectRoute(APIRoute):
    def get_route_handler(self) -> Endpoint:
        return self.endpoint


def add_post(app: FastAPI, path: str, endpoint: Endpoint, openapi: dict[str, Any]) -> None:
    """Add an address for POST, with what OpenAPI says about it."""
    _add(app, path, endpoint, "POST", openapi)


def add_get(app: FastAPI, path: str, endpoint: Endpoint, openapi: dict[str, Any]) -> None:
    """Add an address for GET and HEAD, with what OpenAPI says about it."""
    _add(app, path, endpoint, "GET", openapi)
    _add(app, path, endpoint, "HEAD", UNDOCUMENTED)


def _add(app: FastAPI, path: str, endpoint: Endpoint, method: str, openapi: dict[str, Any]) -> None:
    app.router.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=None,
        route_class_override=_DirectRoute,
        **openapi,
    )
