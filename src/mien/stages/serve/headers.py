"""The headers of every response: the trace_id of its request, and security headers."""

import secrets
import time

Headers = list[tuple[bytes, bytes]]
SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # The pages load nothing from other sites; browsers enforce it.
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]


def new_trace_id() -> str:
    """32 hexadecimal digits, the last 20 of them random.

    The first 12 are the time, so that the index of the prediction log grows at its end only.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def response_headers(trace_id: str) -> Headers:
    """The headers of every response."""
    return [(b"x-trace-id", trace_id.encode()), *SECURITY_HEADERS]
