"""Promises of a bundle's decision: what it changes in a prediction, and what it never changes."""

import pytest

from mien.model.decision import AnswerDecision, Calibration
from mien.task import Detection, Prediction

STEEP = Calibration(a=2.0, b=0.5, c=-1.0)


def detection(label: str, score: float, novelty: float | None = None) -> Detection:
    return Detection(label, score, None, {"a": score, "b": score / 2}, {}, novelty)


def test_the_default_calibration_changes_nothing() -> None:
    """a = b = 1, c = 0 is the identity, but for the ends of the range."""
    for score in (0.0, 0.2, 0.5, 0.999):
        assert Calibration().confidence(score) == pytest.approx(score, abs=2e-6)


def test_calibration_keeps_the_order_of_scores() -> None:
    """The best label stays the best, and so does the best detection."""
    values = [STEEP.confidence(number / 100) for number in range(101)]
    assert values == sorted(values)
    assert len(set(values)) == 101
    assert 0 <= values[0] < values[-1] <= 1


def test_extreme_parameters_stay_within_0_and_1() -> None:
    """A bundle made elsewhere cannot crash a server by its numbers."""
    for each in (Calibration(a=1e6, b=0, c=-1e6), Calibration(a=0, b=1e6, c=1e6)):
        assert 0 <= each.confidence(1e-300) <= each.confidence(1.0) <= 1


def test_a_prediction_without_decision_stays_as_it_is() -> None:
    """Such as that of a bundle that was not evaluated."""
    prediction = Prediction("ok", (detection("a", 0.1),))
    assert prediction.decided(None) is prediction


def test_confidence_is_the_calibrated_score_of_the_label() -> None:
    """In every detection, so that the page and the log show one number."""
    decided = Prediction("ok", (detection("a", 0.8),)).decided(AnswerDecision(calibration=STEEP))
    assert decided.best is not None
    assert decided.best.confidence == decided.best.scores["a"] == STEEP.confidence(0.8)
    assert decided.best.scores["b"] == STEEP.confidence(0.4)


@pytest.mark.parametrize(("threshold", "outcome"), [(0.8, "ok"), (0.8001, "unsure")])
def test_below_the_threshold_an_answer_is_unsure(threshold: float, outcome: str) -> None:
    """The detections are still listed."""
    decision = AnswerDecision(min_confidence=threshold)
    decided = Prediction("ok", (detection("a", 0.8),)).decided(decision)
    assert decided.outcome == outcome
    assert decided.unsure_reason == (None if outcome == "ok" else "low_confidence")
    assert len(decided.detections) == 1


def test_nothing_detected_is_not_unsure() -> None:
    """`no_hand` stays what it is."""
    assert Prediction("no_hand").decided(AnswerDecision(min_confidence=1)).outcome == "no_hand"


def test_a_subject_like_no_class_is_unsure_and_stands_last() -> None:
    """The hand that shows a gesture answers, even if the resting one has the higher score."""
    resting, showing = detection("a", 0.9, novelty=3.0), detection("b", 0.6, novelty=0.5)
    decision = AnswerDecision(max_novelty=1.0)
    both = Prediction("ok", (resting, showing)).decided(decision)
    assert (both.outcome, both.best and both.best.label) == ("ok", "b")
    rejected = Prediction("ok", (resting,)).decided(decision)
    assert (rejected.outcome, rejected.unsure_reason) == ("unsure", "unlike_training")
    assert Prediction("ok", (detection("a", 0.9),)).decided(decision).outcome == "ok"


def test_a_target_out_of_reach_makes_every_answer_unsure_and_says_so() -> None:
    """Nobody is promised a share of wrong answers that validation did not show."""
    decision = AnswerDecision(min_confidence=2.0, max_risk=0.05, examples=24)
    assert "at most 5.0% wrong answers are reached at no threshold" in decision.sentence
    assert Prediction("ok", (detection("a", 1.0),)).decided(decision).outcome == "unsure"
