"""Fits the decision of a bundle on its validation split: calibration, and what is `unsure`.

The thresholds follow "selection with guaranteed risk" (Geifman and El-Yaniv 2017): the most answers
of which the upper end of a confidence interval of the wrong ones keeps the target.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.config import Policy
from mien.model.decision import EPSILON, AnswerDecision, Calibration
from mien.model.evaluation import RiskCoverage
from mien.reporting.scores import ScoredPrediction, decided, wilson

Floats = NDArray[np.float64]
LIMITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Of wrong answers, the rows of the risk-coverage table."""
_ONE_SIDED_95 = 1.645
_PRIOR = 0.01
"""Weight of the prior that scores are calibrated, in examples: it keeps the fit finite where all
answers are right."""
_MIN_SLOPE = 0.01
"""Confidence must rise with the score, however little."""
_UNREACHABLE = 2.0
"""A threshold that no confidence reaches."""


def fit(answers: Sequence[ScoredPrediction], policy: Policy) -> AnswerDecision:
    """The decision for a model with these uncalibrated answers on val."""
    detected = [each for each in answers if each.predicted is not None]
    score = np.array([each.confidence for each in detected])
    right = np.array([each.predicted == each.truth for each in detected], dtype=bool)
    calibration = fit_calibration(score, right)
    novelties = [each.novelty for each in detected if each.novelty is not None and _is_right(each)]
    max_novelty = None
    if novelties and policy.max_rejected < 1:
        max_novelty = float(np.quantile(novelties, 1 - policy.max_rejected, method="higher"))
    draft = AnswerDecision(calibration=calibration, max_novelty=max_novelty)
    return _with_threshold(draft, [decided(each, draft) for each in detected], policy.max_risk)


def fit_calibration(score: Floats, right: NDArray[np.bool_]) -> Calibration:
    """Beta calibration by Newton's method: the log-likelihood with a weak prior."""
    if not len(score):
        return Calibration()
    clipped = np.clip(score, EPSILON, 1 - EPSILON)
    inputs = np.stack([np.log(clipped), -np.log(1 - clipped), np.ones_like(clipped)], axis=1)
    weights = _newton(inputs, right.astype(np.float64), np.array([True, True, True]))
    for index in (0, 1):  # a slope below zero is fitted again without it, as in the paper
        if weights[index] < 0:
            free = np.array([index != 0, index != 1, True])
            weights = _newton(inputs, right.astype(np.float64), free)
            break
    a, b = (round(max(float(each), _MIN_SLOPE), 6) for each in weights[:2])
    return Calibration(a=a, b=b, c=round(float(weights[2]), 6))


def risk_coverage(
    decision: AnswerDecision, val: Sequence[ScoredPrediction], test: Sequence[ScoredPrediction]
) -> tuple[RiskCoverage, ...]:
    """What each limit on wrong answers costs, with thresholds from val.

    Args:
        decision: of the bundle; its thresholds of novelty stay.
        val: uncalibrated answers, as is `test`.
    """
    draft = decision.model_copy(update={"min_confidence": 0.0})
    splits = [[decided(e, draft) for e in each if e.predicted is not None] for each in (val, test)]
    rows = []
    for limit in LIMITS:
        chosen = _with_threshold(draft, splits[0], limit)
        if not chosen.is_reached:
            rows.append(RiskCoverage(max_risk=limit, min_confidence=None))
            continue
        (val_coverage, val_risk), (test_coverage, test_risk) = (
            _coverage_and_risk(chosen, each) for each in splits
        )
        rows.append(
            RiskCoverage(
                max_risk=limit,
                min_confidence=chosen.min_confidence,
                val_coverage=val_coverage,
                val_risk=val_risk,
                test_coverage=test_coverage,
                test_risk=test_risk,
            )
        )
    return tuple(rows)


def _is_right(answer: ScoredPrediction) -> bool:
    return answer.predicted == answer.truth


def _newton(inputs: Floats, target: Floats, free: NDArray[np.bool_]) -> Floats:
    """Weights of a logistic regression near the prior (1, 1, 0); those not free are 0."""
    prior = np.where(free, [1.0, 1.0, 0.0], 0.0)
    weights, used = prior.copy(), inputs * free
    penalty = _PRIOR * np.eye(3) + np.diag(np.where(free, 0.0, 1.0))
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(used @ weights, -500, 500)))
        gradient = used.T @ (probability - target) + penalty @ (weights - prior)
        curvature = (used.T * (probability * (1 - probability))) @ used + penalty
        step = np.linalg.solve(curvature, gradient)
        largest = float(np.abs(step).max())
        weights = weights - step * min(1.0, 2.0 / max(largest, 1e-12))
        if largest < 1e-9:
            break
    return weights


def _with_threshold(
    draft: AnswerDecision, detected: Sequence[ScoredPrediction], max_risk: float
) -> AnswerDecision:
    """The draft with the threshold of the most answers that keep a limit.

    Args:
        draft: has no threshold of confidence yet.
        detected: answers with the draft applied.
    """
    counted = [each for each in detected if each.outcome == "ok"]
    order = sorted(counted, key=lambda each: -each.confidence)
    values: dict[str, Any] = {"max_risk": max_risk, "examples": len(detected)}
    best = draft.model_copy(update={**values, "min_confidence": _UNREACHABLE, "coverage": 0.0})
    wrong = 0
    for count, answer in enumerate(order, start=1):
        wrong += not _is_right(answer)
        last = count == len(order)
        if not last and order[count].confidence == answer.confidence:
            continue  # equal confidences are answered together
        bound = wilson(wrong, count, _ONE_SIDED_95)[1]
        if bound <= max_risk:
            threshold = 0.0 if last else _floor(answer.confidence)
            values |= {"min_confidence": threshold, "coverage": count / len(detected)}
            values |= {"risk": wrong / count, "risk_bound": bound}
            best = draft.model_copy(update=values)
    return best


def _floor(confidence: float) -> float:
    """Rounded down, so that the example itself is answered."""
    return float(np.floor(confidence * 1e6) / 1e6)


def _coverage_and_risk(
    decision: AnswerDecision, detected: Sequence[ScoredPrediction]
) -> tuple[float, float]:
    """Of answers to which all of the decision but its threshold was applied."""
    counted = [
        each
        for each in detected
        if each.outcome == "ok" and each.confidence >= decision.min_confidence
    ]
    wrong = sum(not _is_right(each) for each in counted)
    return len(counted) / max(1, len(detected)), wrong / max(1, len(counted))
