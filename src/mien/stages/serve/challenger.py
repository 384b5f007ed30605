"""A challenger in a process of its own, which runs only while nothing else needs the processor.

    server: Challenger.predict(request) -> pipe -> process: answer() -> outcome, label, CPU time

Server and challenger share no interpreter: the challenger's Python code delays no request, and
what it does wrong ends its own process alone. On Linux the process has the policy SCHED_IDLE: the
kernel interrupts it as soon as a thread of the server wakes up, and ends it before the server where
memory is short.
"""

import logging
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import BundleError, MienError
from mien.model import runtime
from mien.model.worker_process import WorkerProcess
from mien.observability.prediction_log.shadow import ERROR
from mien.stages.serve import loading
from mien.stages.serve.loading import BundleSource, LoadedModel, run_with_timeout
from mien.storage.files import sha256_file
from mien.storage.shadow import Shadow
from mien.storage.workspace import MANIFEST
from mien.task import Request, Task


@dataclass(frozen=True)
class ChallengerAnswer:
    """What a challenger says of one request."""

    outcome: str
    """`ERROR` where it failed."""
    label: str | None = None
    cpu_s: float = 0.0
    """CPU seconds of the prediction, without decoding."""
    failure: str | None = None
    """Why it failed: a traceback, or a sentence."""


class Challenger:
    """A loaded challenger of one task, and its process."""

    def __init__(self, plan: Shadow, task: Task[Any], folder: Path) -> None:
        """Start the process and load the bundle in it.

        Raises:
            BundleError: damaged, of another task, or its warm-up failed.
            ProcessError: the process ended.
        """
        self.plan, self.task = plan, task
        self.version, self.digest = str(plan.version), sha256_file(folder / MANIFEST)
        self.failures = 0
        """In a row."""
        self.fault: str | None = None
        """Why it was switched off."""
        self._folder, self._lock = folder, threading.Lock()
        self._process = WorkerProcess(answer)
        try:
            failure = self._ask(None).failure
        except MienError:
            self.close()
            raise
        if failure is not None:
            self.close()
            raise BundleError(failure)

    def wants(self, trace_id: str) -> bool:
        """Whether it answers a request: by the last 24 bits of its trace_id, which are random."""
        return self.fault is None and int(trace_id[-6:], 16) < self.plan.share * 2**24

    def predict(self, request: Request) -> ChallengerAnswer:
        """Answer a request; a failure is an answer, too.

        Raises:
            ProcessError: the process ended.
        """
        return self._ask(request)

    def switch_off(self, reason: str) -> None:
        """End the process; a call that waits for it raises."""
        self.fault = reason
        self._process.kill()

    def close(self) -> None:
        """Switch it off, and free the process."""
        self.switch_off("closed")
        with self._lock:
            self._process.close()

    def _ask(self, request: Request | None) -> ChallengerAnswer:
        with self._lock:
            where = tuple(tasks.__path__), self.task.name, self._folder
            return self._process(*where, request)


def answer(
    tasks_path: tuple[str, ...], task: str, folder: Path, request: Request | None
) -> ChallengerAnswer:
    """Runs in the challenger's process: load the bundle at the first call, and predict.

    Args:
        tasks_path: folders in which tasks are found.
        task: its name.
        folder: the bundle.
        request: None to load only.
    """
    tasks.__path__[:] = tasks_path
    try:
        loaded = _loaded(task, folder)
    except MienError as error:
        return ChallengerAnswer(ERROR, failure=str(error))
    if request is None:
        return ChallengerAnswer("ok")
    start = time.thread_time()
    try:
        prediction = loaded.task.inference.predict(request, loaded.model)
    except Exception:  # noqa: BLE001 - a challenger may fail in any way
        return ChallengerAnswer(ERROR, None, time.thread_time() - start, traceback.format_exc())
    best = prediction.best
    label = best.label if best else None
    return ChallengerAnswer(prediction.outcome, label, time.thread_time() - start)


@cache
def _loaded(task: str, folder: Path) -> LoadedModel:
    """Load it as fast as a champion, as the server waits for it, and step back then."""
    logging.getLogger("mien").setLevel(logging.ERROR)
    runtime.tune_malloc()
    loaded = loading.load(BundleSource(tasks.load(task), folder), run_with_timeout)
    _step_back()
    return loaded


def _step_back() -> None:
    """Run only while nothing else needs the processor, and be the first to end without memory; a
    sandbox may refuse either."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(19)
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
