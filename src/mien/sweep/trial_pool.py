"""Processes that run trials, each with its share of the CPU cores.

They end when the process that started them ends, however that happens. They ignore Ctrl-C: the
process that started them decides what to do.
"""

import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mien.errors import MienError, TrainingError
from mien.model import cpus
from mien.reporting import console, relay

from .search_space import TrialParams
from .trial import TrialContext, TrialResult, run_trial


class TrialPool:
    """Worker processes, which start with the first trial and end with `close`."""

    def __init__(self, context: TrialContext, size: int) -> None:
        self._context = context
        self.size = size
        self._processes: dict[Connection, BaseProcess] = {}

    def close(self) -> None:
        """End the processes, also in the middle of a trial."""
        for pipe, process in self._processes.items():
            pipe.close()
            process.terminate()
        for process in self._processes.values():
            process.join()

    def start(self, count: int) -> None:
        """Start processes until there are `count`."""
        spawn = get_context("spawn")  # forking a process with threads is not safe
        threads = max(1, cpus.available_cpus() // self.size)
        while len(self._processes) < count:
            own_end, worker_end = spawn.Pipe()
            arguments = (self._context, worker_end, threads)
            process = spawn.Process(target=_worker_main, args=arguments, daemon=True)
            process.start()
            worker_end.close()
            self._processes[own_end] = process

    def run(self, trials: Mapping[int, TrialParams]) -> Iterator[tuple[int, TrialResult]]:
        """Run trials by number; yield each result as soon as it is there.

        Raises:
            MienError: an error that the next trial would have too, or a killed process.
        """
        self.start(min(self.size, len(trials)))
        queue, running = deque(trials.items()), dict[Connection, int]()
        idle = list(self._processes)
        while queue or running:
            while queue and idle:
                pipe = idle.pop()
                running[pipe] = queue[0][0]
                with suppress(ConnectionError):  # for a dead process, `_receive` raises the error
                    pipe.send(queue.popleft())
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number = running.pop(ready)
                yield number, self._receive(ready, number)
                idle.append(ready)

    def _receive(self, pipe: Connection, number: int) -> TrialResult:
        try:
            message: TrialResult | MienError = pipe.recv()
        except (EOFError, ConnectionError):
            process = self._processes[pipe]
            process.join()
            raise TrainingError(
                f"The process of trial {number} ended with exit code {process.exitcode}. Without a "
                "message above, it was killed, possibly for lack of memory: try fewer --jobs. The "
                "same command resumes with this trial."
            ) from None
        if isinstance(message, MienError):
            raise message
        return message


def run_limited(
    context: TrialContext, threads: int, number: int, values: TrialParams
) -> TrialResult:
    """Run a trial with so many threads; in a process of its own, whose environment it changes."""
    from threadpoolctl import threadpool_limits

    console.quiet()
    # For libraries that are loaded later; the call below is for those already loaded.
    os.environ.update({name: str(threads) for name in cpus.NATIVE_THREADS})
    threadpool_limits(threads)
    return run_trial(context, number, values)


def _worker_main(context: TrialContext, pipe: Connection, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    relay.end_with_parent()
    while True:
        try:
            number, values = pipe.recv()
        except EOFError:
            return
        try:
            message: TrialResult | MienError = run_limited(context, threads, number, values)
        except MienError as error:
            message = error
        pipe.send(message)
