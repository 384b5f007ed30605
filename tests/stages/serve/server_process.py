"""`mien serve` in a process, and requests to it over single connections."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forked import Forked
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE, until

from .load import Response, get

ROOT = Path(__file__).resolve().parents[3]


FOLDER = Path(__file__).parent / "folder"
"""The test tasks."""


SCRIPT = """
import sys
from mien import cli, tasks
if sys.argv[1]:
    tasks.__path__ = [sys.argv[1]]
sys.argv = ["mien", "serve", *sys.argv[2:]]
cli.main()
"""


@dataclass
class Server:
    """`mien serve` in a process, its log and its resources."""

    process: "Forked | subprocess.Popen[bytes]"
    log: Path
    port: int = 0
    _connections: list[socket.socket] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def words(self) -> str:
        """Its log without the lines of requests."""
        return "".join(line for line in self.text().splitlines(True) if line[:1] != "{")

    def connect(self, sent: bytes = b"", timeout: float = PATIENCE) -> socket.socket:
        """Open a connection and send some bytes; `close` closes it at the latest."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        self._connections.append(connection)
        connection.sendall(sent)
        return connection

    def request(self, content: bytes, timeout: float = PATIENCE) -> Response:
        """Send one request on a new connection."""
        with self.connect(content, timeout) as connection:
            return receive(connection)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series with this name and these labels; 0 without any."""
        page = self.request(get("/metrics"))
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
        """Wait until no request is in flight."""
        until(
            lambda: self.metric("mien_in_flight_requests", state="current") == 0,
            "a request stays in flight",
        )

    def status(self, key: str) -> int:
        """A number of /proc/PID/status: VmRSS and VmSize in kB, Threads."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        for each in self._connections:
            each.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # in case it was stopped
            self.process.kill()
        self.process.wait()


_HANGS = """

import os as _os, time as _time
from dataclasses import replace as _replace


def _predict(*arguments):
    while _os.path.exists(_os.environ["HANGS"]):
        _time.sleep(0.01)
    return detect_many(*arguments)


TASK = _replace(TASK, inference=_replace(TASK.inference, detect_many=_predict))
"""


@contextmanager
def serve_hanging(home: Path, scratch: Path, **environment: str) -> Iterator[tuple[Server, Path]]:
    """A server whose model of `shape` hangs while a file exists, and the path of that file."""
    shutil.copytree(FOLDER / "shape", scratch / "tasks" / "shape")
    with (scratch / "tasks" / "shape" / "__init__.py").open("a") as code:
        code.write(_HANGS)
    hangs = scratch / "hangs"
    with serve(home, scratch / "tasks", "shape", HANGS=str(hangs), **environment) as server:
        yield server, hangs


def receive(connection: socket.socket) -> Response:
    """Read one response from a blocking socket; raise ConnectionError if it ends too early."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        body += _more(connection)
    return Response(int(first.split()[1]), headers, body)


def _more(connection: socket.socket) -> bytes:
    if not (data := connection.recv(1 << 16)):
        raise ConnectionError("the connection ended within the response")
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
    """Start `mien serve` and yield it when it is ready; it is killed at the end.

    Args:
        home: the workspace.
        folder: tasks to serve instead of mien's own.
        arguments: more arguments of the command.
        log: its log file; default: `server.log` in the workspace, to which a restart appends.
        before: a command that starts it, such as `unshare`: then Python starts too, and where the
            environment names a library to be loaded first; otherwise a fork saves its time.
        environment: variables in addition to those of the test.
    """
    path = log or home / "server.log"
    settings = {"HOST": "127.0.0.1", "PORT": "0", "MIEN_HOME": str(home), "MIEN_THREADS": "1"}
    settings |= {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "1000"}
    of_script = [str(folder or ""), *arguments]
    variables = {**os.environ, **settings, **environment}
    with path.open("ab") as out:
        start = out.tell()
        process: Forked | subprocess.Popen[bytes]
        if before or "LD_PRELOAD" in environment:
            command = [*before, sys.executable, "-c", SCRIPT, *of_script]
            process = subprocess.Popen(command, stdout=out, stderr=out, env=variables)
        else:
            process = Forked(SCRIPT, of_script, variables, path)
    server = Server(process, path)
    try:
        server.port = until(lambda: _port(server, start), server.text)
        yield server
    finally:
        server.close()


def _port(server: Server, start: int) -> int:
    """The port, from the log line of readiness; 0 before."""
    text = server.log.read_bytes()[start:].decode(errors="replace")
    assert server.process.poll() is None, f"it ended with {server.process.returncode}: {text}"
    _, found, rest = text.partition(" on http://127.0.0.1:")
    return int(rest.split()[0].rstrip(":")) if found and rest[:1].isdigit() else 0
