"""The whole way once, on drawn data: every task trained, registered, served and asked.

Used by `python3 tasks.py demo`. It calls what the command line calls, and asks the server over
HTTP as any client would.
"""

import io
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mien import config, pipeline, tasks
from mien.config import RunConfig
from mien.errors import MienError
from mien.model import runtime
from mien.model.evaluation import Evaluation
from mien.pipeline import Report
from mien.reporting import console
from mien.stages import data, serve
from mien.storage.workspace import Workspace, read_latest


@dataclass(frozen=True)
class Shown:
    """What the demo tells of one task."""

    report: Report
    evaluation: Evaluation


def demo(workspace: Workspace, configs: Path, stay: bool) -> None:
    """Run the demo; with `stay`, serve until Ctrl-C.

    Raises:
        MienError: the address cannot be used, a stage failed, or a model could not be loaded.
    """
    serve.check_address(config.settings())  # now, and not after the training
    watch = console.Stopwatch()
    shown = _train_all(workspace, configs)
    trained = watch.seconds
    with serve.running(workspace, tuple(shown), (), config.settings()) as address:
        started = watch.seconds
        answers = {name: ask(address, name) for name in shown}
        _print(shown, answers, address, (trained, started - trained, watch.seconds - started))
        if stay:
            console.info("serving until Ctrl-C")
            _wait()


def ask(address: str, name: str) -> dict[str, Any]:
    """Send a task's own drawn picture to a server and return the answer.

    Raises:
        MienError: the server answered with an error.
    """
    import requests

    picture = io.BytesIO()
    tasks.load(name).inference.sample_picture().save(picture, format="PNG")
    files = {"file": ("picture.png", picture.getvalue(), "image/png")}
    with requests.Session() as session:
        session.trust_env = False  # the server is on this machine; no proxy stands between
        response = session.post(f"{address}/predict/{name}", files=files, timeout=30)
    if response.status_code != 200:
        raise MienError(f"The server answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _train_all(workspace: Workspace, configs: Path) -> dict[str, Shown]:
    """Train every task in a process of its own: small models keep one core busy, not two."""
    names = tasks.names()
    context = get_context("spawn")  # a forked copy of a process with threads is no safe place
    workers = min(len(names), runtime.available_cpus())
    console.info("\n".join(f"{name}: {tasks.load(name).summary}" for name in names))
    with ProcessPoolExecutor(workers, context, initializer=console.quiet) as pool:
        jobs = {name: pool.submit(_train, name, workspace, configs) for name in names}
        return {name: job.result() for name, job in jobs.items()}


def _train(name: str, workspace: Workspace, configs: Path) -> Shown:
    path = configs / f"sample_{name}.yaml"
    run = (
        config.load(path)
        if path.is_file()
        else RunConfig(name=path.stem, task=name, source=data.SAMPLE)
    )
    # Whoever tries the project with changes of their own in it wants to see an answer, too.
    try:
        report = pipeline.run(run, workspace, force="demo")
    except MienError as error:
        error.add_note(f"The demo runs {path.name}: `mien run {path} --set KEY=VALUE` changes it.")
        raise
    folder = read_latest(workspace.evaluated(name), run.name, "")
    return Shown(report, Evaluation.read(folder))


def _print(
    shown: Mapping[str, Shown],
    answers: Mapping[str, Mapping[str, Any]],
    address: str,
    seconds: Sequence[float],
) -> None:
    for name, each in shown.items():
        rows = each.evaluation.candidates
        console.result("")
        console.table(
            f"{name}: version {_version(each.report)}",
            ["candidate", "val macro-F1", "test macro-F1", "CPU cost", "MB"],
            [
                [
                    row.candidate,
                    f"{row.val.macro_f1:.3f}",
                    f"{row.test.macro_f1:.3f}",
                    f"{row.cpu_cost.median:.2f}",
                    f"{row.bundle_mb:.1f}",
                ]
                for row in rows
            ],
            mark=[row.candidate for row in rows].index(str(each.evaluation.choice)),
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
    return f"{done.number} is {done.alias or 'set aside'}" if done else "?"


def _wait() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.info("stopped")
