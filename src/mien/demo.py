"""The whole way once, on drawn data: every task trained, registered, served and asked.

Used by `python3 tasks.py demo`. It calls what the command line calls, and asks the server over
HTTP as any client would.
"""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien import config, console, pipeline, tasks
from mien.errors import MienError
from mien.pipeline import Report
from mien.stages import data, evaluate
from mien.workspace import Workspace, pointed

READY_WITHIN = 60.0
"""Seconds that the server may take until it answers."""


@dataclass(frozen=True)
class Shown:
    """What the demo tells of one task."""

    report: Report
    result: Mapping[str, Any]


def demo(workspace: Workspace, configs: Path, stay: bool) -> None:
    """Run the demo; with `stay`, serve until Ctrl-C.

    Raises:
        MienError: a stage failed, or the server did not become ready.
    """
    watch = console.Stopwatch()
    shown = {name: _train(name, workspace, configs) for name in tasks.names()}
    trained = watch.seconds
    with _server(workspace) as address:
        started = watch.seconds
        answers = {name: ask(address, name) for name in shown}
        _print(shown, answers, address, (trained, started - trained, watch.seconds - started))
        if stay:
            console.say("serving until Ctrl-C")
            _wait()


def ask(address: str, name: str) -> dict[str, Any]:
    """Send a task's own drawn picture to a server and return the answer.

    Raises:
        MienError: the server answered with an error.
    """
    import requests

    picture = io.BytesIO()
    tasks.load(name).picture().save(picture, format="PNG")
    files = {"file": ("picture.png", picture.getvalue(), "image/png")}
    response = requests.post(f"{address}/predict/{name}", files=files, timeout=30)
    if response.status_code != 200:
        raise MienError(f"The server answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _train(name: str, workspace: Workspace, configs: Path) -> Shown:
    console.say(f"\n{name}: {tasks.load(name).summary}")
    run = config.load(configs / f"{name}.yaml").model_copy(update={"source": data.SAMPLE})
    report = pipeline.run(run, workspace)
    folder = pointed(workspace.evaluated(name), run.name, "")
    return Shown(report, evaluate.read(folder))


@contextmanager
def _server(workspace: Workspace) -> Iterator[str]:
    """Start `mien serve` as a process of its own; stop it at the end as Ctrl-C would."""
    settings = config.settings()
    command = [sys.executable, "-m", "mien.cli", "serve", "--home", str(workspace.home)]
    log = workspace.home / "reports" / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ)
        try:
            address = f"http://{settings.host}:{settings.port}"
            _until_ready(address, process, log)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def _until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    session = requests.Session()
    retry = Retry(total=None, connect=400, status=400, status_forcelist=[503], backoff_factor=0.05)
    retry.backoff_max = 0.25
    session.mount("http://", HTTPAdapter(max_retries=retry))
    watch = console.Stopwatch()
    while watch.seconds < READY_WITHIN:
        if process.poll() is not None:
            break
        try:
            if session.get(f"{address}/readyz", timeout=2).status_code == 200:
                return
        except requests.RequestException:
            continue
    raise MienError(f"The server did not become ready; its log is {log}:\n{log.read_text()[-2000:]}")


def _print(
    shown: Mapping[str, Shown],
    answers: Mapping[str, Mapping[str, Any]],
    address: str,
    seconds: Sequence[float],
) -> None:
    for name, each in shown.items():
        rows = each.result["candidates"]
        names = [row["candidate"] for row in rows]
        console.result("")
        console.table(
            f"{name}: champion is version {_version(each.report)}",
            ["candidate", "val macro-F1", "test macro-F1", "p95 ms", "MB"],
            [
                [
                    row["candidate"],
                    f"{row['val']['macro_f1']:.3f}",
                    f"{row['test']['macro_f1']:.3f}",
                    f"{row['latency']['p95_ms']:.2f}",
                    f"{row['bundle_mb']:.1f}",
                ]
                for row in rows
            ],
            mark=names.index(each.result["choice"]),
        )
        stages = ", ".join(
            f"{stage} {taken:.1f} s{' (unchanged)' if stage in each.report.skipped else ''}"
            for stage, taken in each.report.seconds.items()
        )
        console.result(stages)
        answer = answers[name]
        console.result(f"asked for a drawn picture: {answer[name]} {answer['confidence']:.3f}")
    trained, starting, asking = seconds
    console.result(
        f"\ntraining {trained:.1f} s, server start {starting:.1f} s, answers {asking:.1f} s"
        f"\nopen {address}/ (try it), {address}/docs (API), {address}/metrics (Prometheus)"
    )


def _version(report: Report) -> str:
    done = report.registered
    return f"{done.number}, {done.alias}" if done else "?"


def _wait() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.say("stopped")
