"""What Cloud Run puts before the instances of a service, and how it starts and stops them.

No instance runs until a request arrives; the request waits until the startup probe passes. A body
above 32 MiB is refused before it reaches an instance. An instance that is scaled down gets no more
requests, then SIGTERM, and SIGKILL after ten seconds. There is one instance at a time here, and no
CPU boost at the start.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from math import ceil
from urllib.parse import urlsplit

from mien.errors import ConfigError, StackError
from mien.reporting import console
from mien.storage.workspace import Workspace

from .instances import Container, Instance, Limits, Process, Stopped

REQUEST_CAP_BYTES = 32 * 2**20
STOP_PATIENCE_S = 10.0
STARTUP_PATIENCE_S = 240.0
"""The longest that a startup probe may be set to."""
PORT = 8080
ENVIRONMENT = {
    "K_SERVICE": "mien",
    "K_REVISION": "mien-emulated",
    "K_CONFIGURATION": "mien",
    "MIEN_GRACE_S": "0",
}
"""Variables of the contract, and no grace period: traffic has moved before SIGTERM arrives."""
_PROBE_INTERVAL_S = 0.02
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Response:
    """What a client gets; status 0 is a connection that broke."""

    status: int
    body: bytes = b""

    @property
    def lost(self) -> bool:
        """Whether the request failed by the platform or the server, not by its client."""
        return self.status == 0 or self.status >= 500


class CloudRun:
    """A service of at most one instance."""

    def __init__(self, start: Callable[[], Instance]) -> None:
        self._start = start
        self._routing = threading.Lock()
        self._instance: Instance | None = None

    @property
    def instance(self) -> Instance:
        """The instance that gets the requests; it is started if there is none.

        Raises:
            StackError: it ended before it was ready, or is not ready in time.
        """
        with self._routing:
            return self._present()

    def request(self, path: str, body: bytes, content_type: str) -> Response:
        """Send a request to the service.

        Raises:
            StackError: as `instance`.
        """
        if len(body) > REQUEST_CAP_BYTES:
            return Response(413)
        with self._routing:  # what is sent to an instance was sent before its SIGTERM
            sent = _send(self._present().address, path, body, content_type)
        return _receive(sent)

    def scale_to_zero(self) -> Stopped | None:
        """Stop the instance; None where there is none."""
        with self._routing:
            instance, self._instance = self._instance, None
        return instance.stop(STOP_PATIENCE_S) if instance else None

    def _present(self) -> Instance:
        if self._instance is None:
            instance = self._start()
            try:
                _await_startup(instance)
            except BaseException:
                instance.stop(0)
                raise
            self._instance = instance
        return self._instance


def service(
    limits: Limits,
    settings: Sequence[str],
    image: str | None,
    options: Sequence[str],
    workspace: Workspace,
) -> CloudRun:
    """A service without an instance.

    Args:
        limits: of an instance.
        settings: more variables, as NAME=VALUE.
        image: what a container is made of; None is a process that serves the workspace.
        options: more options of `docker create`.
        workspace: what a process serves.

    Raises:
        ConfigError: a setting has another form.
    """
    environment = dict(ENVIRONMENT)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--env: expected NAME=VALUE, found {setting!r}. Write it so.")
        environment[name] = value
    if image is not None:
        return CloudRun(lambda: Container(image, limits, environment, PORT, options))
    if limits.cpus % 1:
        console.info(f"A process gets whole cores: {ceil(limits.cpus)} for {limits.cpus:g} CPUs.")
    return CloudRun(lambda: Process(workspace.home, limits, environment, _free_port()))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def get(address: str, path: str) -> Response:
    """Get a path of an instance, past the platform."""
    return _receive(_send(address, path))


def _send(
    address: str, path: str, body: bytes | None = None, content_type: str = ""
) -> HTTPConnection | None:
    """Send a request on a connection of its own; None where that is refused."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT_S)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, body, {"Content-Type": content_type})
    except OSError:
        connection.close()
        return None
    return connection


def _receive(connection: HTTPConnection | None) -> Response:
    if connection is None:
        return Response(0)
    with closing(connection):
        try:
            answer = connection.getresponse()
            return Response(answer.status, answer.read())
        except (OSError, HTTPException):
            return Response(0)


def _await_startup(instance: Instance) -> None:
    deadline = time.monotonic() + STARTUP_PATIENCE_S
    while get(instance.address, "/readyz").status != 200:
        if not instance.running:
            raise StackError(f"The instance ended before it was ready. Its log:\n{instance.log()}")
        if time.monotonic() > deadline:
            raise StackError(
                f"The instance: expected /readyz to return 200 within {STARTUP_PATIENCE_S:g} s, "
                f"found another answer. Its log:\n{instance.log()}"
            )
        time.sleep(_PROBE_INTERVAL_S)
