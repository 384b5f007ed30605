"""Waits until something holds; shared by tests whose other side is a thread or a process."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 600.0
"""Seconds after which something counts as hung. Nothing that works takes so long, on a machine ten
times slower either: no test may fail by a clock that only shows how busy the machine is."""


def until(condition: Callable[[], Any], what: str | Callable[[], str] = "") -> Any:
    """Poll until the condition holds and return what it gave; fail with `what` if it hangs."""
    end = time.monotonic() + PATIENCE
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            reason = what() if callable(what) else what
            raise AssertionError(f"not within {PATIENCE:g} s: {reason}")
        time.sleep(0.01)
