"""Receives alerts of Alertmanager on this machine only, and asks for trainings; trains nothing.

Alertmanager sends the same key with each request. What it sends is read for the names of alerts and
tasks only. It is answered at once: a training takes longer than it waits.
"""

import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Thread

from pydantic import BaseModel, Field, ValidationError

from mien.errors import ConfigError, RetrainError
from mien.observability import local_server

PATH = "/alerts"
MAX_BODY_BYTES = 1_000_000
MIN_KEY_CHARACTERS = 24
POLL_S = 0.1
"""How soon the end of the block is seen."""
Ask = Callable[[str], None]
"""Asks for a training because of an alert; raises RetrainError where none begins."""


class Alert(BaseModel):
    """What is read of an alert."""

    status: str
    labels: dict[str, str] = Field(default_factory=dict)


class AlertGroup(BaseModel):
    """A request of Alertmanager, version 4 of its webhook."""

    alerts: tuple[Alert, ...]


@contextmanager
def listening(task: str, key: str, port: int, ask: Ask) -> Iterator[str]:
    """Receive alerts while the block runs; yields the address.

    Args:
        task: whose alerts count: those with its name in the label `task`.
        key: that requests must have.
        port: on the loopback address; 0 takes any free one.
        ask: called from the thread of a request, once for a request with a firing alert.

    Raises:
        ConfigError: the key is too short, or the port cannot be used.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        raise ConfigError(
            f"MIEN_RETRAIN_KEY: expected {MIN_KEY_CHARACTERS} characters or more, found "
            f"{len(key)}. `openssl rand -hex 32` makes one; Alertmanager sends it as credentials."
        )
    handler = partial(_WebhookHandler, task, key, ask)
    with local_server.bound(handler, port, "--listen") as server:
        Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        try:
            yield f"http://{local_server.HOST}:{server.server_port}{PATH}"
        finally:
            server.shutdown()


class _WebhookHandler(BaseHTTPRequestHandler):
    """One connection. `server_version` and errors tell no versions."""

    server_version, sys_version = "mien", ""
    timeout = 30.0

    def __init__(self, task: str, key: str, ask: Ask, *args: object) -> None:
        self._task, self._key, self._ask = task, key, ask
        super().__init__(*args)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        """Ask for a training if an alert of the task fires."""
        sent = self.headers.get("Authorization", "")
        if not hmac.compare_digest(sent.encode(), f"Bearer {self._key}".encode()):
            text = "expected the header Authorization: Bearer MIEN_RETRAIN_KEY."
            return self._answer(HTTPStatus.UNAUTHORIZED, text)
        if self.path != PATH:
            return self._answer(HTTPStatus.NOT_FOUND, f"expected POST to {PATH}.")
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdecimal() else -1
        if not 0 <= size <= MAX_BODY_BYTES:
            text = f"expected Content-Length of at most {MAX_BODY_BYTES:,} bytes."
            return self._answer(HTTPStatus.BAD_REQUEST, text)
        try:
            group = AlertGroup.model_validate_json(self.rfile.read(size))
        except ValidationError:
            text = "expected the JSON of Alertmanager's webhook, version 4."
            return self._answer(HTTPStatus.BAD_REQUEST, text)
        return self._answer(*self._consider(group))

    def log_message(self, *arguments: object) -> None:
        """Nothing: what counts is in the history of trainings."""

    def _consider(self, group: AlertGroup) -> tuple[HTTPStatus, str]:
        """A training that does not begin is no error, or Alertmanager would send it again."""
        firing = sorted(
            each.labels.get("alertname", "")
            for each in group.alerts
            if each.status == "firing" and each.labels.get("task") == self._task
        )
        if not firing:
            return HTTPStatus.OK, f"no firing alert of {self._task}."
        try:
            self._ask(firing[0])
        except RetrainError as error:
            return HTTPStatus.OK, str(error)
        return HTTPStatus.ACCEPTED, f"a training of {self._task} begins."

    def _answer(self, status: HTTPStatus, detail: str) -> None:
        content = json.dumps({"detail": detail}).encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
