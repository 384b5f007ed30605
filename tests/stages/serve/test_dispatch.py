"""From the address of a request to its endpoint."""

from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from mien.stages.serve.dispatch import ADDRESS, Application, call_endpoint


async def parameters(request: Request) -> Response:
    path = "/".join(request.path_params.values())
    return PlainTextResponse(f"{request.scope[ADDRESS].template} {request.method} {path}")


@pytest.fixture
def client() -> TestClient:
    """An application with an exact address beside two patterns."""
    app = Application(openapi_url=None, docs_url=None, redoc_url=None)
    for path, method in (
        ("/predict/{task}", "POST"),
        ("/predict/shape", "POST"),
        ("/static/{path:path}", "GET"),
        ("/static/{path:path}", "HEAD"),
    ):
        app.add_api_route(path, parameters, methods=[method], response_model=None)
    app.layers = call_endpoint
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "template", "parameter"),
    [
        ("/predict/shape", "/predict/shape", ""),
        ("/predict/shape/", "/predict/shape", ""),
        ("/predict/other", "/predict/{task}", "other"),
        ("/predict/other/", "/predict/{task}", "other"),
    ],
)
def test_an_exact_address_comes_first(
    client: TestClient, path: str, template: str, parameter: str
) -> None:
    """Whatever the order of registration; a slash at the end does not matter."""
    assert client.post(path).text == f"{template} POST {parameter}"


def test_a_parameter_may_have_slashes(client: TestClient) -> None:
    """Where its pattern says so."""
    assert client.get("/static/a/b.css").text == "/static/{path:path} GET a/b.css"
    assert client.head("/static/a/b.css").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict/shape", 405), ("GET", "/nothing", 404), ("POST", "/predict/a/b", 404)],
)
def test_what_does_not_exist_is_an_error(
    client: TestClient, method: str, path: str, status: int
) -> None:
    """An address, or a method of one."""
    with pytest.raises(HTTPException) as error:
        client.request(method, path)
    assert error.value.status_code == status


def test_fastapi_has_no_layer_around_a_request(client: TestClient) -> None:
    """Its middleware is built for the lifespan only."""
    app: Any = client.app
    client.post("/predict/shape")
    assert app.middleware_stack is None
