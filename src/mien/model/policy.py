"""The policy applied to the table of an evaluation.

Knows rows of measured candidates and variants, and nothing of how they are measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.config import Policy

Row = Mapping[str, Any]
"""One candidate: name, scores of `val` and `test`, `latency`, `cpu_cost`, `bundle_mb`; of a variant
also `variant`: its `form`, the candidate it is `of`, and the `cpu_ratio` of the two."""

_KEPT = ("macro_f1", "accuracy", "map50", "map50_95")
"""Scores of which a variant may lose little: it stands in for its origin in all that it does."""


def choose(rows: Sequence[Row], policy: Policy) -> tuple[str | None, list[str]]:
    """Apply the policy: the best validation score among the rows that keep its limits.

    Of the candidate with that score and its variants, the smallest that keeps them is taken: a
    variant keeps them only if it is smaller, not slower, and as good within `max_score_drop`. CPU
    times decide only where their confidence interval excludes the limit.

    Returns:
        The candidate's name or None, and for each row what it breaks ("" for nothing).
    """
    faults = [_fault(row, rows, policy) for row in rows]
    kept = [row for row, fault in zip(rows, faults, strict=True) if not fault]
    best = max(
        kept, key=lambda row: float(base_candidate(row, rows)["val"][policy.maximise]), default=None
    )
    if best is None:
        return None, faults
    alike = [row for row in kept if origin(row) == origin(best)]
    return str(min(alike, key=lambda row: float(row["bundle_mb"]))["candidate"]), faults


def origin(row: Row) -> str:
    """The candidate that a row is, or is a variant of."""
    return str(row["variant"]["of"] if "variant" in row else row["candidate"])


def base_candidate(row: Row, rows: Sequence[Row]) -> Row:
    """The row of the candidate that a row is, or is a variant of."""
    return next(each for each in rows if each["candidate"] == origin(row))


def no_candidate_message(document: Mapping[str, Any]) -> str:
    """What to do where no candidate keeps the limits."""
    faults = "; ".join(f"{row['candidate']}: {row['fault']}" for row in document["candidates"])
    return (
        f"No candidate of {document['task']} keeps the limits of the policy ({faults}). Raise "
        "policy.max_bundle_mb or policy.max_cpu_cost in the config, or train smaller candidates."
    )


def _fault(row: Row, rows: Sequence[Row], policy: Policy) -> str:
    faults = []
    if row["bundle_mb"] > policy.max_bundle_mb:
        faults.append(f"{row['bundle_mb']:.0f} MB > {policy.max_bundle_mb:g}")
    if row["cpu_cost"]["low"] > policy.max_cpu_cost:
        cost = row["cpu_cost"]
        interval = f"{cost['low']:.1f} to {cost['high']:.1f}"
        faults.append(f"CPU cost {cost['median']:.1f} ({interval}) > {policy.max_cpu_cost:g}")
    if "variant" in row:
        faults += _worse(row, base_candidate(row, rows), policy)
    return ", ".join(faults)


def _worse(row: Row, of: Row, policy: Policy) -> list[str]:
    """What keeps a variant from taking the place of the candidate that it was made from."""
    faults = []
    names = [name for name in _KEPT if name in row["val"]]
    lost, name = max((of["val"][name] - row["val"][name], name) for name in names)
    if lost > policy.max_score_drop:
        faults.append(f"loses {lost:.4f} of {name} > {policy.max_score_drop:g}")
    ratio = row["variant"]["cpu_ratio"]
    if ratio["low"] > 1 + policy.max_latency_increase:
        faults.append(f"{ratio['median'] - 1:.0%} slower > {policy.max_latency_increase:.0%}")
    if row["bundle_mb"] >= of["bundle_mb"]:
        faults.append("not smaller")
    return faults
