"""The policy applied to the rows of an evaluation: which candidate is chosen, and why not others.

Knows measured candidates and variants, and nothing of how they are measured.
"""

from collections.abc import Sequence

from mien.config import Policy
from mien.model.evaluation import CandidateScores, Evaluation, VariantComparison

_SCORES = ("macro_f1", "accuracy", "map50", "map50_95")
"""Scores of which a variant may lose little: it replaces its base candidate in every use."""


def choose(rows: Sequence[CandidateScores], policy: Policy) -> tuple[str | None, list[str]]:
    """Apply the policy: the best validation score among the rows that keep its limits.

    Of the candidate with that score and its variants, the smallest that keeps the limits is taken:
    a variant keeps them only if it is smaller, not slower, and loses at most `max_score_drop` of
    any score. CPU times decide only where their confidence interval excludes the limit.

    Returns:
        The candidate's name or None, and for each row which limits it breaks ("" for none).
    """
    faults = [_fault(row, rows, policy) for row in rows]
    within = [row for row, fault in zip(rows, faults, strict=True) if not fault]

    def base_score(row: CandidateScores) -> float:
        return base_candidate(row, rows).val.named()[policy.maximise]

    best = max(within, key=base_score, default=None)
    if best is None:
        return None, faults
    family = [row for row in within if row.base == best.base]
    return min(family, key=lambda row: row.bundle_mb).candidate, faults


def base_candidate(row: CandidateScores, rows: Sequence[CandidateScores]) -> CandidateScores:
    """The row of the candidate that a row is, or is a variant of."""
    return next(each for each in rows if each.candidate == row.base)


def no_candidate_message(evaluation: Evaluation) -> str:
    """What to do where no candidate keeps the limits."""
    faults = "; ".join(f"{row.candidate}: {row.fault}" for row in evaluation.candidates)
    return (
        f"No candidate of {evaluation.task} keeps the limits of the policy ({faults}). Raise "
        "policy.max_bundle_mb or policy.max_cpu_cost in the config, or train smaller candidates."
    )


def _fault(row: CandidateScores, rows: Sequence[CandidateScores], policy: Policy) -> str:
    faults = []
    if row.bundle_mb > policy.max_bundle_mb:
        faults.append(f"{row.bundle_mb:.0f} MB > {policy.max_bundle_mb:g}")
    if row.cpu_cost.exceeds(policy.max_cpu_cost):
        cost = row.cpu_cost
        interval = f"{cost.low:.1f} to {cost.high:.1f}"
        faults.append(f"CPU cost {cost.median:.1f} ({interval}) > {policy.max_cpu_cost:g}")
    if row.variant:
        faults += _variant_faults(row, row.variant, base_candidate(row, rows), policy)
    return ", ".join(faults)


def _variant_faults(
    row: CandidateScores, variant: VariantComparison, base: CandidateScores, policy: Policy
) -> list[str]:
    """What keeps a variant from replacing the candidate that it was made from."""
    faults = []
    before, after = base.val.named(), row.val.named()
    drop, name = max((before[name] - after[name], name) for name in _SCORES if name in after)
    if drop > policy.max_score_drop:
        faults.append(f"loses {drop:.4f} of {name} > {policy.max_score_drop:g}")
    if variant.cpu_ratio.exceeds(1 + policy.max_latency_increase):
        slower = variant.cpu_ratio.median - 1
        faults.append(f"{slower:.0%} slower > {policy.max_latency_increase:.0%}")
    if row.bundle_mb >= base.bundle_mb:
        faults.append("not smaller")
    return faults
