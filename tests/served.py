"""A real server process and a real Prometheus that watches it, on a clock that runs faster."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from project import ROOT, free_port
from waiting import PATIENCE, until

import prometheus
from mien.stages.monitor import web
from prometheus import Prometheus

FASTER = 60
"""A minute of Prometheus' clock passes in a second."""


@dataclass
class Server:
    """`mien serve`, which can be killed and started again at the same address."""

    home: Path
    folder: Path
    tasks: tuple[str, ...]
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """More variables."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "MIEN_HOME": str(self.home),
            "MIEN_PREDICTION_LOG": str(self.folder / "predictions.db"),
            "MIEN_FAULT_INJECTION": "1",
            "MIEN_THREADS": "1",
            "PORT": str(self.port),
            **self.environment,
        }
        command = [sys.executable, "-m", "mien.cli", "serve", *self.tasks]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        until(self._ready, (self.folder / "server.log").read_text)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _ready(self) -> bool:
        try:
            with urlopen(f"{self.address}/readyz", timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False


@dataclass(frozen=True)
class Watched:
    """A server and who watches it."""

    server: Server
    prometheus: Prometheus

    @property
    def api(self) -> web.HttpClient:
        return web.HttpClient(self.server.address)


@contextmanager
def watched(home: Path, folder: Path, *tasks: str, faster: int = FASTER) -> Iterator[Watched]:
    """Serve the champions of tasks (of all) and let Prometheus watch, until the block ends."""
    prometheus.require("prometheus")
    with _quick(folder) as scratch:
        yield from _watched(home, scratch, tasks, faster)


@contextmanager
def _quick(folder: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a second in which the disk is busy with something
    else is a minute of the faster clock."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield folder
        return
    with TemporaryDirectory(dir=memory, prefix="mien-") as scratch:
        yield Path(scratch)


def _watched(home: Path, folder: Path, tasks: tuple[str, ...], faster: int) -> Iterator[Watched]:
    server = Server(home, folder, tasks, free_port())
    try:
        server.start()
        targets = {"mien": f"127.0.0.1:{server.port}"}
        with prometheus.running(targets, folder / "prometheus", faster=faster) as watcher:
            # Prometheus looks for its targets every 5 seconds, whatever the clock.
            watcher.wait_for(lambda it: it.query('up{job="mien"} == 1') and not it.alerts())
            yield Watched(server, watcher)
    finally:
        server.kill()
