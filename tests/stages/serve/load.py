"""Clients over raw sockets that keep a record of every request, and a real server to ask.

Knows HTTP/1.1 and the addresses of the service; knows neither its code nor what a fault test
does to it.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(__file__).parent / "folder"
"""The made-up tasks."""
POINT = b'{"point": {"values": [1, 2, 3]}}'
"""What the made-up task `shape` takes as JSON."""
BOUNDARY = "mien-load"


# What is sent.


def get(path: str, **headers: str) -> bytes:
    """The bytes of a GET request."""
    return _head("GET", path, headers) + b"\r\n"


def post(path: str, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    """The bytes of a POST request; an underscore in a header's name stands for a hyphen."""
    of_body = {"Content-Type": kind, "Content-Length": str(len(body))}
    return _head("POST", path, of_body | headers) + b"\r\n" + body


def form(path: str, picture: bytes, **headers: str) -> bytes:
    """The bytes of a POST request with a picture in the field `file`."""
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = start.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    return post(path, body, f"multipart/form-data; boundary={BOUNDARY}", **headers)


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: server"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode()


# What comes back.


@dataclass(frozen=True)
class Answer:
    """One answer as it was read from a connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


@dataclass(frozen=True)
class Record:
    """One request: when it was sent (`time.monotonic`), and how it was answered or failed."""

    sent: float
    seconds: float
    question: int
    """Its place in the questions that the load was given."""
    status: int = 0
    """0 where no answer came."""
    version: str = ""
    trace_id: str = ""
    retry_after: str = ""
    fault: str = ""
    """How it failed, where no whole answer came."""

    @property
    def fine(self) -> bool:
        return self.status == 200


async def read(reader: asyncio.StreamReader) -> Answer:
    """Read one answer; raise where the connection ends before its last byte."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split()[1]), headers, body)


# Clients.


class Load:
    """Clients in a thread of their own, each asking one question after the other, on connections
    that are kept alive; from `with` until its end.

    Args:
        questions: requests as bytes; the clients take them in turn.
        pause: seconds that a client waits after a refusal (503), as Retry-After asks; 0: none.
        balanced: do as a load balancer does: send nothing more once /readyz is not 200.
        patience: seconds after which a request counts as failed.
    """

    def __init__(
        self,
        port: int,
        questions: Sequence[bytes],
        clients: int,
        *,
        pause: float = 0.0,
        balanced: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.records: list[Record] = []
        self.waiting = 0
        """Requests that are sent and not answered."""
        self._port, self._questions, self._clients = port, questions, clients
        self._pause, self._balanced, self._patience = pause, balanced, patience
        self._stopping, self._next = False, 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> list[Record]:
        """Let each client finish its request, and return the records."""
        self._stopping = True
        self._thread.join()
        return self.records

    @property
    def fine(self) -> list[Record]:
        return [each for each in self.records if each.fine]

    @property
    def failed(self) -> list[Record]:
        return [each for each in self.records if not each.fine]

    def reach(self, count: int) -> None:
        """Wait until so many more requests were answered with 200."""
        goal = len(self.fine) + count
        until(
            lambda: len(self.fine) >= goal,
            lambda: f"{len(self.fine)} of {goal} answers; failed: {self.failed[-3:]}",
        )

    async def _all(self) -> None:
        clients = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        watch = asyncio.create_task(self._watch()) if self._balanced else None
        await asyncio.gather(*clients)
        if watch:
            watch.cancel()

    async def _watch(self) -> None:
        """Look at /readyz on a connection of its own each time, as a balancer does."""
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(get("/readyz"))
                self._stopping = (await read(reader)).status != 200
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                self._stopping = True
            await asyncio.sleep(0.02)

    async def _client(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping:
            number = self._next % len(self._questions)
            self._next += 1
            if streams and streams[0].at_eof():  # closed while nothing was under way
                streams[1].close()
                streams = None
            record, streams = await self._ask(number, streams)
            self.records.append(record)
            if record.status == 503 and self._pause:
                await asyncio.sleep(self._pause)
        if streams:
            streams[1].close()

    async def _ask(self, number: int, streams: Any) -> tuple[Record, Any]:
        sent, started = time.monotonic(), streams
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                streams = streams or await asyncio.open_connection("127.0.0.1", self._port)
                started = streams
                streams[1].write(self._questions[number])
                await streams[1].drain()
                answer = await read(streams[0])
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            if started:
                started[1].close()
            fault = type(error).__name__
            return Record(sent, time.monotonic() - sent, number, fault=fault), None
        finally:
            self.waiting -= 1
        if answer.closes:
            streams[1].close()
        return _record(sent, number, answer), None if answer.closes else streams


def _record(sent: float, number: int, answer: Answer) -> Record:
    seconds, document = time.monotonic() - sent, {}
    with suppress(ValueError):
        document = answer.json()
    known = document if isinstance(document, dict) else {}
    return Record(
        *(sent, seconds, number, answer.status),
        version=known.get("model", {}).get("version", ""),
        trace_id=known.get("trace_id", ""),
        retry_after=answer.headers.get("retry-after", ""),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# The server.

_SCRIPT = """
import sys
from mien import cli, tasks
if sys.argv[1]:
    tasks.__path__ = [sys.argv[1]]
sys.argv = ["mien", "serve", *sys.argv[2:]]
cli.main()
"""


@dataclass
class Server:
    """`mien serve` in a process of its own, and what the system knows of it."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int = 0
    _kept: list[socket.socket] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def words(self) -> str:
        """What it has logged beside the lines of requests."""
        return "".join(line for line in self.text().splitlines(True) if line[:1] != "{")

    def connect(self, sent: bytes = b"", timeout: float = PATIENCE) -> socket.socket:
        """Open a connection and send some bytes; it is closed with the server at the latest."""
        found = socket.create_connection(("127.0.0.1", self.port), timeout)
        self._kept.append(found)
        found.sendall(sent)
        return found

    def ask(self, request: bytes, timeout: float = PATIENCE) -> Answer:
        """Send one request on a connection of its own."""
        with self.connect(request, timeout) as connection:
            return receive(connection)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name with those labels, and 0 where there is none."""
        page = self.ask(get("/metrics"))
        assert page.status == 200, page.body
        samples = (
            sample
            for family in text_string_to_metric_families(page.body.decode())
            for sample in family.samples
        )
        return sum(
            sample.value
            for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def settle(self) -> None:
        """Wait until no place of the queue is taken."""
        until(
            lambda: self.metric("mien_in_flight_requests", state="current") == 0,
            "a place of the queue stays taken",
        )

    def status(self, key: str) -> int:
        """A number of /proc/PID/status: VmRSS and VmSize in kB, Threads."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def tell(self, told: signal.Signals) -> None:
        self.process.send_signal(told)

    def close(self) -> None:
        for each in self._kept:
            each.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # a stopped one can be killed too; be tidy
            self.process.kill()
        self.process.wait()


_HANGS = """

import os as _os, time as _time
from dataclasses import replace as _replace


def _predict(*arguments):
    while _os.path.exists(_os.environ["HANGS"]):
        _time.sleep(0.01)
    return predict_many(*arguments)


TASK = _replace(TASK, inference=_replace(TASK.inference, predict_many=_predict))
"""


@contextmanager
def serve_hanging(home: Path, scratch: Path, **environment: str) -> Iterator[tuple[Server, Path]]:
    """A server whose model of `shape` hangs as long as the file is there, and the file's path."""
    shutil.copytree(FOLDER / "shape", scratch / "tasks" / "shape")
    with (scratch / "tasks" / "shape" / "__init__.py").open("a") as code:
        code.write(_HANGS)
    hangs = scratch / "hangs"
    with serve(home, scratch / "tasks", "shape", HANGS=str(hangs), **environment) as server:
        yield server, hangs


def receive(connection: socket.socket) -> Answer:
    """Read one answer from a blocking socket; raise ConnectionError where it ends too early."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        body += _more(connection)
    return Answer(int(first.split()[1]), headers, body)


def _more(connection: socket.socket) -> bytes:
    if not (data := connection.recv(1 << 16)):
        raise ConnectionError("the connection ended before its answer did")
    return data


@contextmanager
def serve(
    home: Path,
    folder: Path | None,
    *arguments: str,
    log: Path | None = None,
    before: Sequence[str] = (),
    **environment: str,
) -> Iterator[Server]:
    """Start `mien serve` and give it once it is ready; it is killed at the end.

    Args:
        home: the workspace.
        folder: tasks to serve in place of mien's own.
        arguments: more words of the command line.
        log: where it logs to; default: `server.log` in the workspace, where a restart adds to it.
        before: a command that runs it, such as `unshare`.
        environment: what it finds in its environment beside the test's own.
    """
    path = log or home / "server.log"
    settings = {"HOST": "127.0.0.1", "PORT": "0", "MIEN_HOME": str(home), "MIEN_THREADS": "1"}
    settings |= {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "1000"}
    command = [*before, sys.executable, "-c", _SCRIPT, str(folder or ""), *arguments]
    with path.open("ab") as out:
        start = out.tell()
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **settings, **environment}
        )
    server = Server(process, path)
    try:
        server.port = until(lambda: _port(server, start), server.text)
        yield server
    finally:
        server.close()


def _port(server: Server, start: int) -> int:
    """The port, as the line at readiness names it; 0 before."""
    text = server.log.read_bytes()[start:].decode(errors="replace")
    assert server.process.poll() is None, f"it ended with {server.process.returncode}: {text}"
    _, found, rest = text.partition(" on http://127.0.0.1:")
    return int(rest.split()[0].rstrip(":")) if found and rest[:1].isdigit() else 0
