"""`mien drill` marks its time in Grafana, and does without one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from project import free_port

from mien.stages.monitor.annotation import annotate, annotated
from mien.stages.monitor.web import HttpClient


class Grafana(BaseHTTPRequestHandler):
    """A stand-in for Grafana: keeps what it receives; knows one password."""

    received: list[tuple[str, Any]] = []  # noqa: RUF012 - the handler is made anew for each request

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        known = self.headers["Authorization"] == "Basic YWRtaW46YWRtaW4="
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Where the stand-in answers."""
    Grafana.received.clear()
    with HTTPServer(("127.0.0.1", 0), Grafana) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_time_of_a_drill_is_marked(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the tags that the dashboards ask for; times are milliseconds."""
    annotate(HttpClient(address, ("admin", "admin")), "drift", 10.0, 12.5)
    with pytest.raises(KeyError), annotated(HttpClient(address, ("admin", "admin")), "errors"):
        raise KeyError("a drill that fails is marked too")
    (path, note), (_, failed) = Grafana.received
    assert failed["text"] == "mien drill errors"
    assert path == "/api/annotations"
    assert (note["time"], note["timeEnd"], note["tags"]) == (10000, 12500, ["mien", "drill"])
    assert "drift" in note["text"]
    assert capsys.readouterr().err == ""


def test_a_drill_needs_no_grafana(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is missing: another password, or nobody there."""
    annotate(HttpClient(address, ("admin", "other")), "drift", 10.0, 12.5)
    annotate(HttpClient(f"http://127.0.0.1:{free_port()}"), "drift", 10.0, 12.5)
    lines = "".join(capsys.readouterr().err.split("\n"))
    assert "it returned status 401" in lines
    assert "it does not respond" in lines
