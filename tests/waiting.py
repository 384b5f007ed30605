"""Waits until something holds; shared by tests whose other side is a thread or a process."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0
"""Seconds after which an answer, a state or the end of a short command counts as missing. Nothing
that works takes so long, on a machine ten times slower either: no test may fail by a clock that
only shows how busy the machine is. A failing test costs no more than this."""
TRAINING_PATIENCE = 1800.0
"""The same for a process that installs packages, trains, runs tests of its own or starts Ray."""


def until(
    condition: Callable[[], Any], what: str | Callable[[], str] = "", patience: float = PATIENCE
) -> Any:
    """Poll until the condition holds and return what it gave; fail with `what` if it hangs.

    The pauses grow: a question to a server or a database may cost more than what is waited for.
    """
    end, pause = time.monotonic() + patience, 0.005
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            reason = what() if callable(what) else what
            raise AssertionError(f"not within {patience:g} s: {reason}")
        time.sleep(pause)
        pause = min(1.3 * pause, 0.2)
