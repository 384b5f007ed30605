"""The document behind the page /status, and the notice of a task."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from starlette.testclient import TestClient

from mien import tasks
from mien.stages.serve import status as stage
from mien.stages.serve.models import Models, log_loaded, resolve_sources
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
STAR, NOTHING = (20, 40, 200), (0, 0, 0)


def status(client: TestClient, task: str = "shape") -> Any:
    reply = client.get("/status.json")
    assert reply.status_code == 200
    return next(each for each in reply.json()["models"] if each["task"] == task)


def test_answers_latency_and_versions_are_named(client: TestClient, picture: Draw) -> None:
    """Of each task, its own; frames are counted apart."""
    for colour, count in ((STAR, 3), (NOTHING, 1)):
        for _ in range(count):
            client.post("/predict/shape", files={"file": picture(colour)})
    headers = {"X-Mien-Frame": "first"}
    client.post("/predict/shape", files={"file": picture()}, headers=headers)
    shape, colour_task = status(client), status(client, "colour")
    assert (shape["version"], shape["state"], shape["frames"]) == ("3", "ready", 1)
    assert shape["answers"] == [
        {"label": "star", "outcome": "ok", "count": 3},
        {"label": None, "outcome": "no_hand", "count": 1},
    ]
    assert 0 < shape["latency"]["p50_ms"] <= shape["latency"]["p95_ms"]
    assert (colour_task["answers"], colour_task["latency"]) == ([], None)


def test_live_accuracy_is_that_of_the_metrics(client: TestClient, picture: Draw) -> None:
    """Of the last feedbacks, with its interval."""
    assert status(client)["live"]["samples"] == 0
    for label in ("star", "star", "round"):
        sent = client.post("/predict/shape", files={"file": picture(STAR)}).json()
        client.post("/feedback", json={"trace_id": sent["trace_id"], "label": label})
    live = status(client)["live"]
    assert live["samples"] == 3
    assert live["accuracy"] == pytest.approx(2 / 3)
    assert live["lower"] < live["accuracy"] < live["upper"]


def test_drift_is_named_by_quantity(client: TestClient) -> None:
    """From two hundred answers on; before, how many are missing."""
    body = {"point": {"values": [0.01, 0.01, 0.02]}}
    client.post("/predict/shape", json=body)
    assert status(client)["drift"] == {"rows": 1, "needed": 200, "drifting": [], "scores": {}}
    for _ in range(199):
        client.post("/predict/shape", json=body)
    drift = status(client)["drift"]
    assert "brightness" in drift["drifting"]
    assert drift["scores"]["brightness"] > 1


def test_reports_are_read_one_at_a_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask: the threads that read the disk stay free for feedback."""
    both, report, together = Barrier(2), stage.report, []

    def watched(inference: Any) -> Any:
        try:
            together.append(both.wait(timeout=0.2))  # passes only if two are inside
        except BrokenBarrierError:
            both.reset()
        return report(inference)

    monkeypatch.setattr(stage, "report", watched)
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(client.get, ["/status.json"] * 2))
    assert [each.status_code for each in replies] == [200, 200]
    assert together == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("", "Read this."), ("Own words.", "Own words."), ("off", None)],
)
def test_the_notice_of_a_task_is_shown_unless_it_is_switched_off(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, setting: str, expected: str | None
) -> None:
    """The operator's own text replaces it; a task without a notice gets none."""
    shape = tasks.load("shape")
    load = tasks.load
    noticed = replace(shape, notice="Read this.")
    monkeypatch.setattr(tasks, "load", lambda name: noticed if name == "shape" else load(name))
    with serving(notice=setting) as client:
        models = {each["task"]: each for each in client.get("/health").json()["models"]}
    assert models["shape"]["notice"] == expected
    assert models["colour"]["notice"] is None


def test_the_uses_of_a_task_are_in_health_and_in_the_description(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is for and what it must not be used for, where clients and their tools look."""
    load = tasks.load
    stated = replace(load("shape"), intended_use="For games.", forbidden_use="Not at work.")
    monkeypatch.setattr(tasks, "load", lambda name: stated if name == "shape" else load(name))
    with serving() as client:
        models = {each["task"]: each for each in client.get("/health").json()["models"]}
        paths = client.get("/openapi.json").json()["paths"]
    assert models["shape"]["intended_use"] == "For games."
    assert models["shape"]["forbidden_use"] == "Not at work."
    description = paths["/predict/shape"]["post"]["description"]
    assert "Intended use: For games." in description
    assert "Forbidden use: Not at work." in description
    assert "Intended use" not in paths["/predict/colour"]["post"]["description"]


def test_a_server_prints_the_forbidden_use_of_a_task_with_a_notice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the notice of the page is switched off; of other tasks nothing is printed."""
    load = tasks.load
    noticed = replace(load("shape"), notice="Read this.", forbidden_use="Not at work.")
    monkeypatch.setattr(tasks, "load", lambda name: noticed if name == "shape" else load(name))
    loaded = Models(resolve_sources(workspace, [], []))
    log_loaded(loaded, "http://127.0.0.1:1")
    printed = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert printed == ["shape: forbidden use: Not at work."]
