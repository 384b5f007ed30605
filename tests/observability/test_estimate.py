"""Promises of accuracy without labels: right where the confidences are, and else no number."""

from collections.abc import Mapping

import numpy as np
import pytest

from mien.model.decision import AnswerDecision
from mien.observability.drift import MIN_ROWS, DriftRow, DriftScore
from mien.observability.estimate import counted_confidences, estimate, mean_confidence

CALIBRATED = AnswerDecision(min_confidence=0.5, examples=1000)
CLEAN = {"label": DriftScore(0.01, 0.05), "brightness": DriftScore(0.02, 0.05)}
DRIFTED = {**CLEAN, "brightness": DriftScore(0.3, 0.05)}


def rows(count: int, confidence: float = 0.8) -> list[DriftRow]:
    return [DriftRow("a", confidence, {}, "ok")] * count


def test_the_estimate_is_the_mean_confidence_with_its_interval() -> None:
    """Half of the answers sure, half of them a guess."""
    found = estimate([*rows(300, 1.0), *rows(300, 0.5)], CALIBRATED, CLEAN)
    assert found.accuracy == pytest.approx(0.75)
    assert (found.answers, found.reason) == (600, "")
    reach = 1.96 * np.sqrt(0.125 * (1 / 600 + 1 / 1000))
    assert (found.lower, found.upper) == pytest.approx((0.75 - reach, 0.75 + reach))


def test_the_interval_holds_the_truth_in_95_percent_of_windows() -> None:
    """With a calibration that was fitted on as few answers as the window has."""
    chance = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        truth = chance.uniform(0.5, 0.9)
        fitted = (chance.random(300) < truth).mean()  # the simplest calibration: one confidence
        right = (chance.random(300) < truth).mean()
        _, lower, upper = mean_confidence([float(fitted)] * 300, 300)
        inside.append(lower <= right <= upper)
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize(
    ("window", "decision", "scores", "reason"),
    [
        (rows(MIN_ROWS), CALIBRATED, DRIFTED, "have drifted (brightness)"),
        (rows(MIN_ROWS), None, CLEAN, "are not calibrated"),
        (rows(MIN_ROWS), AnswerDecision(), CLEAN, "are not calibrated"),
        (rows(MIN_ROWS - 1), CALIBRATED, CLEAN, "needs 200 answers that count"),
        (rows(MIN_ROWS), CALIBRATED, {}, "Drift cannot be computed"),
        ([DriftRow(None, 0.0, {})] * MIN_ROWS, CALIBRATED, CLEAN, "the window of 200 has 0"),
    ],
)
def test_where_the_confidences_cannot_be_trusted_there_is_no_number(
    window: list[DriftRow],
    decision: AnswerDecision | None,
    scores: Mapping[str, DriftScore],
    reason: str,
) -> None:
    """And a sentence says why."""
    found = estimate(window, decision, scores)
    assert reason in found.reason
    assert (found.accuracy, found.lower, found.upper) == (None, None, None)


def test_an_answer_that_was_rejected_as_like_no_class_does_not_count() -> None:
    """It is unsure although its confidence is high; one that is unsure by its confidence counts."""
    novel, doubtful = DriftRow("a", 0.9, {}, "unsure"), DriftRow("a", 0.4, {}, "unsure")
    missed = DriftRow(None, 0.0, {}, "no_hand")
    assert counted_confidences([novel, doubtful, missed, *rows(1)], CALIBRATED) == [0.4, 0.8]
