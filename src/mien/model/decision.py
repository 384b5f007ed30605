"""How sure a model says it is, and when its answer is `unsure`: fitted on the validation split.

Stored in the bundle and applied by `task.Predictor` to every prediction, so that evaluation,
serving, batches and the command line cannot differ. Numbers in, numbers out; `fit` is in
`stages/evaluate/calibration.py`.
"""

from math import exp, log
from typing import Literal

from pydantic import Field

from mien.config import Schema

UnsureReason = Literal["low_confidence", "unlike_training"]
EPSILON = 1e-6
"""Scores are moved this far away from 0 and 1, whose logarithms are not finite."""


class Calibration(Schema):
    """Beta calibration (Kull, Silva Filho and Flach 2017) of one score:

    logit(confidence) = a ln(score) - b ln(1 - score) + c. It rises with the score, so that labels
    and the order of detections stay as they are. a = b = 1, c = 0 changes nothing.
    """

    a: float = Field(default=1.0, ge=0)
    b: float = Field(default=1.0, ge=0)
    c: float = 0.0

    def confidence(self, score: float) -> float:
        """The calibrated value of a score in 0..1; a score of 0 stays 0."""
        if not score > 0:
            return score
        clipped = min(max(score, EPSILON), 1 - EPSILON)
        logit = self.a * log(clipped) - self.b * log(1 - clipped) + self.c
        return 1 / (1 + exp(-logit)) if logit > -500 else 0.0


class AnswerDecision(Schema):
    """Calibration, and the thresholds below or above which an answer is `unsure`."""

    calibration: Calibration = Calibration()
    min_confidence: float = Field(default=0.0, ge=0)
    """A calibrated confidence below it is `unsure`; above 1 where nothing reaches the target."""
    max_novelty: float | None = None
    """A subject that is less like every class than this is `unsure`; None: novelty is ignored."""
    max_risk: float = 1.0
    """The target: the share of wrong answers among those that are not `unsure`."""
    risk: float = 0.0
    """The same as measured on the validation split."""
    risk_bound: float = 1.0
    """Upper end of the one-sided 95 % interval of `risk`."""
    coverage: float = 1.0
    """Share of the detected subjects of the validation split that are not `unsure`."""
    examples: int = 0
    """Detected subjects of the validation split."""

    @property
    def is_reached(self) -> bool:
        """Whether some threshold keeps the target on the validation split."""
        return self.min_confidence <= 1

    def is_novel(self, novelty: float | None) -> bool:
        """Whether a subject is too unlike every class."""
        if novelty is None or self.max_novelty is None:
            return False
        return novelty > self.max_novelty

    def unsure_reason(self, confidence: float, novelty: float | None) -> UnsureReason | None:
        """Why an answer with this calibrated confidence does not count; None: it counts."""
        if self.is_novel(novelty):
            return "unlike_training"
        return "low_confidence" if confidence < self.min_confidence else None

    @property
    def sentence(self) -> str:
        """The target and how far the validation split reached it."""
        if not self.is_reached:
            return (
                f"at most {self.max_risk:.1%} wrong answers are reached at no threshold on the "
                f"{self.examples} examples of val: every answer is `unsure`"
            )
        return (
            f"on the {self.examples} examples of val {self.coverage:.1%} are answered with "
            f"{self.risk:.1%} wrong (95 % bound {self.risk_bound:.1%}, target {self.max_risk:.1%})"
        )
