"""The review page on this machine only: static files, and a few JSON addresses behind a key.

It listens on a loopback address, and refuses requests that name another host, as pages of other
sites may send them. The key is new at each start. The address that `mien review` prints has it
behind `#`, which browsers do not send.
"""

import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError

from mien.errors import MienError, RequestError
from mien.observability import local_server
from mien.observability.local_server import HOST, LocalServer

from .session import LabelRequest, ReviewSession

MAX_BODY_BYTES = 4_096
_STATIC = Path(__file__).parent / "static"
_SHARED = Path(__file__).parents[1] / "serve" / "static"
"""The style and the drawings of the service's own pages."""
_FILES = {
    "/": (_STATIC / "review.html", "text/html"),
    "/static/review.js": (_STATIC / "review.js", "text/javascript"),
    "/static/review.css": (_STATIC / "review.css", "text/css"),
    "/static/page.css": (_SHARED / "page.css", "text/css"),
    "/static/dom.js": (_SHARED / "dom.js", "text/javascript"),
    "/static/drawing.js": (_SHARED / "drawing.js", "text/javascript"),
    "/static/icon.svg": (_SHARED / "icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Query = dict[str, str]


@contextmanager
def listening(session: ReviewSession, port: int) -> Iterator[tuple[LocalServer, str]]:
    """Bind the port; yields the server, which is to be run, and its address with the key.

    Raises:
        ConfigError: the port cannot be used.
    """
    key = secrets.token_urlsafe(24)
    handler = partial(_Handler, session, key)
    with local_server.bound(handler, port, "--port") as server:
        yield server, f"http://{HOST}:{server.server_port}/#{key}"


class _Handler(BaseHTTPRequestHandler):
    """One connection. `server_version` and errors tell no versions."""

    server_version, sys_version = "mien", ""
    timeout = 30.0
    protocol_version = "HTTP/1.1"

    def __init__(self, session: ReviewSession, key: str, *args: object) -> None:
        self._session, self._key = session, key
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send a file or a document."""
        path = urlsplit(self.path).path
        if path in _FILES and self._is_local():
            file, media_type = _FILES[path]
            self._send(HTTPStatus.OK, file.read_bytes(), f"{media_type}; charset=utf-8")
        else:
            self._answer(self._get)

    def do_POST(self) -> None:
        """Store a label."""
        self._answer(self._post)

    def log_message(self, *arguments: object) -> None:
        """Nothing: requests name samples."""

    def _get(self) -> BaseModel:
        parts = urlsplit(self.path)
        query = {name: each[-1] for name, each in parse_qs(parts.query).items()}
        session = self._session
        if parts.path == "/queue.json":
            tasks = session.tasks
            if not tasks:
                raise RequestError(
                    "There are no samples yet. Start `mien serve` with MIEN_REVIEW and "
                    "MIEN_REVIEW_KEY, and send it requests."
                )
            return session.queue(query.get("task", tasks[0]))
        if parts.path == "/sample.json":
            return session.view(query.get("task", ""), query.get("trace_id", ""))
        if parts.path == "/agreement.json":
            return session.agreement(query.get("task", ""))
        raise _NotFoundError(f"{parts.path}: expected an address of the review, found another.")

    def _post(self) -> BaseModel:
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isascii() and length.isdecimal() else -1
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        if not is_json or not 0 <= size <= MAX_BODY_BYTES:
            self.close_connection = True
            raise RequestError(f"expected JSON of at most {MAX_BODY_BYTES} bytes, found another.")
        body = self.rfile.read(size)
        if urlsplit(self.path).path != "/label.json":
            raise _NotFoundError("expected POST to label.json, found another address.")
        return self._session.say(LabelRequest.model_validate_json(body))

    def _answer(self, make: Callable[[], BaseModel]) -> None:
        if not (self._is_local() and self._has_key()):
            self.close_connection = True
            return self._refuse(
                HTTPStatus.UNAUTHORIZED,
                "expected the key of this review. Open the address that `mien review` printed.",
            )
        try:
            document = make()
        except _NotFoundError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except ValidationError:
            self._refuse(HTTPStatus.BAD_REQUEST, "expected task, trace_id, verdict and label.")
        except (MienError, ValueError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"not stored: {error.strerror}")
        else:
            self._send(HTTPStatus.OK, document.model_dump_json().encode())

    def _is_local(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0]
        origin = self.headers.get("Origin")
        return host in (HOST, "localhost") and origin in (None, f"http://{self.headers['Host']}")

    def _has_key(self) -> bool:
        sent = self.headers.get("Authorization", "")
        return hmac.compare_digest(sent.encode(), f"Bearer {self._key}".encode())

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self._send(status, json.dumps({"detail": detail}).encode())

    def _send(
        self, status: HTTPStatus, content: bytes, media_type: str = "application/json"
    ) -> None:
        self.send_response(status)
        for name, text in _HEADERS.items():
            self.send_header(name, text)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _NotFoundError(RequestError):
    """An address that is not there."""
