"""What a client gets when something fails."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE

from mien.errors import RequestError
from mien.images import Limits
from mien.stages.serve import uploads
from mien.stages.serve.errors import PROBLEM_TYPES
from mien.storage.workspace import Workspace
from mien.tasks.gesture import TASK

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
SECRET = "Ann4711"
"""Stands in whatever the tests below send; no answer may hold it."""

RED, GREEN = (255, 0, 0), (0, 255, 0)


def form(content: bytes, field: str = "file") -> dict[str, Any]:
    return {"files": {field: (f"{SECRET}.png", content)}}


def faults(picture: Draw) -> dict[str, tuple[str, str, dict[str, Any], int, str]]:
    """Every failure that one request can bring about: method, address, content, error."""
    good, cut = picture(), picture(size=(300, 300))[:400]
    typed = {"content-type": "application/json"}
    broken_form = {"content-type": "multipart/form-data; boundary=x"}
    return {
        "cut off": ("POST", "/predict", form(cut), 400, "undecodable-image"),
        "unknown task": ("POST", f"/predict/{SECRET}", form(good), 404, "unknown-task"),
        "unknown query": ("POST", f"/predict?task={SECRET}", form(good), 404, "unknown-task"),
        "unknown sample": ("GET", f"/sample/{SECRET}", {}, 404, "unknown-task"),
        "unknown path": ("GET", f"/{SECRET}", {}, 404, "not-found"),
        "slashes at the end": ("GET", "/health//", {}, 404, "not-found"),
        "unknown file": ("GET", f"/static/{SECRET}.js", {}, 404, "not-found"),
        "climbing": ("GET", "/static/%2e%2e/routes.py", {}, 404, "not-found"),
        "wrong method": ("DELETE", "/predict", {}, 405, "method-not-allowed"),
        "too many bytes": ("POST", "/predict", form(b"\xff" * 100_001), 413, "too-large"),
        "too many pixels": ("POST", "/predict", form(picture(size=(400, 400))), 413, "too-large"),
        "text as picture": (
            "POST",
            "/predict",
            form(SECRET.encode()),
            415,
            "unsupported-image-type",
        ),
        "gif as picture": (
            "POST",
            "/predict",
            form(b"GIF89a" + good),
            415,
            "unsupported-image-type",
        ),
        "no content type": ("POST", "/predict", {"content": good}, 415, "unsupported-media-type"),
        "bare picture": (
            "POST",
            "/predict",
            {"content": SECRET.encode(), "headers": {"content-type": f"image/{SECRET}"}},
            415,
            "unsupported-image-type",
        ),
        "json without body": (
            "POST",
            "/predict/colour",
            {"json": {}},
            415,
            "unsupported-media-type",
        ),
        "other field": ("POST", "/predict", form(good, SECRET), 422, "malformed-request"),
        "text field": (
            "POST",
            "/predict",
            {"data": {"file": SECRET}, "files": {"other": good}},
            415,
            "unsupported-image-type",
        ),
        "empty file": ("POST", "/predict", form(b""), 422, "malformed-request"),
        "two files": (
            "POST",
            "/predict",
            {"files": [("file", good), ("file", good)]},
            422,
            "malformed-request",
        ),
        "no form": (
            "POST",
            "/predict",
            {"content": SECRET.encode(), "headers": broken_form},
            422,
            "malformed-request",
        ),
        "no boundary": (
            "POST",
            "/predict",
            {"content": b"", "headers": {"content-type": "multipart/form-data"}},
            422,
            "malformed-request",
        ),
        "no json": (
            "POST",
            "/predict/shape",
            {"content": SECRET.encode(), "headers": typed},
            422,
            "malformed-request",
        ),
        "unknown key": (
            "POST",
            "/predict/shape",
            {"json": {"point": {"values": [1, 2, 3]}, SECRET: 1}},
            422,
            "malformed-request",
        ),
        "wrong value": (
            "POST",
            "/predict/shape",
            {"json": {"point": {"values": [1, SECRET, 3]}}},
            422,
            "malformed-request",
        ),
        "infinite value": (
            "POST",
            "/predict/shape",
            {"content": b'{"point": {"values": [1, NaN, 3]}}', "headers": typed},
            422,
            "malformed-request",
        ),
        "unknown answer": (
            "POST",
            "/feedback",
            {"json": {"trace_id": "0" * 32, "label": SECRET}},
            404,
            "other-instance",
        ),
        "refused by the task": ("POST", "/predict", form(picture(GREEN)), 422, "malformed-request"),
        "crash": ("POST", "/predict", form(picture(RED)), 500, "internal"),
    }


NAMES = sorted(faults(lambda *_, **__: b""))


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_a_problem_document(serving: Serving, picture: Draw, name: str) -> None:
    """RFC 9457 with five members, the right status and type, and nothing of what was sent."""
    method, address, content, status, slug = faults(picture)[name]
    with serving(max_upload_mb=0.1, max_megapixels=0.1) as client:
        response = client.request(method, address, **content)
    reply = response.json()
    assert (response.status_code, reply["status"], reply["type"]) == (
        status,
        status,
        f"/errors/{slug}",
    )
    assert list(reply) == ["type", "title", "status", "detail", "trace_id"]
    assert response.headers["content-type"] == "application/problem+json"
    assert reply["trace_id"] == response.headers["x-trace-id"]
    assert reply["detail"].endswith((".", "."))
    assert SECRET.lower() not in response.text.lower()


def test_the_client_learns_which_type_it_sent(serving: Serving) -> None:
    """An iPhone's HEIC is the type that people send without knowing it."""
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    with serving() as client:
        detail = client.post("/predict", files={"file": heic}).json()["detail"]
    assert "found HEIC" in detail
    assert "Most Compatible" in detail


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "landmarks: expected a value, found nothing"),
        ({"landmarks": [[1, 2, 3]]}, "landmarks: expected at least 21 items, found 1"),
        (
            {"landmarks": [[SECRET, 2, 3]] * 21},
            "landmarks[0][0]: expected a number, found a text",
        ),
    ],
)
def test_a_body_of_another_form_is_explained(body: dict[str, object], message: str) -> None:
    """The values themselves are not repeated."""
    upload = uploads.Upload(json.dumps(body).encode())
    with pytest.raises(RequestError) as error:
        uploads.decode(upload, TASK, Limits())
    assert str(error.value) == f"The JSON body cannot be used: {message}."


def test_every_kind_of_problem_is_brought_about_by_a_test(picture: Draw) -> None:
    """The cases above, those that need more than one request, and those of other files."""
    tested = {slug for *_, slug in faults(picture).values()}
    here = {"overloaded", "not-ready", "request-timeout", "prediction-log"}
    elsewhere = {
        "bad-http": "test_protocol.py",
        "headers-too-large": "test_protocol.py",
        "unauthorized": "test_auth.py",
        "rate-limit": "test_auth.py",
        "deadline": "test_workers.py",
        "out-of-memory": "test_inference.py",
        "unknown-prediction": "test_feedback.py",
    }
    for slug, file in elsewhere.items():
        assert f"/errors/{slug}" in (Path(__file__).parent / file).read_text(encoding="utf-8")
    assert tested | here | set(elsewhere) == {kind.slug for kind in PROBLEM_TYPES.values()}


def test_every_type_of_problem_can_be_looked_up(client: TestClient) -> None:
    """The type is an address of the server, which says what it means."""
    for kind in PROBLEM_TYPES.values():
        reply = client.get(kind.type).json()
        assert (reply["type"], reply["title"], reply["status"]) == (
            kind.type,
            kind.title,
            kind.status,
        )
    assert client.get("/errors/nothing").status_code == 404


def test_a_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    """The header Allow, as HTTP asks for it."""
    assert client.put("/health").headers["allow"] == "GET, HEAD"
    assert client.get("/predict/shape").headers["allow"] == "POST"


def test_a_crash_is_logged_and_not_told(
    client: TestClient, picture: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback under the trace_id, the answer has neither words nor types."""
    caplog.set_level(logging.ERROR)
    response = client.post("/predict", **form(picture(RED)))
    assert "ZeroDivisionError: a secret of the server" in caplog.text
    assert response.json()["trace_id"] in caplog.text
    for word in ("secret", "ZeroDivision", "Traceback", ".py"):
        assert word not in response.text


def test_a_wrong_key_is_named_by_the_schema_s_words(client: TestClient) -> None:
    """Known keys and positions are named, so that the fault can be found."""
    response = client.post("/predict/shape", json={"point": {"values": [1, "x", 3]}})
    assert "point[1]" in response.json()["detail"]


def test_a_full_server_says_when_to_come_back(
    serving: Serving, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one place and a request in it, the next one is 503 with Retry-After, and the place
    is free again afterwards."""
    with serving(max_in_flight=1) as client:
        entered, leave = threading.Event(), threading.Event()
        answered: list[int] = []
        original = uploads.decode

        def slow(*arguments: Any) -> Any:
            entered.set()
            assert leave.wait(PATIENCE)
            return original(*arguments)

        monkeypatch.setattr(uploads, "decode", slow)

        def ask() -> None:
            answered.append(client.post("/predict", **form(picture())).status_code)

        first = threading.Thread(target=ask)
        first.start()
        assert entered.wait(PATIENCE)
        refused = client.post("/predict", **form(picture()))
        leave.set()
        first.join()
        after = client.post("/predict", **form(picture()))
    assert (refused.status_code, refused.json()["type"]) == (503, "/errors/overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert answered == [200]
    assert after.status_code == 200


def test_places_are_given_back_after_failures(serving: Serving, picture: Draw) -> None:
    """No failure of any kind keeps a place of the queue."""
    with serving(max_in_flight=1, max_upload_mb=0.1, max_megapixels=0.1) as client:
        for method, address, content, status, _ in faults(picture).values():
            assert client.request(method, address, **content).status_code == status
        assert client.post("/predict", **form(picture())).status_code == 200


class Exchange:
    """One HTTP exchange with an app, piece by piece, as a slow or lying client would have it."""

    def __init__(self, *pieces: bytes, declared: int | None = None, hang: bool = False) -> None:
        self.pieces = list(pieces)
        self.hang = hang
        self.read = 0
        self.status = 0
        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        if declared is not None:
            headers.append((b"content-length", str(declared).encode()))
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/predict/shape",
            "raw_path": b"/predict/shape",
            "query_string": b"",
            "headers": headers,
        }

    async def receive(self) -> dict[str, Any]:
        self.read += 1
        if self.hang:
            await asyncio.Event().wait()
        if not self.pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.pieces.pop(0), "more_body": True}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)

    def run(self, client: TestClient) -> "Exchange":
        asyncio.run(asyncio.wait_for(client.app(self.scope, self.receive, self.send), PATIENCE))  # type: ignore[arg-type]
        return self


def test_a_declared_length_beyond_the_limit_is_refused_unread(client: TestClient) -> None:
    """Not one piece of a body of 64 MB and one byte is asked for."""
    exchange = Exchange(b"", declared=64_000_001).run(client)
    assert (exchange.status, exchange.read) == (413, 0)


def test_a_body_of_undeclared_length_is_read_up_to_the_limit(serving: Serving) -> None:
    """Of a hundred pieces of 10 kB, the eleventh goes beyond 100 kB and no twelfth is read."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    pieces = [head + b"a" * (10_000 - len(head)), *[b"a" * 10_000] * 99]
    with serving(max_upload_mb=0.1) as client:
        exchange = Exchange(*pieces).run(client)
    assert (exchange.status, exchange.read) == (413, 11)


def test_a_body_that_does_not_come_is_not_waited_for(serving: Serving) -> None:
    """408 after the time for reading, here next to none."""
    with serving(body_timeout_s=0.01) as client:
        assert Exchange(hang=True).run(client).status == 408


def test_a_client_that_leaves_is_no_failure_of_the_server(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is answered, nothing is logged as an error, and it is counted as 499."""
    assert Exchange(b"--x").run(client).status == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert 'route="/predict/shape",status="499"' in client.get("/metrics").text


def test_a_model_that_is_not_ready_is_503(
    serving: Serving, workspace: Workspace, picture: Draw
) -> None:
    """The answer says to look at /health; it names no folder."""
    (workspace.version("shape", 3) / "model.onnx").write_bytes(b"")
    with serving() as client:
        response = client.post("/predict/shape", **form(picture()))
    assert (response.status_code, response.json()["type"]) == (503, "/errors/not-ready")
    assert "/health" in response.json()["detail"]
    assert "retry-after" in response.headers
    assert str(workspace.home) not in response.text
