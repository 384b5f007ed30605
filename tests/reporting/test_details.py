"""Promises of `mien.reporting.details`: what a report says of a candidate is true."""

from typing import Any

import numpy as np
import pytest

from mien.model.decision import AnswerDecision
from mien.reporting import details, drawings
from mien.reporting.details import MAX_MISTAKES, WorstMistakes
from mien.reporting.scores import ScoredPrediction, scored
from mien.task import Detection, Example, Prediction, Request

PICTURE = np.full((40, 80, 3), 200, np.uint8)


def prediction(label: str, confidence: float, **more: Any) -> Prediction:
    """An answer that gives the rest of its confidence to the other label."""
    rest = {"a": "b", "b": "a"}[label]
    by_label = {label: confidence, rest: 1 - confidence}
    return Prediction("ok", (Detection(label, confidence, None, by_label, **more),))


def example(truth: str | None, name: str = "") -> Example:
    return Example(Request(image=PICTURE), truth, name=name)


def answers(*rows: tuple[str, str, float]) -> list[ScoredPrediction]:
    """Truth, answer and confidence of each."""
    return [scored(example(truth), prediction(label, score), 0.0) for truth, label, score in rows]


def test_the_most_confident_mistakes_are_kept() -> None:
    """Right answers and all but the worst are not."""
    worst = WorstMistakes()
    for number in range(40):
        worst.add(example("a", f"wrong {number}"), prediction("b", 0.5 + number / 100))
        worst.add(example("b", f"right {number}"), prediction("b", 0.99))
    kept = worst.decided(AnswerDecision())
    assert [each.name for each in kept] == [f"wrong {n}" for n in range(39, 39 - MAX_MISTAKES, -1)]
    assert kept[0].confidence == pytest.approx(0.89)


def test_what_is_missed_is_a_mistake_and_unsure_answers_come_last() -> None:
    """A subject without a detection, a detection without a subject."""
    worst = WorstMistakes()
    worst.add(example("a", "missed"), Prediction("no_face"))
    worst.add(example(None, "invented"), prediction("b", 0.9))
    worst.add(example("a", "doubtful"), prediction("b", 0.95, novelty=9.0))
    kept = worst.decided(AnswerDecision(max_novelty=1.0))
    assert [each.name for each in kept] == ["invented", "missed", "doubtful"]
    assert [each.outcome for each in kept] == ["ok", "no_face", "unsure"]
    assert kept[1].answer is None


def test_average_precision_equals_scikit_learn() -> None:
    """With ties, which count together."""
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(0)
    rows = [
        (str(random.choice(["a", "b"])), "a", round(float(random.random()), 1)) for _ in range(200)
    ]
    found = details.describe(("a", "b"), [], answers(*rows), [])
    truth, score = [row[0] == "a" for row in rows], [row[2] for row in rows]
    curve = found.curves[0]
    assert curve.average_precision == pytest.approx(average_precision_score(truth, score))
    assert curve.points[-1][0] == 1.0
    assert [each[0] for each in curve.points] == sorted(each[0] for each in curve.points)


def test_bins_of_confidence_hold_equally_many_answers() -> None:
    """No point stands for one or two; few answers make few bins."""
    rows = [("a", "a" if n % 2 else "b", n / 200) for n in range(200)]
    bins = details.reliability_bins(answers(*rows))
    assert [each.answers for each in bins] == [20] * 10
    assert all(each.low < each.accuracy == 0.5 < each.high for each in bins)
    assert len(details.reliability_bins(answers(*rows[:25]))) == 2
    assert details.reliability_bins([]) == ()


def test_a_picture_is_drawn_with_box_and_points_in_place() -> None:
    """In units of the drawing, whose longer side is 100."""
    extra = {"landmarks": [[8, 4, 0], [80, 40, 0]]}
    detection = Detection("a", 0.9, (8, 4, 48, 24), {"a": 0.9}, extra)
    drawn = drawings.draw(example("a"), Prediction("ok", (detection,)))
    assert (drawn.width, drawn.height) == (100.0, 50.0)
    assert drawn.box == (10.0, 5.0, 50.0, 25.0)
    assert drawn.points == ((10.0, 5.0), (100.0, 50.0))
    assert drawn.picture


def test_points_without_a_picture_fill_the_drawing() -> None:
    """They keep their shape; one point is no division by nothing."""
    assert drawings.fitted(np.array([[0, 0], [200, 100]], float)) == ((4.0, 27.0), (96.0, 73.0))
    assert drawings.fitted(np.array([[7, 7]], float)) == ((50.0, 50.0),)
