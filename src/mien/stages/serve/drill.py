"""Faults on demand, for fire drills: heeded only where MIEN_DRILL is set, which it never is by
itself. See `mien drill`.
"""

import time

HEADER = "x-mien-drill"
SECONDS = 1.0
"""How long the model pretends to need."""


class DrillError(RuntimeError):
    """The failure that a drill asked for."""


def obey(order: str | None) -> None:
    """Slow the present request down (`slow`) or make it fail (`error`).

    Raises:
        DrillError: it was told to fail.
    """
    if order == "slow":
        time.sleep(SECONDS)
    elif order == "error":
        raise DrillError("a drill asked for this failure")
