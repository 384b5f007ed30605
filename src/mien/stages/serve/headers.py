"""The headers of every response: the trace_id of its request, and security headers."""

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


def response_headers(trace_id: str) -> Headers:
    """The headers of every response."""
    return [(b"x-trace-id", trace_id.encode()), *SECURITY_HEADERS]
