"""The threads that answer, and the limit on how many requests are taken at once.

Knows neither HTTP nor tasks. ONNX Runtime releases the interpreter lock, so threads are enough.
A thread cannot be stopped from outside: one that is beyond its deadline is given up, another
takes its place, and it ends when its work does.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from time import monotonic
from typing import Any, Literal, TypeVar

from mien.errors import DeadlineError, OverloadedError

T = TypeVar("T")
GLANCE_SECONDS = 0.2
"""How often it is asked whether the client of a waiting question is still there."""
MOST_LOST = 8
"""Threads that are replaced when they hang; what hangs more often needs a restart."""


class _Job:
    """Work, and where its result goes. The pool's lock guards `state`."""

    def __init__(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.state: Literal["waits", "runs", "done", "given up"] = "waits"
        self.thread: threading.Thread | None = None

    def deliver(self, result: Any, error: BaseException | None) -> None:
        """Hand the result over; to be called in the event loop's thread."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Workers:
    """A fixed number of threads behind a bounded queue. `slot` is for the event loop's thread."""

    def __init__(self, threads: int, queue: int) -> None:
        self.threads = threads
        self.places = queue
        self.taken = 0
        self.lost = 0
        """Threads that are beyond their deadline and still at it."""
        self._jobs: SimpleQueue[_Job | Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._pool = [self._start() for _ in range(threads)]

    @property
    def stuck(self) -> bool:
        """Whether so many threads hang that they are no longer replaced."""
        return self.lost > MOST_LOST

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

    async def run(
        self, work: Callable[[], T], seconds: float, gone: Callable[[], Awaitable[bool]]
    ) -> T | None:
        """Run `work` in one of the threads; None if the client was `gone` before the end.

        Raises:
            DeadlineError: there was no result after that many seconds.
        """
        job = _Job(work, asyncio.get_running_loop())
        end = monotonic() + seconds
        self._jobs.put(job)
        try:
            while not job.future.done():
                left = end - monotonic()
                if left <= 0:
                    raise DeadlineError
                await asyncio.wait((job.future,), timeout=min(left, GLANCE_SECONDS))
                if not job.future.done() and await gone():
                    return None
            result: T = job.future.result()
            return result
        finally:
            self._leave(job, late=monotonic() >= end)

    def everywhere(self, work: Callable[[], object]) -> None:
        """Run `work` once in every thread, from outside of them; raises what it raises.

        For a time in which no questions are asked: every thread waits for the others.
        """
        barrier, faults = threading.Barrier(self.threads + 1), list[BaseException]()

        def job() -> None:
            barrier.wait()  # each thread holds one of the jobs, so none of them can take two
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                faults.append(error)
            barrier.wait()

        for _ in range(self.threads):
            self._jobs.put(job)
        barrier.wait()
        barrier.wait()
        if faults:
            raise faults[0]

    def close(self) -> None:
        """Let the running jobs end, then the threads; those that hang are left to the process."""
        for _ in self._pool:
            self._jobs.put(None)
        for thread in self._pool:
            thread.join()

    def _start(self) -> threading.Thread:
        # A daemon: a thread that hangs for good must not keep the process.
        thread = threading.Thread(target=self._answer, name="mien-worker", daemon=True)
        thread.start()
        return thread

    def _answer(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not isinstance(job, _Job):
                job()
            elif self._begin(job) and not self._finish(job, *_outcome(job.work)):
                return

    def _begin(self, job: _Job) -> bool:
        with self._lock:
            if job.state == "waits":
                job.state, job.thread = "runs", threading.current_thread()
            return job.state == "runs"

    def _finish(self, job: _Job, result: Any, error: BaseException | None) -> bool:
        """Deliver the result; whether the thread still has its place."""
        with self._lock:
            self.lost -= job.state == "given up"
            job.state = "done"
            stays = threading.current_thread() in self._pool
        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(job.deliver, result, error)
        return stays

    def _leave(self, job: _Job, late: bool) -> None:
        """See that a job for which nobody waits is not begun, and that one that hangs is left."""
        with self._lock:
            if job.state == "waits":
                job.state = "done"
            elif job.state == "runs" and late and job.thread is not None:
                job.state = "given up"
                self.lost += 1
                if not self.stuck:
                    self._pool.remove(job.thread)
                    self._pool.append(self._start())
        job.future.cancel()  # of no effect on one that is done


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        return None, error
