"""One training at a time, in a thread: its log, its progress and how it ended."""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from mien.config import Schema
from mien.errors import MienError, RequestError
from mien.reporting import console
from mien.reporting.console import Advance

_MAX_LINES = 300
_log = logging.getLogger("mien.studio")


class TrainingProgress(Schema):
    """What the page shows of a training."""

    state: Literal["idle", "running", "done", "failed"] = "idle"
    log: tuple[str, ...] = ()
    doing: str = ""
    """The innermost block that runs."""
    step: int = 0
    total: int = 0
    """Steps of that block; 0 where they are not counted."""
    seconds: float = 0.0
    model_seconds: float = 0.0
    """After how many seconds the model was there; 0 before. What follows is written about it."""
    error: str = ""
    """Why it failed, and what to do."""


@dataclass
class _Bar:
    text: str
    step: int = 0
    total: int = 0


@dataclass
class TrainingJob:
    """Runs one training after the other, and is the display on which it shows lines and bars."""

    _lines: list[str] = field(default_factory=list)
    _bars: list[_Bar] = field(default_factory=list)
    _state: Literal["idle", "running", "done", "failed"] = "idle"
    _error: str = ""
    _start: float = 0.0
    _end: float = 0.0
    _model: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._state == "running"

    def start(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread; what it shows on the console is the log.

        Raises:
            RequestError: a training is running.
        """
        with self._lock:
            if self.running:
                raise RequestError("A training is running. Wait for its end.")
            self._lines, self._bars, self._error = [], [], ""
            self._start, self._model, self._state = monotonic(), 0.0, "running"
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="mien-training", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the training that was started last."""
        if self._thread:
            self._thread.join()

    def snapshot(self) -> TrainingProgress:
        """How far it is."""
        bar = next(reversed(self._bars), _Bar(""))
        end = monotonic() if self.running else self._end
        return TrainingProgress(
            state=self._state,
            log=tuple(self._lines),
            doing=bar.text,
            step=bar.step,
            total=bar.total,
            seconds=round(end - self._start, 1),
            model_seconds=math.ceil(10 * self._model) / 10,  # never 0 once it is there
            error=self._error,
        )

    def model_is_there(self) -> None:
        """The work has made its model, and goes on; later calls are of the same model."""
        self._model = self._model or monotonic() - self._start

    def line(self, text: str) -> None:
        """Add lines to the log."""
        self._lines = [*self._lines, *text.splitlines()][-_MAX_LINES:]

    @contextmanager
    def bar(self, text: str) -> Iterator[Advance]:
        """Show a block as the one that runs."""
        bar = _Bar(text)

        def advance(step: int, total: int, detail: str = "") -> None:
            bar.step, bar.total = step, total

        self._bars = [*self._bars, bar]
        try:
            yield advance
        finally:
            self._bars = [each for each in self._bars if each is not bar]

    def _run(self, work: Callable[[], None]) -> None:
        state: Literal["done", "failed"] = "failed"
        try:
            with console.shown_on(self):
                work()
            state = "done"
        except (MienError, OSError) as error:
            self._error = str(error)
        except ModuleNotFoundError as error:
            self._error = (
                f"Training needs {error.name}, which is not installed. "
                "Install it: `pip install 'mien[train]'`."
            )
        except Exception as error:  # noqa: BLE001 - the page must not wait for ever
            _log.exception("the training failed")
            self._error = f"{type(error).__name__}; the server's log has the traceback."
        self._end = monotonic()
        self._state = state
