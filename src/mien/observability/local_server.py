"""HTTP servers for this machine only: of the review, and of alerts that ask for a training.

Most clients read a response only after they have sent the whole request, and closing a connection
with unread bytes destroys the response. So what a client still sends after its response is read and
dropped, within limits of time and bytes.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from socketserver import BaseRequestHandler
from typing import Any

from mien.errors import ConfigError

HOST = "127.0.0.1"
MAX_DROPPED_BYTES = 64_000_000
MAX_DROP_S = 5.0
"""How much, and for how long, a client may send after its response."""


class LocalServer(ThreadingHTTPServer):
    """A thread for each connection; none of them keeps the process from its end."""

    def shutdown_request(self, request: Any) -> None:
        """Drop what the client still sends, and close the connection."""
        with suppress(OSError):  # the client has gone
            request.shutdown(socket.SHUT_WR)
            _drop(request)
        self.close_request(request)


@contextmanager
def bound(
    make_handler: Callable[..., BaseRequestHandler], port: int, option: str
) -> Iterator[LocalServer]:
    """Bind a port of the loopback address; yields the server, which is to be run.

    Args:
        make_handler: called with the connection, its address and the server.
        port: 0 takes any free one.
        option: of the command line, that named the port.

    Raises:
        ConfigError: the port cannot be used.
    """
    try:
        server = LocalServer((HOST, port), make_handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{option} {port} cannot be used: {error}. Name another one; 0 takes any free one."
        ) from None
    with server:
        yield server


def _drop(connection: socket.socket) -> None:
    end, dropped = time.monotonic() + MAX_DROP_S, 0
    while dropped <= MAX_DROPPED_BYTES and (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        if not (chunk := connection.recv(65_536)):
            return
        dropped += len(chunk)
