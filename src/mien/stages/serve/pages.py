"""The web page, the API documentation, and their static files."""

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from mien.stages.serve.dispatch import Endpoint
from mien.stages.serve.routes import add_get

STATIC = Path(__file__).parent / "static"
# Swagger UI lies in a package that is not imported: decisions/0003-offline-swagger-ui.md
_FILES = StaticFiles(directory=STATIC, packages=[("fastapi_swagger", "resources")], check_dir=False)


def install(app: FastAPI) -> None:
    """Add the addresses of the pages to the app."""
    add_get(app, "/openapi.json", openapi_document)
    add_get(app, "/docs", whole_file("docs.html"))
    add_get(app, "/docs/", docs_without_slash)
    add_get(app, "/", whole_file("index.html"))
    add_get(app, "/status", whole_file("status.html"))
    add_get(app, "/static/{path:path}", static)


def whole_file(name: str) -> Endpoint:
    """The endpoint of a page."""

    async def page(_: Request) -> Response:
        return _WholeFile(FileResponse(STATIC / name))

    return page


async def openapi_document(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


async def docs_without_slash(_: Request) -> Response:
    return RedirectResponse("../docs")  # the addresses in the page are relative


async def static(request: Request) -> Response:
    # A mounted StaticFiles would leave the request without a route template for the metrics.
    path = _FILES.get_path(request.path_params)
    return _WholeFile(await _FILES.get_response(path, request.scope))


class _WholeFile(Response):
    """A complete file: the header Range is ignored, as HTTP allows."""

    def __init__(self, file: Response) -> None:
        super().__init__()
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await self._file({**scope, "headers": headers}, receive, send)
