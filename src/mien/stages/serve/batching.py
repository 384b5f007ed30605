"""Requests that share one model call: the queue's entries, their grouping, and whether it helps.

A network may take one call of eight for little more than a call of one, or for no less than eight
calls. It depends on the model and on the machine, so it is measured when a model is loaded.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any, Generic, Literal, TypeVar

from mien.errors import MienError
from mien.model.runtime import Model
from mien.task import Prediction, Request, Task

T = TypeVar("T")
Result = TypeVar("Result")
MAX_TIME_RATIO = 0.8
"""A batch must take less than this share of the time of its requests one by one."""
MAX_CALL_S = 0.005
"""Time of one prediction above which batches are not tried: little of it is the cost of a call."""
LARGE_UPLOAD_BYTES, LARGE_UPLOAD_BATCH = 200_000, 2
"""Uploads above this size come in batches of at most so many: decoding takes most of their time,
and each of a batch waits until all are decoded."""
MEASURE_ROUNDS = 3
MAX_CONFIDENCE_DIFFERENCE = 1e-3
"""How far a confidence of a batch may be from that of the same request alone."""


@dataclass(frozen=True, eq=False)
class BatchHandler(Generic[T, Result]):
    """Handles requests that may share one model call."""

    handle: Callable[[Sequence[T]], Sequence[Result | Exception]]
    """Returns one result, or the error, for each request."""
    max_batch_size: int = 1


class Job:
    """A request in the queue, and its result. The pool's lock guards `state`, all else is for the
    event loop's thread."""

    def __init__(self, handler: BatchHandler[Any, Any], request: Any) -> None:
        self.handler = handler
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.state: Literal["queued", "running", "done"] = "queued"
        self.thread: threading.Thread | None = None
        self.started_at = 0.0
        """Monotonic time at which a thread took it."""
        self.delivered = False
        self._result: Any = None
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the result for at most so long; whether it was delivered."""
        if not self.delivered:
            self._waiter = self.loop.create_future()
            timer = self.loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
        return self.delivered

    def deliver(self, result: Any) -> None:
        """Set the result, or the error."""
        self._result, self.delivered = result, True
        self._wake()

    def result(self) -> Any:
        """The delivered result; raises the delivered error."""
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


Call = Callable[[], None]
Queue = deque[Job | Call | None]


def next_batch(queue: Queue, thread_count: int) -> list[Job] | Call | None:
    """Remove the next entry of the queue, with the jobs behind it that should share its call.

    A thread takes its part of the queue only, so that the other threads have work too.
    """
    first = queue.popleft()
    if not isinstance(first, Job):
        return first
    batch = [first]
    size = min(first.handler.max_batch_size, ceil((len(queue) + 1) / thread_count))
    while len(batch) < size and queue and _handler(queue[0]) is first.handler:
        batch.append(queue.popleft())  # type: ignore[arg-type]
    return batch


def deliver(batch: Sequence[Job], results: Sequence[Any]) -> None:
    """Deliver the result of each job of a batch; to be called in the event loop's thread."""
    for job, result in zip(batch, results, strict=True):
        job.deliver(result)


def handle(batch: Sequence[Job]) -> Sequence[Any]:
    """The result, or the error, of each job of a batch."""
    try:
        return batch[0].handler.handle([job.request for job in batch])
    except BaseException as error:  # noqa: BLE001 - raised where the results are awaited
        return [error] * len(batch)


def batching_helps(task: Task[Any], model: Model, request: Request, batch_size: int) -> bool:
    """Whether a batch of requests like this one is faster than one by one."""
    return batch_time_ratio(task, model, request, batch_size) < MAX_TIME_RATIO


def batch_time_ratio(task: Task[Any], model: Model, request: Request, batch_size: int) -> float:
    """Time of a batch as a share of the time of its requests one by one.

    The best of some alternating rounds; 1 for a model that cannot or need not be tried.
    """
    if not task.inference.batching:
        return 1.0
    single_s, batch_s = [], []
    try:
        for _ in range(MEASURE_ROUNDS):
            start = perf_counter()
            for _ in range(batch_size):
                single = task.inference.predict(request, model)
                if perf_counter() - start > MAX_CALL_S * batch_size:
                    return 1.0
            single_s.append(perf_counter() - start)
            start = perf_counter()
            batch = task.inference.predict_many([request] * batch_size, model)
            batch_s.append(perf_counter() - start)
    except MienError:  # the model refuses such requests; their senders get the message
        return 1.0
    except Exception:  # noqa: BLE001 - a network for one image at a time fails in its own way
        return 1.0
    return min(batch_s) / min(single_s) if all(_equal(single, each) for each in batch) else 1.0


def _equal(single: Prediction, batched: Prediction) -> bool:
    """Whether two predictions are equal, except for the last digits."""
    if single.outcome != batched.outcome or len(single.detections) != len(batched.detections):
        return False
    return all(
        a.label == b.label and abs(a.confidence - b.confidence) < MAX_CONFIDENCE_DIFFERENCE
        for a, b in zip(single.detections, batched.detections, strict=True)
    )


def _handler(entry: object) -> BatchHandler[Any, Any] | None:
    return entry.handler if isinstance(entry, Job) else None
