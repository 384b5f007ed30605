"""Runs trials as tasks of a Ray cluster; the study stays with the process that started them.

Every node needs the same mien and packages, and the workspace at the same path. A trial whose
worker or node ends is given to another one, and goes on where its trainer can resume.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mien.model.cpus import available_cpus
from mien.stages.batch.on_ray import MAX_RETRIES, connected, result

from .search_space import TrialParams
from .trial import TrialContext, TrialResult
from .trial_pool import run_limited


class RayTrials:
    """A connection to a cluster, which begins with the first trial and ends with `close`."""

    def __init__(self, context: TrialContext, size: int) -> None:
        self.size = size
        self._context = replace(
            context, prepared=context.prepared.resolve(), work=context.work.resolve()
        )
        self._ray: Any = None
        self._running: dict[Any, int] = {}
        self._connection = ExitStack()

    def close(self) -> None:
        """End the trials that run, and the connection."""
        with self._connection:
            for task in self._running:
                self._ray.cancel(task, force=True)

    def run(self, trials: Mapping[int, TrialParams]) -> Iterator[tuple[int, TrialResult]]:
        """Run trials by number; yield each result as soon as it is there.

        Raises:
            MienError: an error that the next trial would have too, or a trial that always ends its
                worker.
        """
        waiting = deque(trials.items())
        if waiting and self._ray is None:
            self._ray = self._connection.enter_context(connected(available_cpus()))
        while waiting or self._running:
            threads = self._threads()
            task = self._ray.remote(run_limited).options(num_cpus=threads, max_retries=MAX_RETRIES)
            while waiting and len(self._running) < self.size:
                number, values = waiting.popleft()
                reference = task.remote(self._context, threads, number, values)
                self._running[reference] = number
            (ready, *_), _ = self._ray.wait(list(self._running))
            number = self._running.pop(ready)
            yield number, result(self._ray, ready, f"Trial {number}")

    def _threads(self) -> int:
        """A trial's share of the processors, at most those of the smallest node."""
        nodes = [
            int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]
        ]
        sizes = [cpus for cpus in nodes if cpus] or [1]
        return max(1, min(min(sizes), sum(sizes) // self.size))
