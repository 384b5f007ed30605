"""The latest answers of each model, and how far they have drifted."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
Series = Callable[[str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]
Value = Callable[..., float | None]

SHAPE = {"task": "shape", "version": "3"}


def values_of(found: Any, metric: str, label: str) -> dict[str, float]:
    """Values of a metric's series by one of their labels."""
    return {dict(labels)[label]: value for (name, labels), value in found.items() if name == metric}


def ask_many(client: TestClient, count: int, middle: float = 0.6) -> None:
    """Answers in the mix and with the brightness of the reference, moved to `middle`."""
    chance = random.Random(count)
    for _ in range(count):
        values = [middle + chance.uniform(-0.3, 0.3)] * 3
        values[chance.choices((0, 1, 2), (5, 3, 2))[0]] += 0.05
        answer = client.post("/predict/shape", json={"point": {"values": values}})
        assert answer.status_code == 200


def test_drift_is_told_from_two_hundred_answers_on(
    client: TestClient, series: Series, value: Value
) -> None:
    """199 give no score; the 200th brings scores and thresholds of every quantity."""
    ask_many(client, 199)
    assert value(client, "mien_drift_window_rows", **SHAPE) == 199
    assert "mien_drift_score" not in client.get("/metrics").text
    assert "mien_drift_threshold" not in client.get("/metrics").text
    ask_many(client, 1)
    found = series(client.get("/metrics").text)
    scores = values_of(found, "mien_drift_score", "quantity")
    limits = values_of(found, "mien_drift_threshold", "quantity")
    assert set(scores) == set(limits) == {"label", "confidence", "brightness"}
    assert scores["brightness"] < limits["brightness"]
    assert scores["label"] < limits["label"]
    assert scores["confidence"] > limits["confidence"], "the network is never that sure here"


def test_drift_is_that_of_the_window_at_each_scrape(client: TestClient, series: Series) -> None:
    """Dark answers after bright ones raise the score, scrape by scrape."""
    ask_many(client, 200)
    seen = []
    for _ in range(3):
        found = series(client.get("/metrics").text)
        seen.append(values_of(found, "mien_drift_score", "quantity")["brightness"])
        ask_many(client, 60, middle=0.3)
    assert seen[0] < seen[1] < seen[2]


def test_the_window_of_drift_survives_a_restart(
    serving: Serving, series: Series, value: Value
) -> None:
    """It is read back from the prediction_log: the same rows, the same scores, and no row twice."""
    with serving() as client:
        ask_many(client, 250)
        before = series(client.get("/metrics").text)
    with serving() as client:
        after = series(client.get("/metrics").text)
        ask_many(client, 1)
        assert value(client, "mien_drift_window_rows", **SHAPE) == 251
    for metric in ("mien_drift_score", "mien_drift_threshold"):
        assert values_of(after, metric, "quantity") == values_of(before, metric, "quantity")


def test_an_answer_is_one_row_of_the_window(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """Also the first one, which is in the log before anybody has looked at the window."""
    client.post("/predict/shape", files={"file": picture()})
    assert value(client, "mien_drift_window_rows", **SHAPE) == 1
    assert value(client, "mien_drift_window_rows", task="colour", version="1") == 0


def test_the_window_slides(serving: Serving, value: Value, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answers leave it."""
    monkeypatch.setattr("mien.stages.serve.drift_window.WINDOW_ROWS", 5)
    with serving() as client:
        ask_many(client, 8)
        assert value(client, "mien_drift_window_rows", **SHAPE) == 5
