"""A stand-in of a team's MLflow server: the addresses that `mien pull` reads, and their faults."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mien.storage.files import sha256_file
from mien.storage.registry import DIGEST

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
Answer = tuple[int, bytes, dict[str, str]]


class StandIn:
    """What the server has, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.aliases: dict[str, dict[str, int]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        """Of registered models."""
        self.versions: dict[tuple[str, int], dict[str, Any]] = {}
        self.folders: dict[str, Path] = {}
        """The files of each artifact path."""
        self.fault: Callable[[str], Answer | None] = lambda _: None
        """Answers a path in place of the server; None lets the server answer."""
        self.requests: list[tuple[str, str]] = []
        """Path and header `Authorization` of each request."""

    def put(
        self, task: str, number: int, folder: Path, alias: str = "champion", **tags: str
    ) -> None:
        """Register a bundle folder as a version, and let an alias name it."""
        name, path = f"mien-{task}", f"1/run{number}/artifacts/model"
        digest = sha256_file(folder / "bundle.json")
        pairs = [{"key": key, "value": value} for key, value in {DIGEST: digest, **tags}.items()]
        self.versions[name, number] = {
            "name": name,
            "version": str(number),
            "source": f"mlflow-artifacts:/{path}",
            "tags": pairs,
        }
        self.folders[f"{path}/bundle/"] = folder
        self.aliases.setdefault(name, {})[alias] = number

    @property
    def files(self) -> list[str]:
        """The names of the files that were asked for."""
        return [path.rpartition("/bundle/")[2] for path, _ in self.requests if ARTIFACTS in path]

    def answer(self, target: str) -> Answer:
        if (broken := self.fault(target)) is not None:
            return broken
        parts = urlsplit(target)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.startswith(ARTIFACTS):
            return self._file(unquote(parts.path.removeprefix(ARTIFACTS)))
        found: dict[str, Any] | None = None
        if parts.path.endswith("/registered-models/get") and asked["name"] in self.aliases:
            named = self.aliases[asked["name"]].items()
            aliases = [{"alias": alias, "version": str(number)} for alias, number in named]
            own = self.tags.get(asked["name"], {}).items()
            tags = [{"key": key, "value": value} for key, value in own]
            found = {"registered_model": {"name": asked["name"], "aliases": aliases, "tags": tags}}
        if parts.path.endswith("/model-versions/get"):
            version = self.versions.get((asked["name"], int(asked["version"])))
            found = {"model_version": version} if version else None
        return (200, json.dumps(found).encode(), {}) if found else _no_such()

    def _file(self, path: str) -> Answer:
        for prefix, folder in self.folders.items():
            file = folder / path.removeprefix(prefix)
            if path.startswith(prefix) and file.is_file():
                return 200, file.read_bytes(), {}
        return _no_such()


def _no_such() -> Answer:
    return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}', {}


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A server on the loopback interface during the block."""
    server = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, self.headers.get("Authorization", "")))
            status, body, headers = server.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the client has given up
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: tests read `requests`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
