"""Exact duplicates of validation or test samples in a split that the model has seen."""

from mien.task import Check, Issues

from ..context import CheckContext
from ..examples import leakage_issues


def find(context: CheckContext) -> Issues:
    """Val samples with a duplicate in train, and test samples with one in train or val."""
    return leakage_issues(context, context.leakage(context.duplicates))


CHECK = Check(
    "split_leakage",
    "Validation or test samples with an exact duplicate in an earlier split. Scores are too high.",
    find,
    level="error",
    fixable=True,
)
