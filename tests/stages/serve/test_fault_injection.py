"""Injected faults: only where MIEN_FAULT_INJECTION is set."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient

from mien.config import Settings
from mien.stages.serve import fault_injection

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
Value = Callable[..., float | None]


def ask(client: TestClient, picture: Draw, order: str | None) -> Any:
    headers = {} if order is None else {fault_injection.HEADER: order}
    return client.post("/predict/shape", files={"file": picture()}, headers=headers)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a drill has slept, without sleeping."""
    times: list[float] = []
    monkeypatch.setattr(fault_injection.time, "sleep", times.append)
    return times


@pytest.mark.parametrize("order", ["slow", "error"])
def test_without_the_setting_the_header_means_nothing(
    serving: Serving, picture: Draw, slept: list[float], order: str
) -> None:
    """And the setting is off unless it is set."""
    assert Settings().fault_injection is False
    with serving() as client:
        assert ask(client, picture, order).status_code == 200
    assert slept == []


def test_a_drill_can_make_a_request_fail(
    serving: Serving, picture: Draw, value: Value, caplog: pytest.LogCaptureFixture
) -> None:
    """500 as any fault of the server, counted as one, and the log says that it was a drill."""
    with serving(fault_injection=True) as client:
        failed = ask(client, picture, "error")
        assert (failed.status_code, failed.json()["type"]) == (500, "/errors/internal")
        assert "drill" not in failed.text
        assert "a fire drill asked for this failure" in caplog.text
        assert value(client, "mien_rejected_total", reason="internal") == 1
        assert ask(client, picture, None).status_code == 200


def test_a_drill_can_slow_a_request_down(
    serving: Serving, picture: Draw, slept: list[float]
) -> None:
    """The answer is right, and late; it waits where the model would work."""
    with serving(fault_injection=True) as client:
        assert ask(client, picture, "slow").json()["shape"] == "star"
    assert slept == [fault_injection.SLOW_S]


@pytest.mark.parametrize("order", [None, "", "SLOW", "slow, error", "explode"])
def test_other_requests_are_answered_as_ever(
    serving: Serving, picture: Draw, slept: list[float], order: str | None
) -> None:
    """Also while a drill goes on."""
    with serving(fault_injection=True) as client:
        assert ask(client, picture, order).status_code == 200
    assert slept == []


def test_only_predictions_heed_the_header(serving: Serving, slept: list[float]) -> None:
    """Probes go on telling the truth."""
    with serving(fault_injection=True) as client:
        for order in ("slow", "error"):
            assert client.get("/readyz", headers={fault_injection.HEADER: order}).status_code == 200
            assert (
                client.get("/metrics", headers={fault_injection.HEADER: order}).status_code == 200
            )
    assert slept == []
