"""What an evaluation measured: `evaluation.json`, and the metrics in a bundle."""

from math import inf
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from mien.config import Form, Policy, Schema, TrainedOn
from mien.model.decision import AnswerDecision
from mien.storage.files import write_json
from mien.storage.workspace import RESULT, read_document


class CpuRatio(Schema):
    """Median of the CPU time ratios of pairs of calls, with its 99 % confidence interval."""

    median: float
    low: float
    high: float
    """Infinity, null in JSON, where it is not known."""
    pairs: int

    @field_validator("high", mode="before")
    @classmethod
    def _infinite(cls, value: Any) -> Any:
        return inf if value is None else value

    def exceeds(self, limit: float) -> bool:
        """Whether the whole interval lies above the limit."""
        return self.low > limit


class Scores(Schema):
    """Scores of one split; shares lie in 0..1."""

    examples: int
    shown: int
    """Examples that show a subject; accuracy and macro-F1 are over these."""
    accuracy: float
    macro_f1: float
    miss_rate: float
    """Share of the shown subjects without a detection."""
    false_positive_rate: float
    """Share of the examples without a subject that got a detection."""
    calibration_error: float
    coverage: float = 1.0
    """Share of the detected subjects whose answer is not `unsure`."""
    risk: float = 0.0
    """Share of wrong labels among these."""
    map50: float | None = None
    """Of tasks that localise, as is `map50_95`."""
    map50_95: float | None = None

    def named(self) -> dict[str, float]:
        """All scores that the task has, by name."""
        return {name: value for name, value in self if value is not None}


class MajorityComparison(Schema):
    """A model against the answer that needs no model: always the most frequent label.

    Over the validation and test examples that show a subject and have no copy in train.
    """

    examples: int
    share: float
    """Of the most frequent label among the examples: the accuracy of that answer."""
    macro_f1: float
    macro_f1_low: float
    """Lower end of the 95 % interval, as is `accuracy_low`."""
    accuracy: float
    accuracy_low: float

    @property
    def has_learnt(self) -> bool:
        """Whether macro-F1 or accuracy lies above the share with its whole interval."""
        return max(self.macro_f1_low, self.accuracy_low) > self.share

    @property
    def sentence(self) -> str:
        """The numbers that the decision depends on."""
        return (
            f"on {self.examples} examples of val and test its accuracy is {self.accuracy:.2f} "
            f"(95 % interval from {self.accuracy_low:.2f}) and its macro-F1 {self.macro_f1:.2f} "
            f"(from {self.macro_f1_low:.2f}); always answering the most frequent label has an "
            f"accuracy of {self.share:.2f}"
        )


class Latency(Schema):
    """Milliseconds of one request by the clock. They depend on the load of the machine."""

    p50_ms: float
    p95_ms: float
    picture_ms: float | None = None


class RiskCoverage(Schema):
    """What a limit on wrong answers costs: thresholds from val, shares of both splits."""

    max_risk: float
    min_confidence: float | None = None
    """None where no threshold keeps the limit on val."""
    val_coverage: float = 0.0
    val_risk: float = 0.0
    test_coverage: float = 0.0
    test_risk: float = 0.0


class SliceDefinition(Schema):
    """How an attribute divides examples: a number by its edges, a word by its frequent values."""

    attribute: str
    edges: tuple[float, ...] = ()
    words: tuple[str, ...] = ()


class SliceScores(Schema):
    """Examples that are alike in one attribute, and the accuracy among them."""

    attribute: str
    name: str
    start: float | None = None
    """Of a number: values above it and up to `stop`; None where there is no limit."""
    stop: float | None = None
    examples: int
    accuracy: float | None = None
    """None, as the ends of its 95 % interval, where the examples are too few."""
    low: float | None = None
    high: float | None = None

    @property
    def span(self) -> str:
        """The values of a number, "" for a word."""
        if self.start is None:
            return "" if self.stop is None else f"up to {self.stop:g}"
        return f"over {self.start:g}" if self.stop is None else f"{self.start:g} to {self.stop:g}"


_GROUPS = {"latency": "time/", "cpu_cost": "time/cpu_cost_", "majority": "versus_majority/"}
"""Prefixes of numbers in MLflow, which sorts its charts and tables by name."""


class Measurements(Schema):
    """One candidate: its scores by split, what a request costs, and its size."""

    val: Scores
    test: Scores
    test_leak_free: Scores | None = None
    """Test examples without an exact or near copy in train; None for data not checked."""
    majority: MajorityComparison | None = None
    """None in bundles that were measured before it existed."""
    raw_calibration_error: float = 0.0
    """On test, before calibration."""
    risk_coverage: tuple[RiskCoverage, ...] = ()
    slices: tuple[SliceScores, ...] = ()
    """Of test; `val_slices` of val, by which the policy compares with the champion."""
    val_slices: tuple[SliceScores, ...] = ()
    latency: Latency
    cpu_cost: CpuRatio
    """CPU time of one request, in units of the reference workload."""
    bundle_mb: float

    def headline(self) -> dict[str, float]:
        """The eight numbers to compare candidates by; of test, but for one of val. Without the
        CPU cost where it was not measured."""
        return {
            "accuracy": self.test.accuracy,
            "calibration_error": self.test.calibration_error,
            "coverage": self.test.coverage,
            **({"cpu_cost": self.cpu_cost.median} if self.cpu_cost.pairs else {}),
            "macro_f1": self.test.macro_f1,
            "macro_f1_val": self.val.macro_f1,
            "miss_rate": self.test.miss_rate,
            "size_mb": self.bundle_mb,
        }

    def flat(self) -> dict[str, float]:
        """Every number in groups, such as `val/miss_rate`; those of the headline sort first."""
        flat = {f"key/{name}": value for name, value in self.headline().items()}
        for name in Measurements.model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) or (name == "cpu_cost" and not self.cpu_cost.pairs):
                continue
            if isinstance(value, Schema):
                group = _GROUPS.get(name, f"{name}/")
                numbers = {f"{group}{inner}": number for inner, number in value}
                flat |= {key: float(each) for key, each in numbers.items() if each is not None}
        return flat | {"test/raw_calibration_error": self.raw_calibration_error}


class VariantComparison(Schema):
    """A variant against the candidate that it was made from."""

    form: Form
    base: str
    cpu_ratio: CpuRatio


class CandidateScores(Measurements):
    """One row of the leaderboard."""

    candidate: str
    decision: AnswerDecision = AnswerDecision()
    """Fitted on val, as in its bundle."""
    variant: VariantComparison | None = None
    fault: str = ""
    """Which limits of the policy it breaks; "" for none."""

    @property
    def base(self) -> str:
        """The candidate itself, or the one that a variant was made from."""
        return self.variant.base if self.variant else self.candidate


class BundleMetrics(Measurements):
    """What a bundle says of its own evaluation."""

    leaderboard: tuple[CandidateScores, ...] = ()
    processor: str = "unknown"
    """Architecture and vector instructions of the processor that measured, see `lineage`."""


class Evaluation(Schema):
    """The leaderboard of a run and the policy's choice."""

    task: str
    trained: str
    """Name of the folder of trained bundles."""
    data: str
    """Name of the folder of prepared data."""
    policy: Policy
    trained_on: TrainedOn | None = None
    """What the candidates were trained and measured on; None where that is unknown."""
    choice: str | None = None
    without: dict[str, str] = Field(default_factory=dict)
    """Candidates that have no variants, and why."""
    slices: tuple[SliceDefinition, ...] = ()
    """By the training data; the same for all candidates and for the champion."""
    candidates: tuple[CandidateScores, ...]

    @property
    def chosen(self) -> CandidateScores | None:
        return next((each for each in self.candidates if each.candidate == self.choice), None)

    @classmethod
    def read(cls, folder: Path) -> "Evaluation":
        """Read the evaluation in a folder of evaluated bundles.

        Raises:
            MienError: it was written by another version of mien.
        """
        return read_document(cls, folder / RESULT, "Evaluate again: `mien evaluate CONFIG`.")

    def write(self, folder: Path) -> None:
        write_json(folder / RESULT, self.model_dump(mode="json", exclude_none=True))


class ChampionScores(Schema):
    """The champion measured on the validation data of a run, or why it could not be."""

    scores: Scores | None = None
    error: str = ""
    slices: tuple[SliceScores, ...] = ()
    labels: tuple[str, ...] = ()
    """What the champion predicts; examples of other labels count as wrong."""
    trained_on: TrainedOn | None = None
    """None where that is unknown."""
