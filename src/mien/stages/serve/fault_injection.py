"""Injects faults into requests, for fire drills (`mien drill`).

Active only where MIEN_FAULT_INJECTION is set, which it is not by default.
"""

import time

HEADER = "x-mien-fault"
SLOW_S = 1.0
"""How long a slowed request sleeps."""


class InjectedFaultError(RuntimeError):
    """The failure that a fire drill asked for."""


def inject_fault(fault: str | None) -> None:
    """Slow the present request down (`slow`) or make it fail (`error`).

    Raises:
        InjectedFaultError: the fault is `error`.
    """
    if fault == "slow":
        time.sleep(SLOW_S)
    elif fault == "error":
        raise InjectedFaultError("a fire drill asked for this failure")
