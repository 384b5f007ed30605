"""Names of requests: when one arrived, at which instance of the server, and a random part."""

import secrets
import time

_INSTANCE = secrets.token_hex(4)
"""One process, which has a prediction log of its own unless its file outlives the process or
servers share a database."""


def new_trace_id() -> str:
    """32 hexadecimal digits: 12 of the time, 8 of the instance, 12 random ones.

    The time comes first, so that the index of the prediction log grows at its end only.
    """
    return f"{time.time_ns() // 1_000_000:012x}{_INSTANCE}{secrets.token_hex(6)}"


def age_s(trace_id: str) -> float:
    """Seconds since the request arrived, by the clocks of both machines."""
    return abs(time.time() - int(trace_id[:12], 16) / 1000)


def is_of_this_instance(trace_id: str) -> bool:
    """Whether this process made the name."""
    return trace_id[12:20] == _INSTANCE
