"""Addresses of another stage: behind the key, without HTTP of their own, and an awaited model."""

import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien import tasks
from mien.config import Settings
from mien.errors import RequestError
from mien.stages.serve import app as serve_app
from mien.stages.serve.extension import Extension
from mien.stages.serve.loading import BundleSource
from mien.storage.workspace import Workspace

KEY = {"Authorization": "Bearer 0123456789abcdef"}
SETTINGS = Settings().model_copy(
    update={
        "threads": 1,
        "reload_interval_s": 0.01,
        "max_upload_mb": 0.001,
        "api_keys": SecretStr("studio:0123456789abcdef"),
    }
)


def echo(data: bytes, query: Mapping[str, str]) -> Mapping[str, Any]:
    if query.get("fail"):
        raise RequestError("expected another word")
    return {"size": len(data), "query": dict(query)}


def file(data: bytes, query: Mapping[str, str]) -> tuple[str, bytes]:
    return "rows.csv", b"a,b\n"


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    """A service whose only model is not there yet."""
    source = BundleSource(tasks.load("shape"), workspace.home / "awaited", awaited=True)
    calls = {"POST /studio/echo": echo, "GET /studio/rows.csv": file}
    loaded = threading.Event()
    app = serve_app.create(
        workspace,
        (source,),
        SETTINGS,
        lambda _: loaded.set(),
        Extension((source,), "/studio", calls),
    )
    with TestClient(app) as opened:
        assert loaded.wait(PATIENCE)
        yield opened


def test_every_call_needs_the_key(client: TestClient) -> None:
    """The page itself has nothing to protect, and asks for it."""
    assert client.get("/studio").headers["content-type"].startswith("text/html")
    assert client.post("/studio/echo").status_code == 401
    assert client.get("/studio/rows.csv").status_code == 401


def test_a_call_gets_body_and_query_and_returns_json_or_a_file(client: TestClient) -> None:
    """Neither is stored by a browser's cache."""
    reply = client.post("/studio/echo?label=a%20b", content=b"12345", headers=KEY)
    assert reply.json() == {"size": 5, "query": {"label": "a b"}}
    saved = client.get("/studio/rows.csv", headers=KEY)
    assert (saved.content, saved.headers["content-disposition"]) == (
        b"a,b\n",
        'attachment; filename="rows.csv"',
    )
    assert {each.headers["cache-control"] for each in (reply, saved)} == {"no-store"}


def test_errors_are_those_of_the_service(client: TestClient) -> None:
    """A problem document with the message; limits on the body; other methods."""
    refused = client.post("/studio/echo?fail=1", headers=KEY)
    assert (refused.status_code, refused.json()["detail"]) == (422, "expected another word")
    assert client.post("/studio/echo", content=bytes(1001), headers=KEY).status_code == 413
    assert client.get("/studio/echo", headers=KEY).status_code == 405


def test_an_awaited_model_is_served_when_it_is_there(
    client: TestClient, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, /health says that there is none, and nothing is logged as an error."""
    health = client.get("/health")
    assert health.status_code == 503
    assert "there is no model yet" in health.json()["detail"]
    assert caplog.messages == []
    copied = workspace.home / "copied"
    shutil.copytree(workspace.version("shape", 3), copied)
    copied.rename(workspace.home / "awaited")
    until(lambda: client.get("/health").status_code == 200)
    states = client.get("/status.json").json()["models"]
    assert [(each["task"], each["state"]) for each in states] == [("shape", "ready")]


def test_the_page_of_another_server_is_not_there(workspace: Workspace) -> None:
    """`mien serve` has no studio."""
    source = BundleSource(tasks.load("shape"), Path("nowhere"), awaited=True)
    with TestClient(serve_app.create(workspace, (source,), SETTINGS)) as other:
        assert other.get("/studio").status_code == 404
