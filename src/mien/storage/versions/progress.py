"""How long work on versions reports its progress; silent unless a caller passes a bar."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Receives the number of finished steps."""

    def __call__(self, count: int, total: int, /) -> None: ...


Progress = Callable[[str], AbstractContextManager[Advance]]
"""Opens a progress bar with a title."""


@contextmanager
def silent(title: str) -> Iterator[Advance]:
    """Report nothing."""
    yield lambda count, total: None
