"""JSON bodies of predictions and of feedback, and query strings."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import corpus_files as files
from .corpus import CANARY, Case, Make, expects, form, picture, posted, request, sent_json

GOOD, MALFORMED, LARGE = 200, 422, 413
MAX_JSON_BYTES = 65_536
"""The largest JSON body."""
_TRACE = "0" * 32
POINTS: list[list[float]] = [
    [round(40 + 9 * np.cos(n) * (n + 1), 2), round(60 + 7 * np.sin(n) * (n + 1), 2), -0.01 * n]
    for n in range(21)
]
"""21 points in no particular place."""


def cases() -> Iterator[Case]:
    """Every case of JSON and of query strings."""
    for part in (
        _numbers,
        _shapes,
        _texts,
        _depths,
        _sizes,
        _odd,
        _feedback_bodies,
        _queries,
        _media,
    ):
        yield from part()


def landmarks(points: Any = None) -> bytes:
    """The body of a good request, or one with other points."""
    return json.dumps({"landmarks": POINTS if points is None else points}).encode()


def _bad(name: str, body: bytes) -> Case:
    return Case(f"JSON: {name}", lambda: sent_json(body), expects(MALFORMED), "malformed-request")


def _good(name: str, body: bytes, like: bytes | None = None) -> Case:
    known = landmarks() if like is None else like
    return Case(
        f"JSON: {name}", lambda: sent_json(body), expects(GOOD), like=lambda: sent_json(known)
    )


def _open(name: str, body: bytes, *statuses: int) -> Case:
    return Case(f"JSON: {name}", lambda: sent_json(body), expects(*(statuses or (GOOD, MALFORMED))))


def _first(value: str) -> bytes:
    """The points with another text in place of the first number."""
    return landmarks([[987654321.0, *POINTS[0][1:]], *POINTS[1:]]).replace(
        b"987654321.0", value.encode("utf-8", "surrogatepass")
    )


def _numbers() -> Iterator[Case]:
    for value in ("NaN", "Infinity", "-Infinity", "nan", "inf", "1e999", "-1e999"):
        yield _bad(f"number {value}", _first(value))
    for value in ("true", "false", "null", '"1.5"', '""', f'"{CANARY}"', "[1]", "{}", "[]"):
        yield _bad(f"{value} for a number", _first(value))
    for value in ("0x10", "01", "+1", "1.", ".5", "1e", "--1", "1_000", "1,5", "\uff11", "1n"):
        yield _bad(f"number written {value!a}", _first(value))
    for digits in (20, 309, 400, 5000, 60_000):
        yield _open(f"integer of {digits} digits", _first("9" * digits))
    yield _open("number of 60,000 decimals", _first("1." + "3" * 60_000))
    yield _open("exponent of 10,000 digits", _first("1e" + "9" * 10_000), MALFORMED)
    yield _open("tiny exponent", _first("1e-" + "9" * 1000))
    scaled = {"1e300": 1e300, "1e-300": 1e-300, "denormal": 1e-312, "1e15": 1e15}
    for name, factor in scaled.items():
        yield _open(f"points times {name}", landmarks([[x * factor for x in p] for p in POINTS]))
    yield _open("largest numbers", landmarks([[1.7e308, -1.7e308, 1.7e308]] * 10 + POINTS[:11]))
    yield _open("largest and smallest", landmarks([[1e308] * 3, [-1e308] * 3, *POINTS[:19]]))
    yield _bad("all points in one place", landmarks([[5.0, 5.0, 5.0]] * 21))
    yield _bad("all points zero", landmarks([[0.0, 0.0, 0.0]] * 21))
    yield _open("all points but one zero", landmarks([[0.0] * 3] * 20 + [[1.0, 1.0, 1.0]]))
    yield _open(
        "only depth differs", landmarks([[1.0, 1.0, float(n)] for n in range(21)]), MALFORMED
    )
    yield _open("smallest difference", landmarks([[0.0] * 3] * 20 + [[5e-324, 0.0, 0.0]]))
    yield _good("integers", landmarks([[round(x) for x in p] for p in POINTS]), _rounded())
    yield _open("minus zero", _first("-0.0"))


def _rounded() -> bytes:
    return landmarks([[float(round(x)) for x in point] for point in POINTS])


def _shapes() -> Iterator[Case]:
    for count in (0, 1, 20, 22, 42, 1000):
        yield _bad(f"{count} points", landmarks((POINTS * 50)[:count]))
    for count in (0, 1, 2, 4):
        yield _bad(f"{count} coordinates", landmarks([(p * 2)[:count] for p in POINTS]))
    yield _bad("one point of 2", landmarks([*POINTS[:20], [1.0, 2.0]]))
    yield _bad("63 numbers", landmarks([x for p in POINTS for x in p]))
    yield _bad("points as objects", landmarks([{"x": 1, "y": 2, "z": 3}] * 21))
    yield _bad("points as an object", landmarks({str(n): p for n, p in enumerate(POINTS)}))
    yield _bad("points as text", landmarks(json.dumps(POINTS)))
    for value in (None, True, 5, CANARY, [], {}):
        yield _bad(f"landmarks are {json.dumps(value)}", json.dumps({"landmarks": value}).encode())
    for value in ("null", "true", "5", f'"{CANARY}"', "[]", "{}"):
        yield _bad(f"the whole is {value[:12]}", value.encode())
    yield _good("the whole is the points", json.dumps(POINTS).encode())
    yield _bad("unknown key", json.dumps({"landmarks": POINTS, CANARY: 1}).encode())
    yield _bad("key of another case", json.dumps({"Landmarks": POINTS}).encode())
    yield _bad("__proto__", json.dumps({"landmarks": POINTS, "__proto__": {}}).encode())
    yield _bad("other key alone", json.dumps({CANARY: POINTS}).encode())
    yield _bad("key with a surrogate", b'{"\\ud800": 1, "landmarks": 5}')
    good, many = landmarks()[1:-1], b", ".join(b'"k%d": 1' % n for n in range(4000))
    yield _bad("4,000 unknown keys", b"{" + good + b", " + many + b"}")
    yield _open("key twice, good", b"{" + good + b", " + good + b"}")
    yield _open("key twice, the first bad", b'{"landmarks": 5, ' + good + b"}")
    yield _bad("key twice, the last bad", b"{" + good + b', "landmarks": 5}')


def _texts() -> Iterator[Case]:
    good = landmarks()
    yield _bad("empty", b"")
    yield _bad("one space", b" ")
    yield _bad("text", CANARY.encode())
    yield _bad("garbage behind", good + CANARY.encode())
    yield _bad("two documents", good + good)
    yield _bad("comma at the end", good[:-1] + b",}")
    yield _bad("comment", b"/* " + CANARY.encode() + b" */" + good)
    yield _bad("line comment", b"// " + CANARY.encode() + b"\n" + good)
    yield _bad("single quotes", good.replace(b'"', b"'"))
    yield _bad("key without quotes", good.replace(b'"', b""))
    yield _bad("cut off", good[:-5])
    yield _bad("UTF-16", good.decode().encode("utf-16"))
    yield _bad("UTF-16 without mark", good.decode().encode("utf-16-le"))
    yield _bad("UTF-32", good.decode().encode("utf-32"))
    yield _good("byte order mark", b"\xef\xbb\xbf" + good)
    yield _bad("no UTF-8 in a key", b'{"\xff\xfe": 1}')
    yield _bad("no UTF-8 outside", good + b"\xff")
    yield _bad("overlong UTF-8", b'{"\xc0\xaf": 1}')
    yield _bad("NUL behind", good + b"\0")
    yield _bad("NUL in a key", b'{"land\0marks": 1}')
    yield _bad("vertical tab", good.replace(b" ", b"\x0b", 1))
    yield _bad("no-break space", good.replace(b" ", b"\xc2\xa0", 1))
    yield _bad("BSON", b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0")
    yield _bad("gzip", b"\x1f\x8b\x08\0" + bytes(20))
    yield _bad("a form", form(files.plain())[:3000])
    yield _good("key with escapes", good.replace(b"landmarks", b"\\u006candmarks"))
    yield _good("line breaks and tabs", good.replace(b" ", b"\r\n\t"))


def _depths() -> Iterator[Case]:
    for depth in (10, 100, 200, 1000, 10_000, 32_000):
        yield _bad(f"arrays {depth} deep", b'{"landmarks": ' + b"[" * depth + b"]" * depth + b"}")
    for depth in (10, 1000, 10_000):
        yield _bad(f"objects {depth} deep", b'{"a":' * depth + b"1" + b"}" * depth)
    yield _bad("60,000 open brackets", b"[" * 60_000)
    yield _bad("12,000 open objects", b'{"a":' * 12_000)
    yield _bad("open brackets in an unknown key", b'{"' + CANARY.encode() + b'": ' + b"[" * 60_000)


def _sizes() -> Iterator[Case]:
    good = landmarks()
    yield _good("as long as may be", good.ljust(MAX_JSON_BYTES))
    for length in (MAX_JSON_BYTES + 1, 100_000, 1_000_001, 3_000_000):
        yield Case(
            f"JSON: {length} bytes",
            lambda length=length: sent_json(good.ljust(length)),
            expects(LARGE),
            "too-large",
        )
    yield Case(
        "JSON: 70,000 bytes in chunks",
        lambda: _in_chunks(good.ljust(70_000)),
        expects(LARGE),
        "too-large",
    )
    yield Case("JSON: in chunks of one byte", lambda: _in_chunks(good, 1), expects(GOOD))


def _in_chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    line = "POST /predict/gesture"
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    whole = request(line, headers)
    return whole.replace(b"Content-Length: 0\r\n", b"") + chunked


def _odd() -> Iterator[Case]:
    """Other ways to say that the body is JSON, or that it is not."""
    good = landmarks()
    for kind in ("Application/JSON", "application/json; charset=utf-8", "application/json;a=b"):
        yield Case(
            f"JSON: as {kind}",
            lambda kind=kind: posted(good, "/predict/gesture", kind),
            expects(GOOD),
            like=lambda: sent_json(good),
        )
    for kind in ("text/json", "application/x-json", "application/jsonp", "application/vnd.a+json"):
        yield Case(
            f"JSON: as {kind}",
            lambda kind=kind: posted(good, "/predict/gesture", kind),
            expects(415),
            "unsupported-media-type",
        )
    yield Case(
        "JSON: as UTF-7",
        lambda: posted(good, "/predict/gesture", "application/json; charset=utf-7"),
        expects(GOOD, 415, MALFORMED),
    )


def _media() -> Iterator[Case]:
    """A task without a JSON form, and addresses that take no body at all."""
    yield Case(
        "JSON: to a task of pictures alone",
        lambda: sent_json(landmarks(), "/predict/emotion"),
        expects(415),
        "unsupported-media-type",
    )
    yield Case(
        "JSON: to an unknown task",
        lambda: sent_json(landmarks(), f"/predict/{CANARY}"),
        expects(404),
        "unknown-task",
    )


def _feedback_bodies() -> Iterator[Case]:
    good = {"trace_id": _TRACE, "label": "like"}
    bodies: dict[str, Any] = {
        "no key": {},
        "no label": {"trace_id": _TRACE},
        "no trace_id": {"label": "like"},
        "unknown key": {**good, CANARY: 1},
        "label of a number": {**good, "label": 5},
        "label of a list": {**good, "label": ["like"]},
        "label of true": {**good, "label": True},
        "trace_id of a number": {**good, "trace_id": 5},
        "trace_id of null": {**good, "trace_id": None},
        "trace_id too short": {**good, "trace_id": "0" * 31},
        "trace_id too long": {**good, "trace_id": "0" * 33},
        "trace_id of capitals": {**good, "trace_id": "A" * 32},
        "trace_id with a line break": {**good, "trace_id": "0" * 32 + "\n"},
        "trace_id of other digits": {**good, "trace_id": "\u0660" * 32},
        "trace_id of SQL": {**good, "trace_id": "' OR 1=1 --" + CANARY},
        "a list": [good],
        "text": CANARY,
        "null": None,
    }
    for name, body in bodies.items():
        yield _feedback(name, json.dumps(body).encode(), MALFORMED, "malformed-request")
    raw = {
        "surrogate for a label": b'{"trace_id": "%s", "label": "\\ud800"}' % _TRACE.encode(),
        "no UTF-8": b'{"trace_id": "%s", "label": "\xff"}' % _TRACE.encode(),
        "NaN": b'{"trace_id": "%s", "label": NaN}' % _TRACE.encode(),
        "empty": b"",
        "cut off": json.dumps(good).encode()[:-1],
        "deep": b'{"trace_id": "%s", "label": ' % _TRACE.encode() + b"[" * 3000,
    }
    for name, text in raw.items():
        yield _feedback(name, text, MALFORMED, "malformed-request")
    yield _feedback("unknown answer", json.dumps(good).encode(), 404, "other-instance")
    for label in (CANARY, "", "\0", "' OR 1=1 --", "a" * 2000, "\U0001f600"):
        body = json.dumps({**good, "label": label}).encode()
        yield _feedback(f"label {label[:8]!a}", body, 404, "other-instance")
    yield _feedback("too long", json.dumps(good).encode().ljust(70_000), LARGE, "too-large")
    yield Case(
        "feedback: as a form",
        lambda: posted(form(b"1"), "/feedback"),
        expects(415),
        "unsupported-media-type",
    )


def _feedback(name: str, body: bytes, status: int, slug: str) -> Case:
    return Case(f"feedback: {name}", lambda: sent_json(body, "/feedback"), expects(status), slug)


def _queries() -> Iterator[Case]:
    unknown = {
        "an unknown task": CANARY,
        "of another case": "Gesture",
        "with a space": "gesture%20",
        "with NUL": "gesture%00",
        "a path": "../emotion",
        "no UTF-8": "%ff%fe",
        "broken percent": "%zz%",
        "letters": "%F0%9F%98%80",
        "a dunder": "__init__",
        "5 kB": CANARY * 450,
        "a list": "gesture,emotion",
        "JSON": "%7B%22a%22%3A1%7D",
        "SQL": "'%20OR%201=1--",
    }
    for name, value in unknown.items():
        yield _query(f"task is {name}", f"task={value}", 404)
    for name, text in {"other parameters": f"{CANARY}=1&b", "an empty query": ""}.items():
        yield _query(name, text, GOOD)
    yield _query("empty task", "task=", GOOD, 404, MALFORMED)
    yield _query("task twice", "task=gesture&task=emotion", GOOD, MALFORMED)
    yield _query("task twice, one unknown", f"task=gesture&task={CANARY}", GOOD, 404, MALFORMED)
    yield _query("task of another case", "TASK=emotion", GOOD)
    yield _query("1,000 parameters", "&".join(f"a{n}=1" for n in range(1000)), GOOD, 422)
    yield _query("second task", "task=emotion", GOOD)
    yield _query("encoded task", "task=%65motion", GOOD)
    yield _query("brackets", "task[]=emotion&task[a]=1", GOOD)


def _query(name: str, text: str, *statuses: int) -> Case:
    make: Make = lambda: picture(files.plain(), f"/predict?{text}")  # noqa: E731
    slug = "unknown-task" if statuses == (404,) else ""
    return Case(f"query: {name}", make, expects(*statuses), slug)
