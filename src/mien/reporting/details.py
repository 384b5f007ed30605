"""What a report shows of one candidate beyond its scores: where and how it is wrong, on test.

It holds small pictures of the user's data, so it is not part of a bundle.
"""

from collections.abc import Sequence

import numpy as np

from mien.config import Schema
from mien.model.decision import AnswerDecision
from mien.task import Example, Prediction

from . import drawings, scores
from .drawings import Drawing
from .scores import ScoredPrediction

MAX_MISTAKES = 24
_CURVE_POINTS = 40
_MIN_BIN = 10
"""Answers of a bin of confidence, as long as there are so many."""


class Curve(Schema):
    """Precision against recall of one class, as the threshold of its score falls."""

    label: str
    average_precision: float
    points: tuple[tuple[float, float], ...]
    """(recall, precision)"""


class ReliabilityBin(Schema):
    """Answers of similar confidence: how many of them are right, with the 95 % interval."""

    confidence: float
    accuracy: float
    low: float
    high: float
    answers: int


class Mistake(Schema):
    """A wrong answer; `truth` or `answer` is None where there is no subject."""

    name: str
    truth: str | None
    answer: str | None
    outcome: str
    confidence: float
    drawing: Drawing


class CandidateDetails(Schema):
    """The details of one candidate on test."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows truth, columns answer, the last one nothing detected."""
    uncalibrated: tuple[ReliabilityBin, ...]
    calibrated: tuple[ReliabilityBin, ...]
    curves: tuple[Curve, ...]
    mistakes: tuple[Mistake, ...]
    """The most confident ones first, those that are `unsure` last."""


class WorstMistakes:
    """Collects the most confident wrong answers of a split while it is measured."""

    def __init__(self) -> None:
        self._worst: list[tuple[float, Example, Prediction, Drawing]] = []

    def add(self, example: Example, prediction: Prediction) -> None:
        """Keep a wrong answer if it is among the worst; its picture is reduced at once."""
        confidence = prediction.best.confidence if prediction.best else 0.0
        full = len(self._worst) == MAX_MISTAKES
        if _label(prediction) == example.label or (full and confidence <= self._worst[-1][0]):
            return
        drawing = drawings.draw(example, prediction)
        self._worst.append((confidence, _without_request(example), prediction, drawing))
        self._worst.sort(key=lambda each: -each[0])
        del self._worst[MAX_MISTAKES:]

    def decided(self, decision: AnswerDecision) -> tuple[Mistake, ...]:
        """What is still wrong when the bundle's decision is applied."""
        found = [
            _mistake(example, prediction.decided(decision), drawing)
            for _, example, prediction, drawing in self._worst
        ]
        wrong = [each for each in found if each.answer != each.truth]
        return tuple(sorted(wrong, key=lambda each: (each.outcome == "unsure", -each.confidence)))


def describe(
    labels: Sequence[str],
    uncalibrated: Sequence[ScoredPrediction],
    answers: Sequence[ScoredPrediction],
    mistakes: Sequence[Mistake],
) -> CandidateDetails:
    """The details of a candidate with these labels from its answers on test."""
    labels = scores.with_unknown_labels(labels, answers)
    matrix = scores.confusion([(each.truth, each.predicted) for each in answers], labels)
    return CandidateDetails(
        labels=tuple(labels),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
        uncalibrated=reliability_bins(uncalibrated),
        calibrated=reliability_bins(answers),
        curves=tuple(_curve(label, answers) for label in labels),
        mistakes=tuple(mistakes),
    )


def reliability_bins(answers: Sequence[ScoredPrediction]) -> tuple[ReliabilityBin, ...]:
    """Bins of equal numbers of answers, so that no point stands for one or two of them."""
    detected = [each for each in answers if each.predicted is not None]
    detected.sort(key=lambda each: each.confidence)
    parts = np.array_split(np.arange(len(detected)), max(1, min(10, len(detected) // _MIN_BIN)))
    bins = []
    for group in [[detected[index] for index in part] for part in parts if len(part)]:
        right = sum(each.predicted == each.truth for each in group)
        low, high = scores.wilson(right, len(group))
        mean = float(np.mean([each.confidence for each in group]))
        bins.append(
            ReliabilityBin(
                confidence=mean,
                accuracy=right / len(group),
                low=low,
                high=high,
                answers=len(group),
            )
        )
    return tuple(bins)


def _curve(label: str, answers: Sequence[ScoredPrediction]) -> Curve:
    """Precision and recall of one label against all others, from the scores of the best detection.

    Average precision is the sum of precision over the steps of recall, without interpolation.
    """
    score = np.array([_score(each, label) for each in answers])
    truth = np.array([each.truth == label for each in answers], dtype=bool)
    if not truth.any():
        return Curve(label=label, average_precision=0.0, points=())
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # ties count together
    hits = np.cumsum(truth[order])[ends]
    precision, recall = hits / (ends + 1), hits / truth.sum()
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    picked = np.unique(np.linspace(0, len(ends) - 1, _CURVE_POINTS).astype(int))
    points = [(round(float(recall[i]), 4), round(float(precision[i]), 4)) for i in picked]
    return Curve(label=label, average_precision=average, points=tuple(points))


def _mistake(example: Example, prediction: Prediction, drawing: Drawing) -> Mistake:
    best = prediction.best
    return Mistake(
        name=example.name,
        truth=example.label,
        answer=best.label if best else None,
        outcome=prediction.outcome,
        confidence=best.confidence if best else 0.0,
        drawing=drawing,
    )


def _without_request(example: Example) -> Example:
    return Example(scores.NO_REQUEST, example.label, example.boxes, example.name)


def _label(prediction: Prediction) -> str | None:
    return prediction.best.label if prediction.best else None


def _score(answer: ScoredPrediction, label: str) -> float:
    best = answer.prediction.best if answer.prediction else None
    return best.scores.get(label, 0.0) if best else 0.0
