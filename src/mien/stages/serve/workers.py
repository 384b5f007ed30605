"""The threads that answer, and the limit on how many requests are taken at once.

Knows neither HTTP nor tasks. ONNX Runtime releases the interpreter lock, so threads are enough.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from mien.errors import OverloadedError

T = TypeVar("T")


class Workers:
    """A fixed number of threads behind a bounded queue. `slot` is for the event loop's thread."""

    def __init__(self, threads: int, queue: int) -> None:
        self.threads = threads
        self.places = queue
        self.taken = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mien-worker")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the queue's places from before the upload is read until the answer.

        Raises:
            OverloadedError: every place is taken.
        """
        if self.taken >= self.places:
            raise OverloadedError
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def everywhere(self, work: Callable[[], object]) -> None:
        """Run `work` once in every thread, from outside of them; raises what it raises."""
        # Each thread holds one of the jobs at the barrier, so none of them can take two.
        barrier = threading.Barrier(self.threads)

        def job() -> None:
            barrier.wait()
            work()

        for done in [self._pool.submit(job) for _ in range(self.threads)]:
            done.result()

    def close(self) -> None:
        """Let the running jobs end, then the threads."""
        self._pool.shutdown()
