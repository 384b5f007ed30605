"""Servers for this machine only: a refusal arrives while the client still sends."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler
from threading import Thread
from urllib.parse import urlsplit

import pytest
from waiting import PATIENCE

from mien.errors import ConfigError
from mien.observability import local_server
from mien.observability.review.store import ReviewStore
from mien.stages.retrain import webhook
from mien.stages.review import server as review
from mien.stages.review.session import ReviewSession


@contextmanager
def listening(name: str, folder: Path) -> Iterator[int]:
    """A running server; yields its port."""
    if name == "webhook":
        with webhook.listening("gesture", "k" * 32, 0, print) as address:
            yield urlsplit(address).port or 0
        return
    session = ReviewSession(ReviewStore(folder, "ab" * 32), "ann")
    with review.listening(session, 0) as (server, address):
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield urlsplit(address).port or 0
        server.shutdown()


def refused(connection: socket.socket, size: int) -> None:
    """Announce a body, without the key, and wait until the answer is there."""
    head = f"POST /alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    assert select.select([connection], [], [], PATIENCE)[0]


@pytest.mark.parametrize("name", ["review", "webhook"])
def test_a_refusal_arrives_while_the_client_still_sends(name: str, tmp_path: Path) -> None:
    """The client sends more than any buffer between holds, and reads only then."""
    body = b"x" * 16_000_000
    with listening(name, tmp_path) as port, socket.create_connection(("127.0.0.1", port)) as sent:
        refused(sent, len(body))
        sent.sendall(body)
        with sent.makefile("rb") as response:
            assert response.readline().split()[1] == b"401"
            assert response.read().endswith(b"}")


@pytest.mark.parametrize(
    ("limit", "other"), [("MAX_DROPPED_BYTES", "MAX_DROP_S"), ("MAX_DROP_S", "MAX_DROPPED_BYTES")]
)
def test_a_client_that_sends_without_end_is_cut_off(
    limit: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By bytes, and by time; each limit does it alone."""
    monkeypatch.setattr(local_server, limit, 0)
    monkeypatch.setattr(local_server, other, 10**9)
    with (
        listening("webhook", tmp_path) as port,
        socket.create_connection(("127.0.0.1", port)) as sent,
    ):
        sent.settimeout(PATIENCE)
        refused(sent, 1_000_000_000)
        with pytest.raises(ConnectionError):
            sent.sendall(b"x" * 100_000_000)


def test_a_used_port_is_refused_with_the_option_to_change() -> None:
    with local_server.bound(BaseRequestHandler, 0, "--port") as first:
        used = first.server_port
        with (
            pytest.raises(ConfigError, match=f"--port {used} cannot be used.*0 takes any"),
            local_server.bound(BaseRequestHandler, used, "--port"),
        ):
            pass
