"""What a person at the keyboard sees: sentences, tables and progress bars; the only user of rich.

Everything here goes to standard error, so that results on standard output stay clean for
machines; `result`, `document` and `table` alone write to standard output. Rich is imported when
something is shown: a server starts without it.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from textwrap import TextWrapper
from threading import Event, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

T = TypeVar("T")
LINE_INTERVAL_S = 60
"""Seconds between two lines of progress where no terminal is attached."""
STEPS_TO_ESTIMATE = 2
"""Steps after the first one that are timed before a line tells the time left. The first one also
loads libraries and data, and is not counted."""
_COPIED = re.compile(r"""(?<!\S)\(?(?:--set '[^']*'|--set \S+|`[^`]*`|'[^']*')(?!\w)\S*""")
"""What users copy: a setting, a command, and what is in quotes; with the punctuation around it."""
_SPACE = "\0"
"""Stands for a space at which no line may end."""
_quiet: set[str] = set()
_displays: "list[Progress]" = []
_blocks: "list[_Lines]" = []
_remote: "list[Display]" = []


class Advance(Protocol):
    """Moves a bar to `step` of `total` and may change its detail, the text on its right."""

    def __call__(self, step: int, total: int, detail: str = "") -> None: ...


class Display(Protocol):
    """Shows lines and bars of a process that shares its terminal with others."""

    def line(self, text: str) -> None: ...

    def bar(self, text: str) -> AbstractContextManager[Advance]: ...


def quiet() -> None:
    """Show no tables and bars from now on: for a worker whose parent tells the result."""
    _out().quiet = True
    _quiet.add("bars")


def show_on(display: Display) -> None:
    """Show no tables from now on, and lines and bars on this display where a terminal is attached.

    Lines of a log need none: every process writes its own.
    """
    _out().quiet = True
    if _on_terminal():
        _remote.append(display)


@contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Show lines and bars on this display while the block runs, and not on the terminal."""
    _remote.append(display)
    try:
        yield
    finally:
        _remote.remove(display)


def info(text: str) -> None:
    """Print one sentence about what is going on."""
    if _remote:
        _remote[-1].line(text)
    else:
        _err().print(_fit(_err(), text), markup=False)


def result(text: str) -> None:
    """Print what the command was asked for, to standard output."""
    _out().print(_fit(_out(), text), markup=False)


def document(values: Any, indent: int | None = None) -> None:
    """Print JSON values to standard output; a line break within a text would spoil it."""
    from mien.storage.files import json_text  # not at the top: the help of a command does without

    _out().print(json_text(values, indent=indent), markup=False)


def failure(text: str) -> None:
    """Print why a command could not do what it was asked for."""
    from rich.text import Text

    shown = Text(_fit(_err(), f"error: {text}"))
    shown.stylize("bold red", 0, len("error:"))
    _err().print(shown)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], mark: int = -1
) -> None:
    """Print a table to standard output; numbers stand right, row number `mark` stands out."""
    from rich.table import Table

    rows = list(rows)
    view = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = all(row[index][:1].isdigit() for row in rows)
        view.add_column(
            column, justify="right" if numbers else "left", overflow="fold", no_wrap=index == 0
        )
    for index, row in enumerate(rows):
        view.add_row(*(_escape(cell) for cell in row), style="bold green" if index == mark else "")
    _out().print(view)


@contextmanager
def bar(text: str) -> Iterator[Advance]:
    """Show a progress bar while the block runs, below those of blocks around it; where no terminal
    is attached, print a line a minute. A block that never advances shows that it is at work."""
    if _quiet:
        yield _ignore
    elif _remote:
        with _remote[-1].bar(text) as advance:
            yield advance
    elif not _on_terminal():
        with _logged(text) as lines:
            yield lines
    else:
        with _live() as progress:
            job = progress.add_task(_escape(text), total=None, count="", detail="")

            def advance(step: int, total: int, detail: str = "") -> None:
                count, text_beside = f"{step:,}/{total:,}", _escape(detail)
                progress.update(job, completed=step, total=total, count=count, detail=text_beside)

            try:
                yield advance
            finally:
                progress.remove_task(job)


class _Lines:
    """The progress of one block as a line of a log."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._start = perf_counter()
        self._step, self._total, self._detail = 0, 0, ""
        self._first, self._first_at, self._step_at = 0, 0.0, 0.0

    def __call__(self, step: int, total: int, detail: str = "") -> None:
        self._step_at = perf_counter()
        if not self._total:
            self._first, self._first_at = step, self._step_at
        self._step, self._total, self._detail = step, total, detail

    def __str__(self) -> str:
        left = self._left()
        parts = [
            f"{self._step:,} of {self._total:,}" if self._step else "",
            self._detail,
            f"about {_duration(left)} left" if left else _duration(perf_counter() - self._start),
        ]
        return f"{self._text}: {', '.join(filter(None, parts))}"

    def _left(self) -> float:
        """Seconds; 0 where too few steps were timed to know."""
        timed = self._step - self._first
        if timed < STEPS_TO_ESTIMATE:
            return 0.0
        return (self._step_at - self._first_at) / timed * (self._total - self._step)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


@contextmanager
def _logged(text: str) -> Iterator[_Lines]:
    """Print a line a minute about the innermost block that runs."""
    lines, stop = _Lines(text), Event()
    _blocks.append(lines)
    if len(_blocks) == 1:
        Thread(target=_print_lines, args=(stop,), name="mien-progress", daemon=True).start()
    try:
        yield lines
    finally:
        _blocks.remove(lines)
        stop.set()


def _print_lines(stop: Event) -> None:
    while not stop.wait(LINE_INTERVAL_S):
        for lines in _blocks[-1:]:
            info(str(lines))


@contextmanager
def _live() -> Iterator["Progress"]:
    """The progress display of this process: one at a time, because bars share the terminal."""
    if _displays:
        yield _displays[-1]
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(Column(no_wrap=True, min_width=7)),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        # Takes the rest of the line, and is the only one that is cut.
        TextColumn(
            "{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    # Results that go to a file must not be redirected to the terminal.
    both = _out().is_terminal
    with Progress(
        *columns, console=_err(), transient=True, redirect_stdout=both, expand=True
    ) as progress:
        _displays.append(progress)
        try:
            yield progress
        finally:
            _displays.remove(progress)


def _on_terminal() -> bool:
    """Whether bars can move; a server that writes a log learns it without importing rich."""
    possible = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return possible and _err().is_interactive


def _ignore(step: int, total: int, detail: str = "") -> None:
    """Advance nothing."""


def _fit(console: "Console", text: str) -> str:
    """A terminal gets lines that end between words, and not within what users copy; a file gets one
    line for each sentence."""
    if not console.is_terminal:
        return text
    width = console.width
    wrapper = TextWrapper(width, break_long_words=False, break_on_hyphens=False)

    def keep(match: re.Match[str]) -> str:
        return match[0].replace(" ", _SPACE) if len(match[0]) <= width else match[0]

    lines = (
        line if len(line) <= width else wrapper.fill(_COPIED.sub(keep, line)).replace(_SPACE, " ")
        for line in text.split("\n")
    )
    return "\n".join(lines)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def track(items: Sequence[T], text: str) -> Iterator[T]:
    """Iterate with a progress bar."""
    with bar(text) as advance:
        for index, item in enumerate(items):
            yield item
            advance(index + 1, len(items))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = perf_counter()

    @property
    def seconds(self) -> float:
        return perf_counter() - self._start


@cache
def _err() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


@cache
def _out() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
