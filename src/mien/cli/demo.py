"""`mien demo`: trains, registers and serves every task on drawn data, and requests predictions.

It calls the same functions as the other commands, and the server over HTTP as any client would.
"""

import io
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from mien import config, pipeline, tasks
from mien.config import RunConfig
from mien.errors import MienError
from mien.model import cpus
from mien.model.evaluation import Evaluation
from mien.pipeline import RunReport
from mien.reporting import console, relay
from mien.stages import data
from mien.storage.workspace import CHAMPION, Workspace, read_latest

from .predictions import format_prediction
from .starter import StarterFetch, longest_wait_s, served_origin

T = TypeVar("T")
REQUEST_TIMEOUT_S = 300
"""Only a server that hangs needs longer, also on a slow machine."""


@dataclass(frozen=True)
class TaskReport:
    """The results of one task that the demo prints."""

    run: RunReport
    evaluation: Evaluation
    alias: str
    """Of the version that was trained, at the end."""
    starter: str
    """Why which model is served, where a public one or a champion of real data may be; else ""."""


def demo(workspace: Workspace, stay: bool, pull: bool) -> None:
    """Run the demo; with `stay`, serve until Ctrl-C. With `pull`, a public model of real data is
    fetched and served where there is one.

    Raises:
        MienError: the address is in use, a stage failed, or a model could not be loaded.
    """
    from mien.stages.serve import app
    from mien.stages.serve.listener import listen

    listen(config.settings()).close()  # refused before the training and not after it
    stopwatch = console.Stopwatch()
    reports = in_processes("train", partial(_train, workspace=workspace, pull=pull))
    training_s = stopwatch.seconds
    with app.running(workspace, tuple(reports), (), config.settings()) as address:
        start_s = stopwatch.seconds - training_s
        with console.bar("predict a drawn picture of each task"):
            predictions = {name: request_prediction(address, name) for name in reports}
        requests_s = stopwatch.seconds - start_s - training_s
        for name, report in reports.items():
            _print_task(name, report, predictions[name])
        console.result(
            f"\ntraining {training_s:.1f} s, server start {start_s:.1f} s, requests "
            f"{requests_s:.1f} s\nopen {address}/ (try it), {address}/docs (API), "
            f"{address}/metrics (Prometheus)"
        )
        if stay:
            console.info("serving until Ctrl-C")
            wait_for_interrupt()


def request_prediction(address: str, name: str) -> dict[str, Any]:
    """Send the drawn picture of a task to a server and return the response.

    Raises:
        MienError: the server returned an error.
    """
    import requests

    picture = io.BytesIO()
    tasks.load(name).inference.sample_picture().save(picture, format="PNG")
    files = {"file": ("picture.png", picture.getvalue(), "image/png")}
    with requests.Session() as session:
        session.trust_env = False  # the server is on this machine; no proxy is needed
        response = session.post(f"{address}/predict/{name}", files=files, timeout=REQUEST_TIMEOUT_S)
    if response.status_code != 200:
        raise MienError(f"The server returned {response.status_code}: {response.text}")
    document: dict[str, Any] = response.json()
    return document


def in_processes(title: str, work: Callable[[str], T]) -> dict[str, T]:
    """Do the work of every task in its own process: a small model uses one core, not two."""
    names = tasks.names()
    context = get_context("spawn")  # forking a process with threads is not safe
    workers = min(len(names), cpus.available_cpus())
    console.info("\n".join(f"{name}: {tasks.load(name).summary}" for name in names))
    queue = context.SimpleQueue()
    with (
        relay.drawn(f"{title} {' and '.join(names)}", queue),
        ProcessPoolExecutor(workers, context, initializer=relay.send, initargs=(queue,)) as pool,
    ):
        try:
            jobs = {name: pool.submit(work, name) for name in names}
            return {name: job.result() for name, job in jobs.items()}
        except (KeyboardInterrupt, SystemExit):
            for worker in active_children():  # the pool would wait for their trainings
                worker.terminate()
            raise


def _train(name: str, workspace: Workspace, pull: bool) -> TaskReport:
    run, task = drawn_run(name, "sample"), tasks.load(name)
    # A champion that knows real data stays, and is not fetched again.
    origin = served_origin(name, workspace)
    knows_real_data = origin in config.REAL_DATA
    wanted = pull and task.training.starters and not knows_real_data
    fetch = StarterFetch(task, workspace) if wanted else None
    try:
        # Forced, so that the demo also works in a clone with uncommitted changes.
        report = pipeline.run(run, workspace, force=None if knows_real_data else "demo")
    except MienError as error:
        command = f"mien run {run.name} --set KEY=VALUE"
        error.add_note(f"The demo runs {run.name}: `{command}` changes it.")
        raise
    stays = f"{name}: the champion stays (trained_on: {origin})."
    wait_s = longest_wait_s(report.skipped)
    sentence = fetch.register(wait_s) if fetch else stays if knows_real_data else ""
    folder = read_latest(workspace.evaluated(name), run.name, "")
    alias = _alias(report, workspace.aliases(name))
    return TaskReport(report, Evaluation.read(folder), alias, sentence)


def drawn_run(name: str, kind: str) -> RunConfig:
    """The config KIND_TASK of a task, or all defaults on its drawn sample."""
    config_name = f"{kind}_{name}"
    if config_name in tasks.configs():
        return tasks.run_config(config_name)
    return RunConfig(name=config_name, task=name, source=data.SAMPLE)


def _alias(report: RunReport, aliases: Mapping[str, int]) -> str:
    """The alias of the version that a run registered; a starter may have taken the first one."""
    number = report.registered.number
    return next((alias for alias, each in sorted(aliases.items()) if each == number), "set aside")


def _print_task(name: str, report: TaskReport, prediction: Mapping[str, Any]) -> None:
    rows = report.evaluation.candidates
    console.result("")
    console.table(
        f"{name}: {_version(report)}, data: {report.evaluation.trained_on}",
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
        mark=[row.candidate for row in rows].index(str(report.evaluation.choice)),
    )
    stages = ", ".join(
        f"{stage} {seconds:.1f} s{' (unchanged)' if stage in report.run.skipped else ''}"
        for stage, seconds in report.run.seconds.items()
    )
    console.result(stages)
    if report.starter:
        console.result(report.starter)
    console.result(f"prediction for a drawn picture: {format_prediction(prediction)}")
    if report.starter and report.alias != CHAMPION:
        console.result(
            "The served model knows photos and is often wrong on drawings; `mien promote "
            f"{name} {report.run.registered.number} --force demo` serves the model of drawings."
        )


def _version(report: TaskReport) -> str:
    return f"version {report.run.registered.number} is {report.alias}"


def wait_for_interrupt() -> None:
    """Let the server run until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.info("stopped")
