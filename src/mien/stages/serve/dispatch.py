"""The application: from the address of a request to its endpoint, and nothing in between.

FastAPI describes the addresses for OpenAPI. When a request is handled, its router and the layers
around it would cost more CPU time than all other code of the service, so that requests go past
them.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

ADDRESS = "mien.address"
"""Key of the `Address` in the scope of a request."""
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Address:
    """A route template and its endpoints."""

    template: str
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """By HTTP method."""


UNMATCHED = Address("unmatched")


class Application(FastAPI):
    """FastAPI's description of the addresses, and a short way to their endpoints."""

    layers: ASGIApp
    """The middleware around `call_endpoint`; to be set before the first request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope[ADDRESS], scope["path_params"] = self._find(scope)
        await self.layers(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Address, Mapping[str, str]]:
        """The address of a request and the parameters of its path.

        A slash at the end of a path is dropped: a redirect would lose the upload.
        """
        exact, patterns = self._addresses
        path = scope["path"]
        if path not in exact and path.endswith("/"):
            path = scope["path"] = path[:-1]
        if address := exact.get(path):
            return address, {}
        for regex, address in patterns:
            if match := regex.match(path):
                return address, match.groupdict()
        return UNMATCHED, {}

    @cached_property
    def _addresses(self) -> tuple[dict[str, Address], list[tuple[re.Pattern[str], Address]]]:
        """Those without parameters by path, and the others by what their paths match."""
        exact: dict[str, Address] = {}
        patterns: dict[re.Pattern[str], Address] = {}
        for route in self.routes:
            if not isinstance(route, APIRoute):
                continue
            if "{" in route.path:
                address = patterns.setdefault(route.path_regex, Address(route.path))
            else:
                address = exact.setdefault(route.path, Address(route.path))
            address.endpoints.update(dict.fromkeys(route.methods or (), route.endpoint))
        return exact, list(patterns.items())


async def call_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    """Send what the endpoint of a request returns.

    Raises:
        HTTPException: the address or the method does not exist.
    """
    address: Address = scope[ADDRESS]
    endpoint = address.endpoints.get(scope["method"])
    if endpoint is None:
        raise HTTPException(405 if address.endpoints else 404)
    response = await endpoint(Request(scope, receive, send))
    await response(scope, receive, send)
