"""How long a request is: heads, lengths, chunks, expectations, several at once, and ends that
never come.

Statuses are those of RFC 9112 and RFC 9110; several stand together only where these leave it open.
"""

from collections.abc import Iterator

from . import corpus_files as files
from .corpus import CANARY, CLOSED, Case, expects, picture, request
from .corpus_http import (
    BAD,
    CLOSE,
    GOOD,
    HEAD_LARGE,
    JSON,
    LARGE,
    MARK,
    bad,
    either,
    get,
    good,
    post,
)
from .corpus_json import landmarks

_BODY = landmarks()
_SIZE = b"Content-Length: %d\r\n" % len(_BODY)
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_HEX = b"%x" % len(_BODY)
_REST = b"\r\n" + _BODY + b"\r\n0\r\n\r\n"
_CHUNKS = _HEX + _REST
_BOUNDED = (GOOD, BAD, LARGE, HEAD_LARGE, CLOSED)


def cases() -> Iterator[Case]:
    """Every case of lengths."""
    for part in (
        _heads,
        _lengths,
        _large_lengths,
        _chunks,
        _trailers,
        _bad_chunks,
        _codings,
        _expectations,
        _pipelines,
        _leaving,
        _slow,
    ):
        yield from part()


def _large(name: str, sent: bytes) -> Case:
    return Case(f"HTTP: {name}", lambda: sent, expects(LARGE), "too-large")


def _heads() -> Iterator[Case]:
    for name, header in {
        "header of 20 kB": b"X-A: " + MARK * 2000 + b"\r\n",
        "header of 1 MB": b"X-A: " + MARK * 90_000 + b"\r\n",
        "header name of 20 kB": b"X-" + b"a" * 20_000 + b": a\r\n",
        "2,000 headers": b"".join(b"X-%d: %s\r\n" % (n, MARK) for n in range(2000)),
        "cookie of 20 kB": b"Cookie: a=" + b"b" * 20_000 + b"\r\n",
    }.items():
        sent = get(extra=header)
        yield Case(
            f"HTTP: {name}", lambda sent=sent: sent, expects(HEAD_LARGE), "headers-too-large"
        )
    yield either("2,000 tiny headers", get(extra=b"a:b\r\n" * 2000), GOOD, BAD, HEAD_LARGE)
    yield good("head of 15 kB", get(extra=b"X-A: " + b"a" * 15_000 + b"\r\n"))
    yield either("20 kB without a line", b"G" * 20_000, BAD, HEAD_LARGE)
    yield either("20 kB of a target", b"GET /" + b"a" * 20_000, HEAD_LARGE)
    large = post(b"X-A: " + MARK * 2000 + b"\r\nContent-Length: 2\r\n", b"{}")
    yield either("large head of a POST", large, HEAD_LARGE)


def _lengths() -> Iterator[Case]:
    yield good("one length", post(_SIZE, _BODY))
    yield either("two equal lengths", post(_SIZE * 2, _BODY), GOOD, BAD)
    yield bad("two unequal lengths", post(_SIZE + b"Content-Length: 5\r\n", _BODY))
    yield bad("two unequal lengths, turned", post(b"Content-Length: 5\r\n" + _SIZE, _BODY))
    signs = ("-1", "+5", "0x10", "1e3", "5 5", "5;", "", "five", "5,6", "\u0665", "1_0", "5.0")
    for value in signs:
        line = b"Content-Length: " + value.encode() + b"\r\n"
        yield bad(f"length {value!a}", post(line, _BODY))
    listed = b"Content-Length: %d, %d\r\n" % (len(_BODY), len(_BODY))
    yield either("length in a list", post(listed, _BODY), GOOD, BAD)
    yield good("length with spaces", post(b"Content-Length:   %d  \r\n" % len(_BODY), _BODY))
    yield good("length with noughts", post(b"Content-Length: 000%d\r\n" % len(_BODY), _BODY))
    yield bad("length and chunks", post(_SIZE + _CHUNKED, b"0\r\n\r\n"))
    yield bad("chunks and length", post(_CHUNKED + _SIZE, b"0\r\n\r\n"))
    yield either("no length", post(b"", b""), 422, 411)


def _large_lengths() -> Iterator[Case]:
    """A length beyond the limit is refused before the body comes: none is sent here."""
    for value in (4_000_001, 10**9, 10**15, 2**63 - 1):
        yield _large(f"length {value}", post(b"Content-Length: %d\r\n" % value, b""))
    for value in (2**64, 10**30, 10**400):
        sent = post(b"Content-Length: %d\r\n" % value, b"")
        yield either(f"length of {len(str(value))} digits", sent, BAD, LARGE)
    huge = b"Content-Length: 999999999\r\n"
    typed = post(huge, b"").replace(JSON, b"Content-Type: a/b\r\n")
    yield _large("large length of another type", typed)
    yield either("large length to nothing", post(huge, b"", b"/" + MARK), 404)
    yield either("large length of a GET", get(extra=huge), GOOD, LARGE)
    yield either("6 MB that are sent all the same", picture(bytes(6_000_000)), LARGE, CLOSED)


def _chunks() -> Iterator[Case]:
    yield good("chunks", post(_CHUNKED, _CHUNKS))
    yield good("chunk size of capitals", post(_CHUNKED, _HEX.upper() + _REST))
    yield good("chunk size with noughts", post(_CHUNKED, b"0000" + _CHUNKS))
    yield good("chunk extension", post(_CHUNKED, _HEX + b";a=b" + _REST))
    quoted = post(_CHUNKED, _HEX + b';a="b c"' + _REST)
    yield either("chunk extension in quotes", quoted, GOOD, BAD)
    long = post(_CHUNKED, _HEX + b";" + MARK * 9000 + _REST)
    yield either("chunk extension of 100 kB", long, *_BOUNDED)
    yield either("chunks of LF", post(_CHUNKED, _CHUNKS.replace(b"\r\n", b"\n")), GOOD, BAD)
    tiny = b"1\r\n \r\n" * 10_000 + _CHUNKS
    yield either("10,000 chunks of one byte", post(_CHUNKED, tiny), GOOD)
    old = post(_CHUNKED, _CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    yield either("chunks of HTTP/1.0", old, GOOD, BAD, 411, 422)
    head = picture(b"").partition(b"Content-Length")[0] + _CHUNKED + CLOSE + b"\r\n"
    yield either("chunk of 6 MB", head + b"5b8d80\r\n" + bytes(6_000_000), LARGE, CLOSED)


def _trailers() -> Iterator[Case]:
    start = _CHUNKS[:-2]
    yield good("trailer", post(_CHUNKED, start + b"X-T: " + MARK + b"\r\n\r\n"))
    long = start + b"X-T: " + MARK * 9000 + b"\r\n\r\n"
    yield either("trailer of 100 kB", post(_CHUNKED, long), *_BOUNDED)
    length = start + b"Content-Length: 5\r\n\r\n"
    yield either("trailer that says a length", post(_CHUNKED, length), GOOD, BAD)
    yield either("trailer that is broken", post(_CHUNKED, start + MARK + b"\r\n\r\n"), GOOD, BAD)


def _bad_chunks() -> Iterator[Case]:
    broken = {
        "of letters": b"zz\r\n" + _BODY,
        "negative": b"-5\r\n" + _BODY,
        "with a sign": b"+5\r\n" + _BODY,
        "with 0x": b"0x5\r\n" + _BODY,
        "missing": b"\r\n" + _BODY,
        "too long a number": b"F" * 17 + b"1\r\n" + _BODY,
        "of 1,000 digits": b"1" * 1000 + b"\r\n" + _BODY,
        "with a space": b"5 5\r\n" + _BODY,
        "too small": b"5\r\n" + _BODY + b"\r\n0\r\n\r\n",
        "ended by nothing": _HEX + b"\r\n" + _BODY + b"0\r\n\r\n",
    }
    for name, chunks in broken.items():
        yield bad(f"chunk size {name}", post(_CHUNKED, chunks))


def _codings() -> Iterator[Case]:
    unknown = ("xchunked", "gzip", "identity", "chunked, identity", "chunked, chunked", CANARY, "")
    for value in unknown:
        sent = post(b"Transfer-Encoding: " + value.encode() + b"\r\n", _CHUNKS)
        yield either(f"Transfer-Encoding {value[:18]!a}", sent, BAD, 411, 415, 422)
    gzip = post(b"Transfer-Encoding: gzip, chunked\r\n", _CHUNKS)
    yield either("Transfer-Encoding gzip, chunked", gzip, GOOD, BAD, 415, 422)
    yield good("Transfer-Encoding Chunked", post(b"Transfer-Encoding: Chunked\r\n", _CHUNKS))
    yield either("two Transfer-Encodings", post(_CHUNKED * 2, _CHUNKS), GOOD, BAD)
    tabbed = post(b"Transfer-Encoding:\tchunked\r\n", _CHUNKS)
    yield either("tab before chunked", tabbed, GOOD, BAD)
    vertical = post(b"Transfer-Encoding: \x0bchunked\r\n", _CHUNKS)
    yield either("vertical tab before chunked", vertical, BAD, 411, 422)


def _expectations() -> Iterator[Case]:
    def stops(received: str) -> str:
        return "100 Continue for a body that is refused" if " 100 " in received[:20] else ""

    expect = b"Expect: 100-continue\r\n"
    yield good("Expect before the body", post(expect + _SIZE, _BODY))
    large = post(expect + b"Content-Length: 99999999\r\n", b"")
    yield Case(
        "HTTP: Expect of a large body", lambda: large, expects(LARGE), "too-large", check=stops
    )
    nowhere = post(expect + _SIZE, b"", b"/" + MARK)
    yield Case("HTTP: Expect to nothing", lambda: nowhere, expects(404), "not-found", check=stops)
    unknown = post(b"Expect: " + MARK + b"\r\n" + _SIZE, _BODY)
    yield either("an unknown Expect", unknown, GOOD, 417)
    yield either("Expect of a GET", get(extra=expect), GOOD)


def _pipelines() -> Iterator[Case]:
    one, last = request("GET /livez", close=False), request("GET /livez")
    yield either("three at once", one * 2 + last, GOOD, answers=3)
    yield either("20 at once", one * 19 + last, GOOD, answers=20)
    whole = post(_SIZE, _BODY).replace(CLOSE, b"")
    yield either("predictions at once", whole * 3 + last, GOOD, answers=4)
    yield either("a request behind close", last + last, GOOD)
    refused = request(f"POST /{CANARY}", body=MARK, close=False)
    yield either("a request behind a refused one", refused + last, GOOD, answers=2)
    smuggled = b"5\r\nGET /" + MARK
    both = post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", smuggled)
    yield bad("a request within a body", both)


def _leaving() -> Iterator[Case]:
    left: dict[str, bytes] = {
        "nothing": b"",
        "half a line": b"GET /li",
        "half a head": get()[:-2],
        "no body": post(_SIZE, b""),
        "half a body": post(_SIZE, _BODY[:50]),
        "half a form": picture(files.plain())[:2000],
        "half a chunk": post(_CHUNKED, b"ff\r\n" + MARK),
        "no last chunk": post(_CHUNKED, b"b\r\n" + MARK + b"\r\n"),
    }
    for name, sent in left.items():
        yield Case(
            f"HTTP: leaves after {name}",
            lambda sent=sent: sent,
            expects(CLOSED, BAD, 408),
            leaves=True,
        )


def _slow() -> Iterator[Case]:
    """What never ends: the server must end it."""
    heads = {
        "a connection that says nothing": b"",
        "a head that does not end": get()[:-2],
        "a line that does not end": b"GET /livez",
    }
    for name, sent in heads.items():
        yield either(name, sent, 408, CLOSED, slow=True)
    bodies = {
        "a body that does not come": post(_SIZE, b""),
        "a body that stops": post(_SIZE, _BODY[:9]),
        "a form that stops": picture(files.plain())[:2000],
        "a chunk that stops": post(_CHUNKED, b"ff\r\n" + MARK),
    }
    for name, sent in bodies.items():
        yield Case(
            f"HTTP: {name}", lambda sent=sent: sent, expects(408), "request-timeout", slow=True
        )
    largest = post(_CHUNKED, b"7fffffffffffffff\r\n" + _BODY)
    yield either("largest chunk size", largest, LARGE, BAD, 408, slow=True)
