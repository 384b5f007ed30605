"""What a person at the keyboard sees: sentences, tables and progress bars; the only user of rich.

Everything here goes to standard error, so that results on standard output stay clean for
machines; `result` alone writes to standard output. Rich is imported when something is shown: a
server starts without it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_quiet: set[str] = set()


class Advance(Protocol):
    """Moves a bar to `done` of `total` and may change the words beside it."""

    def __call__(self, done: int, total: int, words: str = "") -> None: ...


def quiet() -> None:
    """Show no tables and bars from now on: for a worker whose parent tells the result."""
    _out().quiet = True
    _quiet.add("bars")


def info(text: str) -> None:
    """Print one sentence about what is going on."""
    _err().print(text, markup=False)


def result(text: str) -> None:
    """Print what the command was asked for, to standard output."""
    _out().print(text, markup=False)


def failure(text: str) -> None:
    """Print why a command could not do what it was asked for."""
    from rich.text import Text

    _err().print(Text.assemble(("error:", "bold red"), f" {text}"))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], mark: int = -1
) -> None:
    """Print a table to standard output; numbers stand right, row number `mark` stands out."""
    from rich.markup import escape
    from rich.table import Table

    rows = list(rows)
    view = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = all(row[index][:1].isdigit() for row in rows)
        view.add_column(
            column, justify="right" if numbers else "left", overflow="fold", no_wrap=index == 0
        )
    for index, row in enumerate(rows):
        view.add_row(*(escape(cell) for cell in row), style="bold green" if index == mark else "")
    _out().print(view)


@contextmanager
def bar(text: str) -> Iterator[Advance]:
    """Show a progress bar while the block runs; nothing where no terminal is attached."""
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    hidden = bool(_quiet) or not _err().is_terminal
    with Progress(*columns, console=_err(), transient=True, disable=hidden) as progress:
        job = progress.add_task(escape(text), total=None, words="")

        def advance(done: int, total: int, words: str = "") -> None:
            progress.update(job, completed=done, total=total, words=escape(words))

        yield advance


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
