"""Lines and bars of worker processes, drawn by the process that started them.

Two processes cannot draw bars on one terminal. A worker sends what it would draw through a queue:

    with relay.drawn("train", queue), ProcessPoolExecutor(
        workers, context, initializer=relay.send, initargs=(queue,)
    ) as pool: ...
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import parent_process
from multiprocessing.queues import SimpleQueue
from threading import Event, Thread
from time import perf_counter

from mien.reporting import console
from mien.reporting.console import Advance

REFRESH_S = 0.1
"""Least seconds between two messages about one bar, and between two looks at an empty queue."""
JOIN_TIMEOUT_S = 2.0
"""A worker that was killed may have left half a message, for whose rest the thread would wait."""


@dataclass(frozen=True)
class BarKey:
    """One bar of one worker."""

    process: int
    number: int


@dataclass(frozen=True)
class Message:
    """A line to print, or the state of a bar."""

    text: str
    bar: BarKey | None = None
    step: int = 0
    total: int = 0
    closed: bool = False


def send(queue: "SimpleQueue[Message]") -> None:
    """Send the lines and bars of this process from now on, and end with the process that draws
    them; the initializer of a pool."""
    end_with_parent()
    console.show_on(_Sender(queue))


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, also if a signal killed the parent.
    Otherwise a training would go on for minutes."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


@contextmanager
def drawn(text: str, queue: "SimpleQueue[Message]") -> Iterator[None]:
    """Show a bar while the block runs, and below it what workers send."""
    stop = Event()
    thread = Thread(target=_draw, args=(queue, stop), name="mien-relay", daemon=True)
    with console.bar(text):
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(JOIN_TIMEOUT_S)


class _Sender:
    """The display of a worker."""

    def __init__(self, queue: "SimpleQueue[Message]") -> None:
        self._queue = queue
        self._numbers = count()

    def line(self, text: str) -> None:
        self._queue.put(Message(text))

    @contextmanager
    def bar(self, text: str) -> Iterator[Advance]:
        key, last = BarKey(os.getpid(), next(self._numbers)), 0.0

        def advance(step: int, total: int, detail: str = "") -> None:
            nonlocal last
            now = perf_counter()
            if step >= total or now - last >= REFRESH_S:
                last = now
                self._queue.put(Message(detail, key, step, total))

        self._queue.put(Message(text, key))
        try:
            yield advance
        finally:
            self._queue.put(Message("", key, closed=True))


def _draw(queue: "SimpleQueue[Message]", stop: Event) -> None:
    with ExitStack() as rest:
        bars: dict[BarKey, tuple[ExitStack, Advance]] = {}
        while not (stop.is_set() and queue.empty()):
            if queue.empty():
                stop.wait(REFRESH_S)
            else:
                _apply(queue.get(), bars, rest)


def _apply(
    message: Message, bars: dict[BarKey, tuple[ExitStack, Advance]], rest: ExitStack
) -> None:
    if message.bar is None:
        console.info(message.text)
    elif message.closed:
        bars.pop(message.bar)[0].close()
    elif message.bar in bars:
        bars[message.bar][1](message.step, message.total, message.text)
    else:
        stack = rest.enter_context(ExitStack())
        bars[message.bar] = stack, stack.enter_context(console.bar(message.text))
