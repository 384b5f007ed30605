"""What every answer carries: the trace_id of its request, and what it tells browsers not to do."""

import secrets
import time

Headers = list[tuple[bytes, bytes]]
_SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # The pages load nothing from elsewhere; browsers then refuse it, should one ever try.
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]


def new_trace() -> str:
    """32 hexadecimal digits, the last 20 of them by chance.

    The first are the time, so that the prediction log's index grows at its end instead of
    everywhere.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def headers(trace_id: str) -> Headers:
    """The headers of every answer."""
    return [(b"x-trace-id", trace_id.encode()), *_SAFE]
