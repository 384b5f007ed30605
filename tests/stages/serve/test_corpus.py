"""One real server process is sent what the internet sends: hundreds of bad and odd requests.

Each case must be answered as it is written down, never with a server error that is not documented,
and never with what was sent. After each, a good request is answered as before; after all, memory,
threads and open files are what they were.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import until

from . import corpus_files, corpus_forms, corpus_framing, corpus_http, corpus_images, corpus_json
from .corpus import (
    CANARY,
    CLOSED,
    Case,
    Exchange,
    InferenceResult,
    expects,
    faults,
    picture,
    without_trace,
)
from .corpus_server import Server, running

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads Linux's /proc"
)
CASES = [
    case
    for part in (corpus_images, corpus_forms, corpus_json, corpus_http, corpus_framing)
    for case in part.cases()
]
MORE_MEMORY = 64e6
"""Bytes that the process may have grown by after the corpus."""
GOOD = Case("good", lambda: picture(corpus_files.plain()), expects(200))


@pytest.fixture(scope="module")
def server(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole corpus."""
    with running(served_home, tmp_path_factory.mktemp("corpus")) as started:
        yield started


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.slow], ids=lambda case: case.name
)
def test_what_is_sent_is_answered_as_it_should_be(server: Server, case: Case) -> None:
    """The right status, a problem document, nothing of what was sent; and the server goes on."""
    before = server.log.stat().st_size
    response = server.send(case)
    wrong = faults(case, response)
    last = response.answers[-1] if response.answers else None
    if case.like is not None and last is not None and last.status == 200:
        expected = server.answer(case.like())
        if without_trace(last) != expected:
            wrong.append(f"not the same answer: {last.body[:200]!r}, {str(expected)[:200]}")
    wrong += _after(server, before)
    assert not wrong, "\n".join([case.name, *wrong])


def test_what_never_ends_is_ended(server: Server) -> None:
    """Requests that stop on their way, all at once: each is answered at the server's deadline."""
    before = server.log.stat().st_size
    slow = [case for case in CASES if case.slow]
    with ThreadPoolExecutor(len(slow)) as pool:
        all_told = list(pool.map(server.send, slow))
    wrong = [
        f"{case.name}: {fault}"
        for case, response in zip(slow, all_told, strict=True)
        for fault in faults(case, response)
    ]
    wrong += _after(server, before)
    assert not wrong, "\n".join(wrong)


def test_each_case_has_a_name_of_its_own() -> None:
    """And there are many of them."""
    assert len({case.name for case in CASES}) == len(CASES) >= 200


def test_the_checks_of_the_corpus_can_fail() -> None:
    """An answer with the wrong status, form or words is reported as a fault."""
    body = f'{{"type": "about:blank", "status": 400, "detail": "{CANARY}"}}'.encode()
    kinds = {"content-type": "application/problem+json"}
    case = Case("any", lambda: b"", expects(404), "not-found", answers=2)
    wrong = faults(case, Exchange("GET", [InferenceResult(400, kinds, body)], body))
    assert len(wrong) == 3, wrong
    right = Case("any", lambda: b"", expects(400), "bad-http")
    wrong = faults(right, Exchange("GET", [InferenceResult(400, kinds, body)], b""))
    assert [each.partition(" ")[0] for each in wrong] == ["members", "trace_id", "type"]
    assert faults(right, Exchange("GET", [InferenceResult(400, {}, b"")], b""))
    assert faults(right, Exchange("GET", [], b"")) != faults(_closing(right), Exchange("", [], b""))


def test_every_type_of_problem_is_explained(server: Server) -> None:
    """The types that the corpus names are addresses of the server."""
    for slug in sorted({case.problem for case in CASES if case.problem}):
        assert server.get(f"/errors/{slug}").json()["type"] == f"/errors/{slug}"


def test_strangers_write_no_lines_of_their_own(server: Server) -> None:
    """The log has the service's lines alone: no library logs what it was sent."""
    own = re.compile(r"{|\S+T\S+ INFO mien serves")
    lines = server.log.read_text(encoding="utf-8").splitlines()
    # The drawn models have no reference, and the service says so; it names forbidden uses.
    expected = re.compile(r"has no reference\.json: its drift is not computed|forbidden use: ")
    strange = [line for line in lines if not own.match(line) and not expected.search(line)]
    assert not strange, f"{len(strange)} lines, of which: " + "\n".join(strange[:9])


def test_nothing_is_left_of_it(server: Server) -> None:
    """After all: the same answer, and no more memory, threads and files than after warm-up."""
    now = server.level()
    assert server.ask(GOOD.make()) == server.answer(GOOD.make())
    until(
        lambda: (
            server.level().threads <= server.start.threads
            and server.level().files <= server.start.files
        ),
        lambda: f"after warm-up {server.start}, now {server.level()}",
    )
    assert now.memory - server.start.memory < MORE_MEMORY, (server.start, now)
    print(f"{len(CASES)} cases; after warm-up {server.start}, after all {now}")  # noqa: T201


def _closing(case: Case) -> Case:
    return replace(case, statuses=case.statuses | {CLOSED})


def _after(server: Server, before: int) -> list[str]:
    """What is wrong with the server, and its log from `before` on, once a case is over."""
    assert server.process.poll() is None, server.log.read_text()[-3000:]
    wrong = []
    if server.ask(GOOD.make()) != server.answer(GOOD.make()):
        wrong.append("a good request is answered otherwise afterwards")
    text = server.log.read_bytes()[before:].decode("utf-8", "replace")
    if CANARY.lower() in text.lower():
        wrong.append(f"{CANARY} is in the log: {text[:2000]}")
    if "Traceback" in text:
        wrong.append(f"a traceback is in the log: {text[:3000]}")
    return wrong
