"""The worker threads, and the limit on requests in flight.

Knows neither HTTP nor tasks. ONNX Runtime releases the interpreter lock, so threads are enough.
A thread cannot be stopped from outside: one that exceeds its deadline is replaced, and it ends
when its work does.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from time import monotonic
from typing import Any

from mien.errors import DeadlineError, OverloadedError
from mien.stages.serve import batching
from mien.stages.serve.batching import BatchHandler, Call, Job, Queue, Result, T

DISCONNECT_POLL_S = 0.2
"""How often a waiting request checks whether its client is still connected."""
WARM_UP_TIMEOUT_S = 300.0
"""A model that takes longer to load or for its first request hangs, also on slow machines."""
CLOSE_TIMEOUT_S = 5.0
"""How long closing waits for each thread; by then no client waits for its result."""
MAX_HUNG_THREADS = 8
"""Hung threads that are replaced; beyond them, the process needs a restart."""


class WorkerPool:
    """A fixed number of threads behind a bounded queue."""

    def __init__(self, thread_count: int, max_in_flight: int) -> None:
        self.thread_count = thread_count
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        """Requests that are admitted now; used by the event loop's thread alone."""
        self.hung_threads: set[threading.Thread] = set()
        """Threads that exceeded their deadline and still run."""
        self._busy: set[threading.Thread] = set()
        self._queue: Queue = Queue()
        self._lock = threading.Lock()
        """Guards the queue, the threads, which of them are busy, and the state of jobs."""
        self._wake_ups: SimpleQueue[None] = SimpleQueue()
        """At least one for each entry of the queue: a condition would cost several times as much.
        """
        self._threads = [self._start() for _ in range(thread_count)]

    @property
    def needs_restart(self) -> bool:
        """Whether so many threads hang that they are no longer replaced."""
        return len(self.hung_threads) > MAX_HUNG_THREADS

    @property
    def has_idle_thread(self) -> bool:
        """Whether a request that came now would not wait."""
        with self._lock:
            return not self._queue and any(each not in self._busy for each in self._threads)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as in flight, from before its upload is read until its response.

        Raises:
            OverloadedError: the limit is reached.
        """
        if self.in_flight >= self.max_in_flight:
            raise OverloadedError
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def run(
        self,
        handler: BatchHandler[T, Result],
        request: T,
        deadline_s: float,
        is_disconnected: Callable[[], bool],
    ) -> Result | None:
        """Handle a request in one of the threads; None if its client disconnected before the end.

        Raises:
            DeadlineError: there was no result in time.
        """
        job, end = Job(handler, request), monotonic() + deadline_s
        self._put(job)
        try:
            while not job.delivered:
                left_s = end - monotonic()
                if left_s <= 0:
                    raise DeadlineError
                if not await job.wait(min(left_s, DISCONNECT_POLL_S)) and is_disconnected():
                    return None
            result: Result = job.result()
            return result
        finally:
            self._leave(job, deadline_s)

    def run_on_all_threads(self, work: Callable[[], object]) -> None:
        """Run `work` once in every thread, from outside of them; raises what it raises.

        Requests wait meanwhile, as every thread waits for the others.

        Raises:
            DeadlineError: a thread was not done after `WARM_UP_TIMEOUT_S`.
        """
        barrier = threading.Barrier(self.thread_count + 1, timeout=WARM_UP_TIMEOUT_S)
        errors: list[BaseException] = []

        def call() -> None:
            with suppress(threading.BrokenBarrierError):
                barrier.wait()  # each thread has one of the calls, so none can take two
                try:
                    work()
                except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                    errors.append(error)
                barrier.wait()

        for _ in range(self.thread_count):
            self._put(call)
        try:
            barrier.wait()
            barrier.wait()
        except threading.BrokenBarrierError:
            raise DeadlineError(f"no result within {WARM_UP_TIMEOUT_S:g} s") from None
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Wait for the running jobs, then end the threads, except those that hang."""
        with self._lock:
            working = [each for each in self._threads if each not in self.hung_threads]
        for _ in working:
            self._put(None)
        for thread in working:
            thread.join(CLOSE_TIMEOUT_S)

    def _start(self) -> threading.Thread:
        # A daemon: a thread that never ends must not keep the process alive.
        thread = threading.Thread(target=self._work, name="mien-worker", daemon=True)
        thread.start()
        return thread

    def _put(self, entry: Job | Call | None) -> None:
        with self._lock:
            self._queue.append(entry)
        self._wake_ups.put(None)

    def _work(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Handle the next batch and keep no reference to it; whether the thread goes on."""
        batch = self._take()
        if batch is None:
            return False
        if callable(batch):
            batch()
            return True
        return self._finish(batch, batching.handle(batch))

    def _take(self) -> list[Job] | Call | None:
        while True:
            self._wake_ups.get()
            with self._lock:
                if not self._queue:
                    continue  # another batch took the entry, or its client left
                batch = batching.next_batch(self._queue, self.thread_count)
                if isinstance(batch, list):
                    self._busy.add(threading.current_thread())
                    for job in batch:
                        job.state, job.thread = "running", threading.current_thread()
                        job.started_at = monotonic()
                return batch

    def _finish(self, batch: Sequence[Job], results: Sequence[Any]) -> bool:
        """Deliver the results; whether the thread was not replaced meanwhile."""
        with self._lock:
            for job in batch:
                job.state = "done"
            self._busy.discard(threading.current_thread())
            self.hung_threads.discard(threading.current_thread())
            goes_on = threading.current_thread() in self._threads
        loop = batch[0].loop  # a handler belongs to one service, which has one loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(batching.deliver, batch, results)
        return goes_on

    def _leave(self, job: Job, deadline_s: float) -> None:
        """Cancel a queued job that no client waits for; check later on a running one."""
        with self._lock:
            if job.state == "queued":
                self._queue.remove(job)
            elif job.state == "running":
                left_s = job.started_at + deadline_s - monotonic()
                job.loop.call_later(max(0.0, left_s), self._replace_if_hung, job)

    def _replace_if_hung(self, job: Job) -> None:
        with self._lock:
            if job.state == "running" and job.thread in self._threads:
                self.hung_threads.add(job.thread)
                if not self.needs_restart:
                    self._threads.remove(job.thread)
                    self._threads.append(self._start())
