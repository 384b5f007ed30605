"""`mien demo --quick`: public models where there are any, the other tasks trained on drawn data.

Nothing here needs torch.
"""

import os
import sys
import webbrowser
from functools import partial
from typing import Any

from mien import config, pipeline, tasks
from mien.config import REAL_DATA
from mien.errors import MienError, UnreachableError
from mien.reporting import console
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Task

from .demo import drawn_run, in_processes, request_prediction, wait_for_interrupt
from .predictions import format_prediction
from .starter import served_origin


def quick(workspace: Workspace, stay: bool) -> None:
    """Run the quick demo; with `stay`, open the page and serve until Ctrl-C.

    Raises:
        MienError: the address is in use, a stage failed, or no task has a model.
    """
    from mien.stages.serve import app
    from mien.stages.serve.listener import listen

    listen(config.settings()).close()  # refused before the training and not after it
    watch = console.Stopwatch()
    summaries = in_processes("make", partial(_make, workspace=workspace))
    models_s = watch.seconds
    names = [name for name in summaries if CHAMPION in workspace.aliases(name)]
    if not names:
        raise MienError(" ".join(summaries.values()))
    with app.running(workspace, tuple(names), (), config.settings()) as address:
        start_s = watch.seconds - models_s
        for name, summary in summaries.items():
            console.result(f"{name}: {summary}")
        for name in names:
            answer = format_prediction(request_prediction(address, name))
            console.result(f"prediction for a drawn picture: {answer}")
        console.result(
            f"models {models_s:.1f} s, server start {start_s:.1f} s\n"
            f"open {address}/ (try it with a camera), {address}/docs (API)"
        )
        if stay:
            if _has_desktop():
                webbrowser.open(f"{address}/")
            console.info("serving until Ctrl-C")
            wait_for_interrupt()


def _make(name: str, workspace: Workspace) -> str:
    return make_model(tasks.load(name), workspace)


def make_model(task: Task[Any], workspace: Workspace) -> str:
    """Register a model of a task; return what was done, or why there is none."""
    if task.training.starters:
        try:
            return pipeline.pull(task, workspace).summary
        except UnreachableError as error:
            return f"not served. {error}"
    force = None if served_origin(task.name, workspace) in REAL_DATA else "demo"
    return pipeline.run(drawn_run(task.name, "quick"), workspace, force).registered.summary


def _has_desktop() -> bool:
    """Whether a browser window can open; a browser of the terminal would take it over."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.stdout.isatty() and bool(display or sys.platform in ("darwin", "win32"))
