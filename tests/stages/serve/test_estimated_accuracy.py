"""Accuracy without labels, as a server shows it: a number, or why there is none."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient

from mien.model.decision import AnswerDecision
from mien.observability import drift
from mien.observability.drift import MIN_ROWS, DriftRow
from mien.storage.workspace import Workspace

Serving = Callable[..., AbstractContextManager[TestClient]]
Value = Callable[..., float | None]
LABELS = ("round", "square", "star")
SHAPE = {"task": "shape", "version": "4"}


def ask(client: TestClient, count: int, middle: float = 0.6) -> list[float]:
    """The confidences of answers whose brightness lies around `middle`."""
    chance, confidences = random.Random(count), []
    for _ in range(count):
        values = [middle + chance.uniform(-0.3, 0.3)] * 3
        values[chance.choices((0, 1, 2), (5, 3, 2))[0]] += 0.05
        answer = client.post("/predict/shape", json={"point": {"values": values}})
        confidences.append(answer.json()["confidence"])
    return confidences


def estimated(client: TestClient) -> Any:
    models = client.get("/status.json").json()["models"]
    return next(each["estimated"] for each in models if each["task"] == "shape")


@pytest.fixture
def calibrated(workspace: Workspace, make_bundle: Callable[..., Any]) -> Workspace:
    """A champion with a calibration, whose reference has the brightness that `ask` sends."""
    chance = random.Random(1)
    rows = []
    for label in chance.choices(LABELS, (5, 3, 2), k=600):
        brightness = 0.6 + 0.05 / 3 + chance.uniform(-0.3, 0.3)
        rows.append(DriftRow(label, 0.5, {"brightness": brightness}))  # as `ask` gets them
    reference = drift.make_reference(rows, LABELS)
    folder = workspace.version("shape", 4)
    make_bundle(folder, decision=AnswerDecision(examples=600), reference=reference)
    workspace.write_aliases("shape", {"champion": 4})
    return workspace


@pytest.mark.usefixtures("calibrated")
def test_the_estimate_is_shown_until_the_inputs_drift(serving: Serving, value: Value) -> None:
    """Metrics and status have the mean confidence; dark inputs take it away, in words."""
    with serving() as client:
        confidences = ask(client, MIN_ROWS - 1)
        assert value(client, "mien_estimated_accuracy", **SHAPE) is None
        assert "needs 200 answers" in estimated(client)["reason"]
        confidences += ask(client, 1)
        mean = pytest.approx(sum(confidences) / MIN_ROWS)
        assert value(client, "mien_estimated_accuracy", **SHAPE) == mean
        shown = estimated(client)
        assert (shown["accuracy"], shown["answers"], shown["reason"]) == (mean, MIN_ROWS, "")
        for end in ("lower", "upper"):
            assert value(client, f"mien_estimated_accuracy_{end}", **SHAPE) == shown[end]
        assert shown["lower"] < shown["accuracy"] < shown["upper"]
        ask(client, 100, middle=0.31)
        assert "mien_estimated_accuracy{" not in client.get("/metrics").text
        assert "have drifted (brightness)" in estimated(client)["reason"]


def test_a_model_that_is_not_calibrated_has_no_estimate(client: TestClient) -> None:
    """Its confidences say nothing of its accuracy."""
    assert estimated(client)["reason"] == "The confidences of this model are not calibrated."
    assert "mien_estimated_accuracy{" not in client.get("/metrics").text
