"""Accuracy without labels: how many answers of a window are right, by their calibrated confidences.

The mean of calibrated confidences is the expected share of right answers. This holds for inputs
like those of the validation split, where the calibration was fitted: where drift is measured, the
confidences are known to be broken, and there is no estimate. Numbers in, numbers out.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from mien.config import Schema
from mien.model.decision import AnswerDecision
from mien.observability.drift import MIN_ROWS, DriftRow, DriftScore

_Z_95 = 1.96


class AccuracyEstimate(Schema):
    """The estimated accuracy of a window of answers, or why there is none."""

    answers: Annotated[int, Field(description="answers of the window that count")]
    accuracy: float | None = None
    lower: Annotated[float | None, Field(description="of its 95 % interval")] = None
    upper: float | None = None
    reason: Annotated[str, Field(description="why there is no estimate")] = ""


def estimate(
    rows: Sequence[DriftRow],
    decision: AnswerDecision | None,
    drift_scores: Mapping[str, DriftScore],
) -> AccuracyEstimate:
    """Estimate the accuracy of a window of answers.

    Args:
        rows: the window.
        decision: of the bundle, whose calibration made the confidences; None: not calibrated.
        drift_scores: of the same window; none where they could not be computed.
    """
    confidences = counted_confidences(rows, decision)
    reason = _reason(len(rows), len(confidences), decision, drift_scores)
    if reason or decision is None:
        return AccuracyEstimate(answers=len(confidences), reason=reason)
    accuracy, lower, upper = mean_confidence(confidences, decision.examples)
    return AccuracyEstimate(answers=len(confidences), accuracy=accuracy, lower=lower, upper=upper)


def counted_confidences(rows: Sequence[DriftRow], decision: AnswerDecision | None) -> list[float]:
    """Confidences of the answers that name a label of the model, as accuracy counts them.

    An answer that is `unsure` although its confidence is high was rejected as like no class: it is
    expected to show none.
    """
    threshold = decision.min_confidence if decision else 0.0
    return [
        row.confidence
        for row in rows
        if row.label is not None and (row.outcome != "unsure" or row.confidence < threshold)
    ]


def mean_confidence(confidences: Sequence[float], fitted_on: int) -> tuple[float, float, float]:
    """The mean, and the interval in which the share of right answers lies in 95 % of windows.

    Two errors add up: that of the window, whose answers are right or wrong at random with these
    probabilities, and that of the calibration, which was fitted on `fitted_on` such answers.
    """
    count = len(confidences)
    mean = sum(confidences) / count
    variance = sum(each * (1 - each) for each in confidences) / count
    reach = float(_Z_95 * (variance * (1 / count + 1 / max(fitted_on, 1))) ** 0.5)
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)


def _reason(
    rows: int,
    counted: int,
    decision: AnswerDecision | None,
    drift_scores: Mapping[str, DriftScore],
) -> str:
    """Why there is no estimate, as a sentence; "" if there is one."""
    if decision is None or not decision.examples:
        return "The confidences of this model are not calibrated."
    if counted < MIN_ROWS:
        return f"It needs {MIN_ROWS} answers that count, and the window of {rows} has {counted}."
    if not drift_scores:
        return "Drift cannot be computed for this model, so the calibration cannot be trusted."
    drifted = sorted(name for name, each in drift_scores.items() if each.score > each.limit)
    if drifted:
        return (
            f"The answers have drifted ({', '.join(drifted)}), so the confidences no longer say "
            "how many are right."
        )
    return ""
