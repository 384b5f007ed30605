"""The process of `mien serve` as a user starts it: seconds to the first answer, and its memory.

MIEN_BENCH_LANDMARKS names a bundle of the gesture task that takes landmarks alone. Without it
the bench trains one on the project's own sample, once, and keeps it in its cache.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import load, servers
from bench.page import ROOT
from bench.rivals.champions import folder
from bench.servers import CACHE, Running, Server
from bench.workloads import Workload
from mien.model import bundle
from mien.storage.workspace import Workspace

OWN_BUNDLE = "MIEN_BENCH_LANDMARKS"
SERVE = [sys.executable, "-m", "mien.cli", "serve"]
WORK_CLIENTS = 8


@dataclass(frozen=True)
class Footprint:
    """What the process of `mien serve` takes."""

    first: list[float]
    """Seconds from the fork to the answers of all tasks, of each start."""
    empty: float
    """Median seconds of `python -c pass` on the same core."""
    both: float
    """MB resident with both models, after the work."""
    landmarks: float
    """MB resident with the gesture task for landmarks alone, after the work."""


def measure(asked: Sequence[Workload], starts: int, work: float, scratch: Path) -> Footprint:
    """Start and stop the server so many times; then let it work, and once more for landmarks."""
    first, empty = [], []
    for number in range(starts):
        with _served(scratch / f"start-{number}", asked) as (_, seconds):
            first.append(seconds)
        empty.append(_empty(scratch))
    with _served(scratch / "both", asked) as (running, _):
        both = _after_work(running, asked, work)
    alone = [workload for workload in asked if workload.is_json]
    with _served(scratch / "alone", alone, "--bundle", str(_landmarks())) as (running, _):
        landmarks = _after_work(running, alone, work)
    return Footprint(first, median(empty), both, landmarks)


@contextmanager
def _served(
    scratch: Path, asked: Sequence[Workload], *options: str
) -> Iterator[tuple[Running, float]]:
    """The server, and the seconds from its start until it has answered for each task."""
    scratch.mkdir()
    port = servers.free_port()
    env = {
        "MIEN_PREDICTION_LOG": str(scratch / "predictions.db"),
        "MIEN_GRACE_S": "0",  # counts at the end alone
        "PYTHONPATH": str(ROOT / "src"),
    }
    first = {workload.task: workload for workload in asked}
    with (scratch / "log").open("w", encoding="utf-8") as log:
        start = time.perf_counter()
        process = servers.pinned([*SERVE, "--port", str(port), *options], os.environ | env, log)
        running = Running(Server("mien serve", lambda _: SERVE, servers.mien_wire), process, port)
        try:
            for workload in first.values():
                until_answered(running, running.wires(workload)[0], scratch / "log")
            yield running, time.perf_counter() - start
        finally:
            running.end()


def until_answered(running: Running, wire: bytes, log: Path) -> None:
    end = time.monotonic() + servers.PATIENCE
    while time.monotonic() < end and running.process.poll() is None:
        with suppress(OSError, EOFError):
            if load.ask(running.port, wire)[0] == 200:
                return
        time.sleep(0.002)
    words = log.read_text(encoding="utf-8").strip().splitlines()[-3:]
    raise SystemExit(f"mien serve does not answer: {' / '.join(words)}")


def _empty(scratch: Path) -> float:
    start = time.perf_counter()
    servers.pinned([sys.executable, "-c", "pass"], os.environ, subprocess.DEVNULL, scratch).wait()
    return time.perf_counter() - start


def _after_work(running: Running, asked: Sequence[Workload], seconds: float) -> float:
    for workload in asked:
        load.send(running.port, running.wires(workload), WORK_CLIENTS, seconds)
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 / 1e6


def _landmarks() -> Path:
    """A gesture bundle without the hand landmarker."""
    named = os.environ.get(OWN_BUNDLE)
    if named:
        return Path(named)
    home = Workspace(CACHE / "landmarks")
    candidate = bundle.read(folder("gesture")).manifest.candidate
    command = [sys.executable, "-m", "mien.cli", "run", "sample_gesture"]
    command += ["--force", "bench"]
    wanted = ["params.accept_images=false", f"params.candidates=[{candidate}]"]
    command += [part for setting in wanted for part in ("--set", setting)]
    done = subprocess.run(
        [*command, "--home", str(home.home)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"No bundle for landmarks could be trained: {done.stderr[-500:]}")
    return home.version("gesture", home.aliases("gesture")["champion"])
