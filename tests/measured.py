"""Measured candidates as an evaluation stores them, made up for tests."""

from typing import Any

from mien.model.evaluation import CandidateScores, CpuRatio, Latency, Scores, VariantComparison


def scores(macro_f1: float = 0.9, examples: int = 100, **more: float) -> Scores:
    """Scores of a split; `accuracy` is macro-F1 unless it is given."""
    known: dict[str, Any] = {"examples": examples, "shown": examples, "accuracy": macro_f1}
    rest = dict.fromkeys(("miss_rate", "false_positive_rate", "calibration_error"), 0.0)
    return Scores(**{**known, **rest, "macro_f1": macro_f1, **more})


def ratio(median: float, reach: float = 0.0) -> CpuRatio:
    """A ratio whose interval reaches so far on either side."""
    return CpuRatio(median=median, low=median - reach, high=median + reach, pairs=20)


def candidate(name: str = "svm", macro_f1: float = 0.9, **changes: Any) -> CandidateScores:
    """A row of the leaderboard: val and test alike, 1 MB, CPU cost 1."""
    row = CandidateScores(
        candidate=name,
        val=scores(macro_f1),
        test=scores(macro_f1),
        latency=Latency(p50_ms=1.0, p95_ms=2.0),
        cpu_cost=ratio(1),
        bundle_mb=1,
    )
    return row.model_copy(update=changes)


def variant(
    base: str, macro_f1: float = 0.9, slower: float = 0.0, form: Any = "int8", **changes: Any
) -> CandidateScores:
    """A row of a variant."""
    about = VariantComparison(form=form, base=base, cpu_ratio=ratio(1 + slower))
    return candidate(f"{base}-{form}", macro_f1, variant=about, **changes)
