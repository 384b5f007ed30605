"""The real server process that the corpus and Schemathesis ask: started, warmed up, measured."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked import Forked
from project import free_port
from waiting import until

from . import corpus_files, corpus_json
from .corpus import (
    LIMITS,
    Case,
    Exchange,
    InferenceResult,
    exchange,
    expects,
    picture,
    request,
    sent_json,
    without_trace,
)
from .server_process import SCRIPT

SLOW = 5.0
"""Seconds in which the head and the body of a request must arrive."""


@dataclass(frozen=True)
class Level:
    """What a process holds."""

    memory: float
    """Resident bytes."""
    threads: int
    files: int


@dataclass
class Server:
    """The server that is sent everything."""

    process: Forked
    port: int
    log: Path
    known: dict[bytes, Any] = field(default_factory=dict)
    """Answers to good requests, by their bytes."""
    start: Level = Level(0, 0, 0)

    def send(self, case: Case) -> Exchange:
        """Send one case over a connection of its own."""
        return exchange(("127.0.0.1", self.port), case)

    def get(self, path: str) -> InferenceResult:
        """The answer of an address; it must be 200."""
        response = self.send(Case(path, lambda: request(f"GET {path}"), expects(200)))
        assert [each.status for each in response.answers] == [200], (path, response.received[:500])
        return response.answers[0]

    def answer(self, sent: bytes) -> Any:
        """The answer to a good request without its trace_id; asked once."""
        if sent not in self.known:
            self.known[sent] = self.ask(sent)
        return self.known[sent]

    def ask(self, sent: bytes) -> Any:
        """The answer to a good request without its trace_id."""
        response = self.send(Case("good", lambda: sent, expects(200)))
        assert [each.status for each in response.answers] == [200], response.received[:500]
        return without_trace(response.answers[0])

    def level(self) -> Level:
        """What the process holds now."""
        folder = Path("/proc", str(self.process.pid))
        lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        resident = int(lines["VmRSS"].split()[0]) * 1024
        return Level(resident, int(lines["Threads"]), len(list((folder / "fd").iterdir())))

    def ready(self) -> bool:
        """Whether it answers."""
        if self.process.poll() is not None:
            return True  # it never will; the warm-up then says why
        try:
            response = self.send(Case("ready", lambda: request("GET /readyz"), expects(200)))
        except ConnectionRefusedError:
            return False
        return [each.status for each in response.answers] == [200]


@contextmanager
def running(home: Path, folder: Path) -> Iterator[Server]:
    """`mien serve` with the champions of a workspace and small limits, warmed up."""
    port, log = free_port(), folder / "server.log"
    environment = {
        **os.environ,
        **LIMITS,
        "MIEN_HOME": str(home),
        "MIEN_PREDICTION_LOG": str(folder / "predictions.db"),
        "MIEN_THREADS": "1",
        "MIEN_HEADER_TIMEOUT_S": str(SLOW),
        "MIEN_BODY_TIMEOUT_S": str(SLOW),
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    process = Forked(SCRIPT, ["", "emotion", "gesture"], environment, log)
    try:
        server = Server(process, port, log)
        until(server.ready, log.read_text)
        _warm_up(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _warm_up(server: Server) -> None:
    """Have every kind of good request answered, several at once, the largest picture too."""
    pictures = [corpus_files.plain(), corpus_files.flat(2000, 2000)]
    paths = ("/metrics", "/", "/docs", "/openapi.json", "/sample/gesture")
    requests = [
        *(
            picture(each, f"/predict/{task}")
            for each in pictures
            for task in ("gesture", "emotion")
        ),
        sent_json(corpus_json.landmarks()),
        *(request(f"GET {path}") for path in paths),
    ]
    with ThreadPoolExecutor(8) as pool:
        asked = (Case("warm-up", lambda sent=sent: sent, expects(200)) for sent in requests * 6)
        for response in pool.map(server.send, asked):
            assert [each.status for each in response.answers] == [200], response.received[:500]
    server.start = server.level()
