"""Processes that try choices, each with its share of the processors.

They end with the process that started them, however that one ends, and never by Ctrl-C alone:
who asked for the trials decides what becomes of them.
"""

import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from types import TracebackType
from typing import Self

from mien.errors import MienError, TrainingError
from mien.model import runtime
from mien.reporting import console

from .space import Choice
from .trial import Outcome, Work, attempt

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Workers:
    """A context of some processes; they start when the first trial is asked for."""

    def __init__(self, work: Work, count: int) -> None:
        self._work = work
        self._count = count
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe, process in self._processes.items():
            pipe.close()
            process.terminate()
        for process in self._processes.values():
            process.join()

    def start(self, count: int) -> None:
        """Have so many processes ready."""
        context = get_context("spawn")  # a forked copy of a process with threads is no safe place
        threads = max(1, runtime.available_cpus() // self._count)
        while len(self._processes) < count:
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(self._work, there, threads), daemon=True)
            process.start()
            there.close()
            self._processes[here] = process

    def run(self, asked: Mapping[int, Choice]) -> Iterator[tuple[int, Outcome]]:
        """Try choices by number of trial; yield each outcome as soon as it is there.

        Raises:
            MienError: what a trial ended with where the next one would end alike, or a process
                that was killed.
        """
        self.start(min(self._count, len(asked)))
        waiting, busy = deque(asked.items()), dict[Connection, int]()
        idle = list(self._processes)
        while waiting or busy:
            while waiting and idle:
                pipe = idle.pop()
                busy[pipe] = waiting[0][0]
                with suppress(ConnectionError):  # a process that is gone has an end to be read
                    pipe.send(waiting.popleft())
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                number = busy.pop(ready)
                yield number, self._receive(ready, number)
                idle.append(ready)

    def _receive(self, pipe: Connection, number: int) -> Outcome:
        try:
            found: Outcome | MienError = pipe.recv()
        except (EOFError, ConnectionError):
            process = self._processes[pipe]
            process.join()
            raise TrainingError(
                f"The process of trial {number} ended with exit code {process.exitcode}; where it "
                "said nothing above, it was killed, perhaps for want of memory: then try fewer "
                "--jobs. The same command goes on with this trial."
            ) from None
        if isinstance(found, MienError):
            raise found
        return found


def _work(work: Work, pipe: Connection, threads: int) -> None:
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    console.quiet()
    os.environ.update({name: str(threads) for name in _THREADS})  # for what is loaded from now on
    threadpool_limits(threads)  # for what is loaded already
    while True:
        try:
            number, choice = pipe.recv()
        except EOFError:
            return
        try:
            answer: Outcome | MienError = attempt(work, number, choice)
        except MienError as error:
            answer = error
        pipe.send(answer)


def _end_with_parent() -> None:
    """A process that waits for a pipe or trains would outlive a parent that was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
