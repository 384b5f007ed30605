"""A challenger answers after the champion: seen in log and metrics, never by a client."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient
from waiting import until

from mien.observability.prediction_log import reader
from mien.observability.sequential import PairCounts
from mien.stages.serve import shadow as runner_module
from mien.stages.serve.challenger import Challenger
from mien.stages.serve.shadow import ShadowRunner
from mien.stages.serve.trace_id import new_trace_id
from mien.stages.serve.workers import WorkerPool
from mien.storage import shadow
from mien.storage.shadow import Shadow
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
Value = Callable[..., float | None]
OF = {"task": "shape", "version": "4"}
STAR, ROUND = (20, 40, 200), (200, 40, 20)


@pytest.fixture(autouse=True)
def second(
    workspace: Workspace, make_bundle: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    """A version 4 of the task as the challenger, which does `request.param` with a picture of the
    colour `ROUND`, and answers others as the champion. Its bundle has no reference, so its digest
    is another one."""
    made = {"round": getattr(request, "param", "the same")}
    make_bundle(workspace.version("shape", 4), "shape", reference=None, preprocessing=made)
    shadow.start(workspace, "shape", 4, 1.0)


@pytest.fixture
def client(serving: Serving) -> Iterator[TestClient]:
    """A server that never polls by itself."""
    with serving(("shape",), reload_interval_s=0) as started:
        yield started


def runner_of(client: TestClient) -> ShadowRunner:
    runner: ShadowRunner = client.app.state.service.inference.shadow  # type: ignore[attr-defined]
    return runner


def challenger_of(client: TestClient) -> Challenger:
    """The challenger, once it is loaded."""
    return until(lambda: runner_of(client).challengers.get("shape"), "a challenger")


def challenger_does(what: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("second", [what], indirect=True)


def ask(client: TestClient, picture: Draw, colour: tuple[int, int, int] = STAR) -> dict[str, Any]:
    """The answer to a picture, as a PNG file: its pixels arrive as they are."""
    response = client.post("/predict/shape", files={"file": picture(colour)})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def answered(value: Value, client: TestClient, result: str) -> Callable[[], bool]:
    return lambda: bool(value(client, "mien_shadow_answers_total", **OF, result=result))


@challenger_does("nothing")
def test_both_answers_are_recorded_and_the_client_sees_the_champion(
    client: TestClient, picture: Draw, value: Value, workspace: Workspace
) -> None:
    """With feedback, the accuracy of both; what was decoded is not decoded again."""
    challenger = challenger_of(client)
    answer = ask(client, picture, ROUND)
    assert (answer["shape"], answer["model"]["version"]) == ("round", "3")
    until(answered(value, client, "disagree"), "an answer of the challenger")
    client.post("/feedback", json={"trace_id": answer["trace_id"], "label": "round"})
    champion = client.app.state.service.inference.models.find("shape")  # type: ignore[attr-defined]
    digests = challenger.digest, champion.digest
    stored = until(
        lambda: reader.summarise_shadow(workspace.prediction_log, *digests).answers, "a row"
    )
    found = reader.summarise_shadow(workspace.prediction_log, *digests)
    assert (stored, found.agreements, found.pairs) == (1, 0, PairCounts(losses=1))
    assert 0 < found.champion_cpu_s < 10
    assert value(client, "mien_shadow_feedback_samples", **OF) == 1
    assert value(client, "mien_shadow_accuracy_difference", **OF) == -1
    upper = value(client, "mien_shadow_accuracy_difference_upper", **OF)
    assert (upper or -1) > 0, "one answer proves nothing"
    assert value(client, "mien_shadow_active", **OF) == 1
    spent = value(client, "mien_shadow_cpu_seconds_total", **OF, role="champion")
    assert spent == pytest.approx(found.champion_cpu_s)


def test_a_running_server_follows_the_workspace(
    client: TestClient, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped, started with another share, unreadable, the champion itself, and gone. The kernel
    interrupts the challenger's process as soon as the server has work."""
    process, runner = challenger_of(client)._process._process, runner_of(client)
    if sys.platform == "linux":
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
    shadow.stop(workspace, "shape")
    runner.follow()
    assert process.returncode == -signal.SIGKILL
    assert not runner.wants("shape", new_trace_id())
    shadow.start(workspace, "shape", 4, 0.5)
    runner.follow()
    half = runner.challengers["shape"]
    assert half.plan.share == 0.5
    shadow.path_of(workspace, "shape").write_text("{")
    with caplog.at_level(logging.WARNING, "mien.serve"):
        runner.follow()
        runner.follow()
    assert runner.challengers["shape"] is half
    assert caplog.text.count("expected version, share and since") == 1
    for version in (3, 5):
        shadow.start(workspace, "shape", version, 1.0)
        runner.follow()
        assert runner.challengers == {}
    assert "version 5 is not registered, or its bundle is gone" in caplog.text


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 1.0])
def test_the_share_is_that_of_the_requests(share: float) -> None:
    """By the random bits of the trace_id; all of them at 1."""
    challenger = Challenger.__new__(Challenger)  # without a process
    challenger.plan, challenger.fault = Shadow(version=4, share=share, since=0.0), None
    hits = sum(challenger.wants(new_trace_id()) for _ in range(4000))
    spread = (4000 * share * (1 - share)) ** 0.5
    assert abs(hits - 4000 * share) <= 5 * spread


@challenger_does("failure")
def test_a_challenger_that_fails_is_switched_off(
    client: TestClient, picture: Draw, value: Value, caplog: pytest.LogCaptureFixture
) -> None:
    """After five failures in a row; each counts as a wrong answer, and no client notices."""

    challenger = challenger_of(client)
    for number in range(1, 6):
        assert ask(client, picture, ROUND)["shape"] == "round"
        until(lambda: challenger.failures == number, "a failure")  # noqa: B023
    until(lambda: challenger.fault, "the end of the challenger")
    assert ask(client, picture)["shape"] == "star"
    assert value(client, "mien_shadow_active", **OF) == 0
    assert value(client, "mien_shadow_answers_total", **OF, result="error") == 5
    assert "5 failures in a row, the last: ZeroDivisionError" in caplog.text
    assert "`mien shadow shape 4` starts it again" in caplog.text


@challenger_does("hang")
def test_a_challenger_that_hangs_delays_nobody(
    client: TestClient, picture: Draw, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue fills, further requests are dropped; beyond the deadline its process is killed."""
    challenger, runner = challenger_of(client), runner_of(client)
    ask(client, picture, ROUND)
    until(lambda: runner._running, "a question to the challenger")
    for _ in range(runner_module.MAX_QUEUED + 2):
        assert ask(client, picture)["shape"] == "star"
    assert value(client, "mien_shadow_answers_total", **OF, result="dropped") == 2
    assert challenger.fault is None
    monkeypatch.setattr(runner, "_deadline_s", 0.0)
    ask(client, picture)
    assert "an answer took longer than" in (challenger.fault or "")
    until(lambda: runner._running is None, "the end of the process")
    assert value(client, "mien_shadow_active", **OF) == 0
    assert value(client, "mien_shadow_answers_total", **OF, result="error") == 0


@challenger_does("end")
def test_a_challenger_whose_process_ends_is_switched_off(
    client: TestClient, picture: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a crash of a library, or for lack of memory; the server goes on."""
    challenger = challenger_of(client)
    ask(client, picture, ROUND)
    assert "ended (exit code 3)" in until(lambda: challenger.fault, "the end of the challenger")
    assert ask(client, picture)["shape"] == "star"
    assert "`mien shadow shape 4` starts it again" in caplog.text


def test_what_is_not_compared(
    client: TestClient, picture: Draw, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of videos, which are near copies of each other; a request after which no worker thread
    is idle in time; and a picture whose pixels are too many for the queue."""
    challenger_of(client)
    client.post("/predict/shape", content=picture(), headers={"x-mien-frame": ""})
    ask(client, picture)
    until(answered(value, client, "agree"), "the answer to the picture")
    assert value(client, "mien_shadow_answers_total", **OF, result="agree") == 1
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "MAX_WAIT_S", 0.0)
        patch.setattr(runner_of(client), "_workers", WorkerPool(0, 1))
        ask(client, picture)
        until(answered(value, client, "dropped"), "a dropped request")
    monkeypatch.setattr(runner_module, "MAX_IMAGE_BYTES", 100)
    ask(client, picture)
    until(
        lambda: value(client, "mien_shadow_answers_total", **OF, result="dropped") == 2,
        "a dropped picture",
    )
