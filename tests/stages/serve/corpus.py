"""The corpus of bad and odd requests: one case each, its bytes, and what is expected.

Knows HTTP just well enough to write a request and to read answers from a socket. The cases are in
the files beside this one; `test_corpus.py` sends them.
"""

import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from waiting import PATIENCE

CANARY = "Qwzcanary7x"
"""Stands in the file names, keys, headers and bodies of the cases; neither an answer nor the log
may hold it."""
CLOSED = 0
"""Stands among expected statuses for a connection that is closed without an answer."""
MEGABYTE = 1_000_000
LIMITS = {"MIEN_MAX_UPLOAD_MB": "4", "MIEN_MAX_MEGAPIXELS": "4"}
"""What the corpus is made for: small limits, so that their edges are quickly sent."""
MAX_BYTES, MAX_PIXELS, MAX_SIDE = 4 * MEGABYTE, 4 * MEGABYTE, 65_535
BOUNDARY = "corpusboundary"

Make = Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    """One thing that somebody may send."""

    name: str
    make: Make
    """Makes every byte that is sent, the request line included."""
    statuses: frozenset[int]
    """Any of these is right: more than one only where the standards leave it open."""
    problem: str = ""
    """The slug of the problem document; empty for any."""
    answers: int = 1
    """How many answers there must be on the connection."""
    leaves: bool = False
    """Whether the client ends the connection after its last byte."""
    like: Make | None = None
    """A request whose answer must be the same but for its trace_id."""
    slow: bool = False
    """Whether the server has to wait for its own deadline; such cases are sent all at once."""
    check: Callable[[str], str] = field(default=lambda _: "")
    """Looks at the text of the answers: a complaint, or nothing."""


@dataclass(frozen=True)
class InferenceResult:
    """One answer as it was received."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON values."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Exchange:
    """What came of a case."""

    method: str
    answers: list[InferenceResult]
    """The final ones; 100 Continue is none."""
    received: bytes
    """All that was received."""


def expects(*statuses: int) -> frozenset[int]:
    """The statuses of a case."""
    return frozenset(statuses)


def request(
    line: str, headers: dict[str, str] | None = None, body: bytes = b"", close: bool = True
) -> bytes:
    """The bytes of a well-formed request; `line` is method and target."""
    known = {"Host": "mien.test", "User-Agent": CANARY, **(headers or {})}
    if body or line.startswith("POST"):
        known.setdefault("Content-Length", str(len(body)))
    if close:
        known["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in known.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def form(content: bytes, disposition: str | None = None, head: bytes = b"") -> bytes:
    """The body of a form with one file in it."""
    name = disposition or f'form-data; name="file"; filename="{CANARY}.png"'
    start = f"--{BOUNDARY}\r\nContent-Disposition: {name}\r\n".encode("utf-8", "surrogateescape")
    return start + head + b"\r\n" + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def posted(body: bytes, path: str = "/predict/emotion", kind: str = "", **headers: str) -> bytes:
    """A whole request with a body, by default a form."""
    kind = kind or f"multipart/form-data; boundary={BOUNDARY}"
    return request(f"POST {path}", {"Content-Type": kind, **headers}, body)


def picture(content: bytes, path: str = "/predict/emotion") -> bytes:
    """The request of a good client: one picture in a form."""
    return posted(form(content), path)


def sent_json(body: bytes, path: str = "/predict/gesture") -> bytes:
    """The request of a good client that sends JSON."""
    return posted(body, path, "application/json")


def exchange(address: tuple[str, int], case: Case) -> Exchange:
    """Send a case over a connection of its own and read until it is answered.

    Raises:
        AssertionError: the server neither answers nor closes.
    """
    sent, received = case.make(), b""
    method = sent[:8].partition(b" ")[0].decode("latin-1")
    with socket.create_connection(address, timeout=PATIENCE) as client:
        end = time.monotonic() + PATIENCE
        try:
            client.sendall(sent)
            if case.leaves:
                client.shutdown(socket.SHUT_WR)
            while not _complete(answers_in(received, method), case):
                client.settimeout(max(0.01, end - time.monotonic()))
                piece = client.recv(1 << 16)
                if not piece:
                    break
                received += piece
        except TimeoutError:
            raise AssertionError(f"{case.name}: neither answered nor closed") from None
        except (BrokenPipeError, ConnectionResetError):
            # Closed while a body was still on its way: what came before may be lost with it.
            pass
    return Exchange(method, answers_in(received, method), received)


def answers_in(received: bytes, method: str) -> list[InferenceResult]:
    """The final answers in what was received; those that are cut off are left out."""
    found: list[InferenceResult] = []
    while (split := _first(received, method)) is not None:
        answer, received = split
        if answer.status >= 200:
            found.append(answer)
    return found


def without_trace(answer: InferenceResult) -> Any:
    """An answer's document without what differs each time."""
    document = answer.json()
    document.pop("trace_id", None)
    return document


def faults(case: Case, response: Exchange) -> list[str]:
    """What is wrong with the answers to a case, each in a sentence."""
    text = response.received.decode("latin-1")
    wrong = [f"{CANARY} came back"] if CANARY.lower() in text.lower() else []
    if "Traceback" in text:
        wrong.append("a traceback came back")
    if not response.answers:
        return wrong if CLOSED in case.statuses else [*wrong, f"no answer: {text[:200]!r}"]
    if len(response.answers) != case.answers:
        wrong.append(f"{len(response.answers)} answers instead of {case.answers}: {text[:2000]!r}")
    last = response.answers[-1]
    if last.status not in case.statuses:
        wrong.append(f"{last.status} instead of {sorted(case.statuses)}: {last.body[:300]!r}")
    elif last.status >= 400 and response.method != "HEAD":
        wrong += _problem_faults(last, case.problem)
    complaint = case.check(text)
    return [*wrong, complaint] if complaint else wrong


def _problem_faults(answer: InferenceResult, slug: str) -> list[str]:
    kind = answer.headers.get("content-type")
    if kind != "application/problem+json":
        return [f"the {answer.status} is {kind}, not a problem document: {answer.body[:200]!r}"]
    response, wrong = answer.json(), []
    if list(response) != ["type", "title", "status", "detail", "trace_id"]:
        wrong.append(f"members {list(response)}")
    if response.get("status") != answer.status:
        wrong.append(f"status {response.get('status')} in a document sent with {answer.status}")
    if not re.fullmatch("[0-9a-f]{32}", str(response.get("trace_id"))):
        wrong.append(f"trace_id {response.get('trace_id')!r}")
    if slug and response.get("type") != f"/errors/{slug}":
        wrong.append(f"type {response.get('type')} instead of /errors/{slug}")
    if answer.status == 405 and "allow" not in answer.headers:
        wrong.append("405 without the header Allow")
    if answer.status in (429, 503) and "retry-after" not in answer.headers:
        wrong.append(f"{answer.status} without the header Retry-After")
    return wrong


def _complete(answers: list[InferenceResult], case: Case) -> bool:
    """Whether all answers are there and the server does not mean to close."""
    if len(answers) < case.answers:
        return False
    return answers[-1].headers.get("connection", "").lower() != "close"


def _first(received: bytes, method: str) -> tuple[InferenceResult, bytes] | None:
    head, blank, rest = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) ?.*", line)
    if not blank or match is None:
        return None
    headers = {}
    for each in lines:
        name, _, value = each.partition(":")
        headers[name.strip().lower()] = value.strip()
    status = int(match[1])
    bare = status < 200 or status in (204, 304) or method == "HEAD"
    length = 0 if bare else int(headers.get("content-length", len(rest)))
    if len(rest) < length:
        return None
    return InferenceResult(status, headers, rest[:length]), rest[length:]
