"""Waits until something holds; shared by tests whose other side is a thread or a process."""

import time
from collections.abc import Callable
from typing import Any


def until(
    condition: Callable[[], Any], seconds: float = 60, what: str | Callable[[], str] = ""
) -> Any:
    """Poll until the condition holds and return what it gave; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {seconds:g} s: {told}")
        time.sleep(0.01)
