"""How work on versions reports its progress; silent unless a caller passes a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int, int], None]
"""Receives how many of the steps are done, and how many there are."""
Progress = Callable[[str], AbstractContextManager[Advance]]
"""Opens a progress bar with a title."""


@contextmanager
def silent(title: str) -> Iterator[Advance]:
    """Report nothing."""
    yield lambda done, total: None
