"""The threads that answer, and the limit on how many requests are taken at once.

Knows neither HTTP nor tasks. ONNX Runtime releases the interpreter lock, so threads are enough.
A thread cannot be stopped from outside: one that is beyond its deadline is given up, another
takes its place, and it ends when its work does.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any, Generic, Literal, TypeVar

from mien.errors import DeadlineError, OverloadedError

T = TypeVar("T")
Result = TypeVar("Result")
GLANCE_SECONDS = 0.2
"""How often it is asked whether the client of a waiting question is still there."""
WARM_UP_SECONDS = 300.0
"""A model that takes longer to load or to answer its first request hangs, on slow machines too."""
CLOSE_SECONDS = 5.0
"""How long it is waited for a thread when the server ends; by then nobody waits for its answer."""
MOST_LOST = 8
"""Threads that are replaced when they hang; what hangs more often needs a restart."""


@dataclass(frozen=True, eq=False)
class Desk(Generic[T, Result]):
    """Where questions of one kind are answered, perhaps several at once."""

    answer: Callable[[Sequence[T]], Sequence[Result | Exception]]
    """One result, or what went wrong, for each question."""
    most: int = 1
    """How many questions that wait are answered together."""


class _Job:
    """A question, and where its answer goes. The pool's lock guards `state`."""

    def __init__(self, desk: Desk[Any, Any], question: Any) -> None:
        self.desk = desk
        self.question = question
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.state: Literal["waits", "runs", "done"] = "waits"
        self.thread: threading.Thread | None = None
        self.began = 0.0

    def deliver(self, result: Any) -> None:
        """Hand the result over; to be called in the event loop's thread."""
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Workers:
    """A fixed number of threads behind a bounded queue. `slot` is for the event loop's thread."""

    def __init__(self, threads: int, queue: int) -> None:
        self.threads = threads
        self.places = queue
        self.taken = 0
        self.lost: set[threading.Thread] = set()
        """Threads that are beyond their deadline and still at it."""
        self._jobs: deque[_Job | Callable[[], None] | None] = deque()
        self._changed = threading.Condition()
        self._pool = [self._start() for _ in range(threads)]

    @property
    def stuck(self) -> bool:
        """Whether so many threads hang that they are no longer replaced."""
        return len(self.lost) > MOST_LOST

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
        self,
        desk: Desk[T, Result],
        question: T,
        seconds: float,
        gone: Callable[[], Awaitable[bool]],
    ) -> Result | None:
        """Answer a question in one of the threads; None if the client was `gone` before the end.

        Raises:
            DeadlineError: there was no answer after that many seconds.
        """
        job, end = _Job(desk, question), monotonic() + seconds
        self._put(job)
        try:
            while not job.future.done():
                left = end - monotonic()
                if left <= 0:
                    raise DeadlineError
                await _done(job.future, min(left, GLANCE_SECONDS))
                if not job.future.done() and await gone():
                    return None
            result: Result = job.future.result()
            return result
        finally:
            self._leave(job, seconds)

    def everywhere(self, work: Callable[[], object]) -> None:
        """Run `work` once in every thread, from outside of them; raises what it raises.

        Questions wait meanwhile, as every thread waits for the others.

        Raises:
            DeadlineError: some thread was not done after `WARM_UP_SECONDS`.
        """
        barrier = threading.Barrier(self.threads + 1, timeout=WARM_UP_SECONDS)
        faults: list[BaseException] = []

        def job() -> None:
            with suppress(threading.BrokenBarrierError):
                barrier.wait()  # each thread holds one of the jobs, so none of them can take two
                try:
                    work()
                except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                    faults.append(error)
                barrier.wait()

        for _ in range(self.threads):
            self._put(job)
        try:
            barrier.wait()
            barrier.wait()
        except threading.BrokenBarrierError:
            raise DeadlineError(f"no answer within {WARM_UP_SECONDS:g} s") from None
        if faults:
            raise faults[0]

    def close(self) -> None:
        """Let the running jobs end, then the threads; those that hang are left to the process."""
        with self._changed:
            working = [thread for thread in self._pool if thread not in self.lost]
        for _ in working:
            self._put(None)
        for thread in working:
            thread.join(CLOSE_SECONDS)

    def _start(self) -> threading.Thread:
        # A daemon: a thread that hangs for good must not keep the process.
        thread = threading.Thread(target=self._work, name="mien-worker", daemon=True)
        thread.start()
        return thread

    def _put(self, job: _Job | Callable[[], None] | None) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        """Answer what comes next, and keep nothing of it; whether the thread has its place yet."""
        taken = self._take()
        if taken is None:
            return False
        if callable(taken):
            taken()
            return True
        return self._finish(taken, _answers(taken))

    def _take(self) -> list[_Job] | Callable[[], None] | None:
        """The next question, and those of its kind behind it that this thread should answer too."""
        with self._changed:
            while not self._jobs:
                self._changed.wait()
            first = self._jobs.popleft()
            if not isinstance(first, _Job):
                return first
            jobs = [first]
            most = min(first.desk.most, ceil((len(self._jobs) + 1) / self.threads))
            while len(jobs) < most and self._jobs and _kind(self._jobs[0]) is first.desk:
                jobs.append(self._jobs.popleft())  # type: ignore[arg-type]
            for job in jobs:
                job.state, job.thread = "runs", threading.current_thread()
                job.began = monotonic()
            return jobs

    def _finish(self, jobs: Sequence[_Job], results: Sequence[Any]) -> bool:
        """Deliver the results; whether the thread still has its place."""
        with self._changed:
            for job in jobs:
                job.state = "done"
            self.lost.discard(threading.current_thread())
            stays = threading.current_thread() in self._pool
        for job, result in zip(jobs, results, strict=True):
            if not job.loop.is_closed():
                job.loop.call_soon_threadsafe(job.deliver, result)
        return stays

    def _leave(self, job: _Job, seconds: float) -> None:
        """See that what nobody waits for is not begun, and that what hangs is noticed."""
        with self._changed:
            if job.state == "waits":
                self._jobs.remove(job)
            elif job.state == "runs":
                left = job.began + seconds - monotonic()
                job.loop.call_later(max(0.0, left), self._judge, job)
        job.future.cancel()  # of no effect on one that is done

    def _judge(self, job: _Job) -> None:
        """Give up the thread of a job that runs for longer than it may."""
        with self._changed:
            if job.state == "runs" and job.thread in self._pool:
                self.lost.add(job.thread)
                if not self.stuck:
                    self._pool.remove(job.thread)
                    self._pool.append(self._start())


def _kind(job: object) -> Desk[Any, Any] | None:
    return job.desk if isinstance(job, _Job) else None


def _answers(jobs: Sequence[_Job]) -> Sequence[Any]:
    try:
        return jobs[0].desk.answer([job.question for job in jobs])
    except BaseException as error:  # noqa: BLE001 - raised where the results are awaited
        return [error] * len(jobs)


async def _done(future: "asyncio.Future[Any]", seconds: float) -> None:
    """Wait for the future, at most so long; unlike asyncio.wait it costs but a few microseconds."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(seconds, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
