"""Near duplicates of validation or test samples in a split that the model has seen."""

from mien.task import Check, Issues

from ..context import CheckContext
from ..examples import leakage_issues


def find(context: CheckContext) -> Issues:
    """As `split_leakage`, by near duplicates; samples that it finds are not counted again."""
    exact = context.leakage(context.duplicates)
    near = context.leakage(context.near_duplicates)
    return leakage_issues(
        context, {index: twin for index, twin in near.items() if index not in exact}
    )


CHECK = Check(
    "near_split_leakage",
    "Validation or test samples with a near duplicate in an earlier split. Scores are too high.",
    find,
    limit=0.01,
    fixable=True,
)
