"""Promises of the fit of a decision: calibrated confidence, a kept limit, an honest no."""

import numpy as np
import pytest

from mien.config import Policy
from mien.reporting import scores
from mien.reporting.scores import ScoredPrediction, scored
from mien.stages.evaluate import calibration
from mien.task import Detection, Example, Prediction, Request

PIXEL = Request(image=np.zeros((1, 1, 3), np.uint8))


def answer(score: float, right: bool, novelty: float | None = None) -> ScoredPrediction:
    detection = Detection("a", score, None, {"a": score, "b": 0.0}, {}, novelty)
    example = Example(PIXEL, "a" if right else "b")
    return scored(example, Prediction("ok", (detection,)), 0.0)


def overconfident(count: int, seed: int) -> list[ScoredPrediction]:
    """Scores of which the square is the probability to be right."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(0.2, 1.0, count)
    return [answer(score, rng.random() < score**2) for score in drawn.tolist()]


def test_calibration_on_val_holds_on_other_examples() -> None:
    """An error of 0.15 before, under 0.03 after."""
    val, test = overconfident(2000, 0), overconfident(4000, 1)
    decision = calibration.fit(val, Policy(max_risk=1))
    after = [scores.decided(each, decision) for each in test]
    assert scores.calibration_error(test) > 0.15
    assert scores.calibration_error(after) < 0.03
    assert [each.predicted for each in after] == [each.predicted for each in test]


@pytest.mark.parametrize("right", [True, False])
def test_examples_that_are_all_right_or_all_wrong_can_be_fitted(right: bool) -> None:
    """Drawn data are often all right; the confidence is near the truth and finite."""
    found = [answer(score, right) for score in np.linspace(0.3, 0.9, 60).tolist()]
    fitted = calibration.fit(found, Policy()).calibration
    for score in (0.3, 0.6, 0.9):
        assert abs(fitted.confidence(score) - right) < 0.1


def test_scores_that_fall_with_accuracy_are_not_turned_around() -> None:
    """Confidence rises with the score whatever the data say: labels would change otherwise."""
    found = [answer(score, index % 10 > score * 10) for index, score in enumerate([0.2, 0.8] * 99)]
    fitted = calibration.fit(found, Policy(max_risk=1)).calibration
    assert fitted.confidence(0.2) < fitted.confidence(0.8) < fitted.confidence(0.2) + 0.1


def test_the_threshold_keeps_the_limit_on_other_examples() -> None:
    """The most answers whose wrong share is below the target with 95 % certainty."""
    val, test = overconfident(2000, 2), overconfident(20_000, 3)
    decision = calibration.fit(val, Policy(max_risk=0.2))
    assert decision.risk < decision.risk_bound <= 0.2
    assert decision.coverage > 0.15
    measured = scores.summary([scores.decided(each, decision) for each in test], ("a", "b"))
    assert measured.risk < 0.2
    assert measured.coverage == pytest.approx(decision.coverage, abs=0.03)


def test_a_limit_that_every_answer_keeps_needs_no_threshold() -> None:
    """Nothing is `unsure` then."""
    decision = calibration.fit([answer(0.7, True)] * 200, Policy(max_risk=0.05))
    assert (decision.min_confidence, decision.coverage, decision.risk) == (0, 1, 0)


@pytest.mark.parametrize("found", [[], [answer(0.9, True)] * 20, [answer(0.9, False)] * 200])
def test_a_limit_out_of_reach_is_said(found: list[ScoredPrediction]) -> None:
    """Without examples, with too few to tell, or with wrong ones alone."""
    decision = calibration.fit(found, Policy(max_risk=0.05))
    assert not decision.is_reached
    assert decision.coverage == 0
    table = calibration.risk_coverage(decision, found, found)
    assert table[2].max_risk == 0.05
    assert table[2].min_confidence is None


def test_novelty_costs_the_share_of_known_subjects_that_the_policy_allows() -> None:
    """One in fifty of those that were right."""
    found = [answer(0.9, True, novelty) for novelty in np.linspace(0, 1, 1001).tolist()]
    decision = calibration.fit(found, Policy(max_rejected=0.02))
    assert decision.max_novelty == pytest.approx(0.98)
    rejected = [scores.decided(each, decision).outcome for each in found].count("unsure")
    assert rejected == 20


def test_the_table_of_risk_and_coverage_rises() -> None:
    """More wrong answers allowed, more answers given, on both splits."""
    val, test = overconfident(1500, 4), overconfident(1500, 5)
    table = calibration.risk_coverage(calibration.fit(val, Policy()), val, test)
    assert [row.max_risk for row in table] == list(calibration.LIMITS)
    for column in ("val_coverage", "test_coverage"):
        shares = [getattr(row, column) for row in table]
        assert shares == sorted(shares)
        assert shares[-1] > 0.5
    assert all(row.val_risk <= row.max_risk for row in table)
