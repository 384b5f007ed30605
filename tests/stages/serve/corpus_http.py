"""HTTP itself, over a raw socket: what cannot be parsed, what is too large, what is rare but right.

Statuses are those of RFC 9112 and RFC 9110; several stand together only where these leave it open.
"""

from collections.abc import Callable, Iterator

from . import corpus_files as files
from .corpus import CANARY, Case, expects, form, posted, request
from .corpus_json import landmarks

GOOD, BAD, HEAD_LARGE, LARGE = 200, 400, 431, 413
HOST = b"Host: mien.test\r\n"
CLOSE = b"Connection: close\r\n"
MARK = CANARY.encode()
JSON = b"Content-Type: application/json\r\n"


def cases() -> Iterator[Case]:
    """Every case of HTTP."""
    for part in (_lines, _targets, _methods, _headers, _protocols):
        yield from part()


def bad(name: str, sent: bytes) -> Case:
    """What cannot be parsed."""
    return Case(f"HTTP: {name}", lambda: sent, expects(BAD), "bad-http")


def good(name: str, sent: bytes) -> Case:
    """What is rare, but right."""
    return Case(f"HTTP: {name}", lambda: sent, expects(GOOD))


def either(name: str, sent: bytes, *statuses: int, answers: int = 1, slow: bool = False) -> Case:
    """What has one of some statuses."""
    return Case(f"HTTP: {name}", lambda: sent, expects(*statuses), answers=answers, slow=slow)


def get(target: str = "/livez", extra: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """A request by hand, with `extra` lines among its headers."""
    line = b"GET " + target.encode("latin-1") + b" " + version + b"\r\n"
    return line + HOST + CLOSE + b"X-Note: " + MARK + b"\r\n" + extra + b"\r\n"


def post(headers: bytes, body: bytes, path: bytes = b"/predict/gesture") -> bytes:
    """A request with a JSON body by hand; its length is among the `headers`, or is not."""
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + JSON + headers + b"\r\n" + body


def _lines() -> Iterator[Case]:
    yield bad("no request at all", MARK + b"\r\n\r\n")
    yield bad("binary", bytes(range(128, 250)) + MARK + b"\r\n\r\n")
    yield bad("NUL bytes", bytes(100) + b"\r\n\r\n")
    yield either("no version", b"GET /livez\r\n" + HOST + b"\r\n", GOOD, BAD)
    yield either("HTTP/0.9", b"GET /livez\r\n\r\n", GOOD, BAD)
    yield bad("another protocol", get(version=b"FTP/1.1"))
    yield bad("HTTP without number", get(version=b"HTTP/"))
    yield bad("version of letters", get(version=b"HTTP/a.b"))
    yield bad("lower-case version", get(version=b"http/1.1"))
    yield bad("words behind the version", get(version=b"HTTP/1.1 " + MARK))
    yield either("HTTP/1.2", get(version=b"HTTP/1.2"), GOOD, BAD)
    yield either("HTTP/2.0 in words", get(version=b"HTTP/2.0"), GOOD, BAD)
    yield either("HTTP/3.0 in words", get(version=b"HTTP/3.0"), BAD)
    yield good("HTTP/1.0", get(version=b"HTTP/1.0"))
    yield good("HTTP/1.0 without host", b"GET /livez HTTP/1.0\r\n\r\n")
    yield good("line break before it", b"\r\n" + get())
    yield either("100 line breaks before it", b"\r\n" * 100 + get(), GOOD, BAD)
    yield either("two spaces", get().replace(b"GET ", b"GET  ", 1), GOOD, BAD)
    yield bad("tab for a space", get().replace(b"GET ", b"GET\t", 1))
    yield bad("space before it", b" " + get())
    yield either("lines of LF", get().replace(b"\r\n", b"\n"), GOOD, BAD)
    yield bad("lines of CR", get().replace(b"\r\n", b"\r") + b"\r\n\r\n")


def _targets() -> Iterator[Case]:
    found = {
        "absolute form": "http://mien.test/livez",
        "absolute form of another host": "http://example.org/livez",
        "a query": f"/livez?{CANARY}=1",
        "a question mark": "/livez?",
        "encoded letters": "/%6civez",
        "slash at the end": "/livez/",
    }
    for name, target in found.items():
        yield good(name, get(target))
    missing = {
        "double slash": "//livez",
        "two slashes at the end": "/livez//",
        "a dot": "/./livez",
        "no UTF-8": "/%ff%fe" + CANARY,
        "overlong UTF-8": "/static/%c0%ae%c0%ae/" + CANARY,
        "NUL in a file": "/static/index.html%00" + CANARY,
        "NUL": "/%00",
        "line breaks": "/%0d%0aSet-Cookie:%20" + CANARY,
        "dots": "/static/../app.py",
        "encoded dots": "/static/%2e%2e/app.py",
        "encoded dots and slash": "/static/..%2f..%2fapp.py",
        "twice encoded dots": "/static/%252e%252e/app.py",
        "backslashes": "/static/..%5c..%5capp.py",
        "absolute file": "/static//etc/passwd",
        "the folder itself": "/static/",
        "the folder": "/static",
        "the root above": "/../../../etc/passwd",
        "10 kB": "/" + CANARY * 900,
        "a file of 10 kB": "/static/" + "a" * 10_000,
        "1,000 folders": "/static/" + "a/" * 1000,
        "broken percent": "/%zz" + CANARY,
        "DriftWindows' device": "/static/CON",
        "unknown sample": f"/sample/{CANARY}",
        "unknown problem": f"/errors/{CANARY}",
        "tricks of sample": "/sample/..%2f..%2f",
        "emoji": "/%F0%9F%98%80",
    }
    for name, target in missing.items():
        yield either(f"target of {name}", get(target), 404, BAD)
    yield either("target of an encoded slash", get("/predict%2fgesture"), 404, 405, BAD)
    yield either("target of bare bytes", get("/\xff\xfe" + CANARY), 404, BAD)
    yield either("target with a bare quote", get(f'/"<{CANARY}>'), 404, BAD)
    yield either("target with a fragment", get(f"/livez#{CANARY}"), GOOD, 404, BAD)
    yield either("target *", get("*"), 404, BAD)
    yield either("target without a slash", get("livez"), 404, BAD)
    yield either("target of another scheme", get(f"gopher://{CANARY}/livez"), GOOD, 404, BAD)
    yield either("target of a broken address", get("http://[::1"), 404, BAD)
    yield either("target of a wild port", get("http://a:99999999/livez"), GOOD, 404, BAD)
    yield either("target with a space", get(f"/livez {CANARY}"), BAD)
    yield either("target of 20 kB", get("/" + CANARY * 2000), HEAD_LARGE)
    yield either("query of 5 kB", get("/livez?" + CANARY * 450), GOOD)


def _methods() -> Iterator[Case]:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/predict", "/predict/gesture", "/feedback"):
            sent = request(f"{method} {path}")
            slug = "" if method == "HEAD" else "method-not-allowed"
            name = f"HTTP: {method} {path}"
            yield Case(name, lambda sent=sent: sent, expects(405), slug, check=_bare(method))
    for path in ("/health", "/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json"):
        name, sent = f"HTTP: HEAD {path}", request(f"HEAD {path}")
        yield Case(name, lambda sent=sent: sent, expects(GOOD), check=_bare("HEAD"))
        yield either(f"POST {path}", request(f"POST {path}", body=MARK), 405)
    for path in ("/sample/gesture", "/errors/too-large", "/static/docs.html"):
        yield either(f"HEAD {path}", request(f"HEAD {path}"), GOOD, 404)
    yield either("HEAD of nothing", request(f"HEAD /{CANARY}"), 404)
    yield either("OPTIONS *", request("OPTIONS *"), GOOD, 204, 404, 405, BAD)
    yield either("CONNECT", request(f"CONNECT {CANARY}:443"), 404, 405, BAD)
    yield either("CONNECT of a path", request("CONNECT /predict"), 405, BAD)
    for method in ("FROB", CANARY, "post", "Get", "PROPFIND", "M-SEARCH", "SOURCE", "QUERY"):
        yield either(f"method {method[:8]}", request(f"{method} /predict"), 405, BAD)
    yield bad("method of 10 kB", MARK * 900 + b" /livez HTTP/1.1\r\n\r\n")
    yield bad("method with a NUL", b"GE\0T /livez HTTP/1.1\r\n" + HOST + b"\r\n")
    yield good("GET with a body", request("GET /livez", {"Content-Length": "11"}, MARK))
    yield either(
        "method by header", posted(landmarks(), kind="text/plain", **_override("DELETE")), 415
    )
    yield either(
        "drill that is not on", posted(form(files.plain()), **{"X-Mien-Fault": "error"}), GOOD
    )


def _override(method: str) -> dict[str, str]:
    return {"X-HTTP-Method-Override": method, "X-Forwarded-For": CANARY}


def _bare(method: str) -> Callable[[str], str]:
    """A check that an answer to HEAD has no body."""

    def look(received: str) -> str:
        body = received.partition("\r\n\r\n")[2]
        return f"HEAD was sent a body: {body[:50]!r}" if method == "HEAD" and body else ""

    return look


def _headers() -> Iterator[Case]:
    yield bad("no host", b"GET /livez HTTP/1.1\r\n" + CLOSE + b"\r\n")
    yield either("two hosts", get(extra=b"Host: " + MARK + b"\r\n"), BAD, GOOD)
    yield either("empty host", get().replace(b"mien.test", b"", 1), GOOD, BAD)
    yield either("host of nonsense", get().replace(b"mien.test", b"a b/" + MARK, 1), GOOD, BAD)
    broken = {
        "NUL in a value": b"X-A: a\0" + MARK + b"\r\n",
        "NUL in a name": b"X\0A: a\r\n",
        "no colon": MARK + b"\r\n",
        "no name": b": " + MARK + b"\r\n",
        "space before the colon": b"X-A : a\r\n",
        "space in a name": b"X A: a\r\n",
        "bytes in a name": b"X-\xff: a\r\n",
        "CR in a value": b"X-A: a\rX-B: b\r\n",
        "control character in a name": b"X-\x01: a\r\n",
        "brackets in a name": b"X(A): a\r\n",
    }
    for name, header in broken.items():
        yield bad(name, get(extra=header))
    odd = {
        "control character in a value": b"X-A: a\x01\r\n",
        "DEL in a value": b"X-A: a\x7f\r\n",
        "LF alone": b"X-A: a\nX-B: b\r\n",
        "folded header": b"X-A: a\r\n " + MARK + b"\r\n",
        "fold before all": b" X-A: a\r\n",
        "connection of nonsense": b"Connection: " + MARK + b"\r\n",
        "range": b"Range: bytes=0-1\r\n",
        "range of nonsense": b"Range: bytes=9-1,-," + MARK + b"\r\n",
    }
    for name, header in odd.items():
        yield either(name, get(extra=header), GOOD, BAD)
    fine = {
        "bytes in a value": b"X-A: \xff\xfe\r\n",
        "no value": b"X-A:\r\n",
        "spaces around a value": b"X-A: \t a \t \r\n",
        "the same header 100 times": b"X-A: a\r\n" * 100,
        "cookies": b"Cookie: " + MARK + b"=1\r\n",
        "a trace of others": b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00\r\n",
        "a trace_id of its own": b"X-Trace-Id: " + MARK + b"\r\n",
        "basic authorization": b"Authorization: Basic " + MARK + b"\r\n",
        "Accept of nonsense": b"Accept: " + MARK + b";q=9\r\n",
        "Accept-Encoding": b"Accept-Encoding: gzip, br, zstd\r\n",
        "origin": b"Origin: https://" + MARK + b".test\r\n",
        "a proxy's": b"X-Forwarded-Proto: " + MARK + b"\r\nForwarded: for=_" + MARK + b"\r\n",
    }
    for name, header in fine.items():
        yield good(name, get(extra=header))
    for path in ("/static/docs.html", "/"):
        for value in (
            "bytes=0-9",
            "bytes=5-",
            "bytes=-5",
            "bytes=99999999-",
            "bytes=0-0,2-3",
            "a=b",
        ):
            sent = get(path, extra=b"Range: " + value.encode() + b"\r\n")
            yield either(f"{path} with range {value}", sent, GOOD, 206, 400, 404, 416)
    dates = get("/", extra=b"If-Modified-Since: " + MARK + b"\r\nIf-None-Match: *\r\n")
    yield either("dates of nonsense", dates, GOOD, 304)


def _protocols() -> Iterator[Case]:
    yield bad("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500)
    yield either("TLS", hello, BAD)
    yield either("SSH", b"SSH-2.0-" + MARK + b"\r\n\r\n", BAD)
    yield either("SMTP", b"EHLO " + MARK + b"\r\n\r\n", BAD)
    yield either("RTSP", b"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n", BAD, 404)
    yield either("Redis", b"*1\r\n$4\r\nPING\r\n\r\n", BAD)
    yield either("SOCKS", b"\x05\x01\0\r\n\r\n", BAD)
    yield either("PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n" + get(), BAD)
    yield either("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", BAD)
    websocket = (
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    yield either("a websocket", _upgraded("/livez", websocket), GOOD, BAD, 426)
    yield either("a websocket to nothing", _upgraded(f"/{CANARY}", websocket), 404, BAD, 426)
    settings = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    yield either("h2c", _upgraded("/livez", settings), GOOD)
    yield either(
        "an unknown upgrade", _upgraded("/livez", b"Upgrade: " + MARK + b"\r\n"), GOOD, BAD
    )
    size = b"Content-Length: %d\r\n" % len(landmarks())
    # Java's own client asks for h2c with each first request.
    java = post(settings + size, landmarks()).replace(CLOSE, _UPGRADE)
    yield Case("HTTP: h2c with a body", lambda: java, expects(GOOD))


_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\n"


def _upgraded(target: str, headers: bytes) -> bytes:
    return get(target, extra=headers).replace(CLOSE, _UPGRADE)
