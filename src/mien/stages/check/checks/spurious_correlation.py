"""Labels that can be predicted from metadata, without the subject."""

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext, labelled


def find(context: CheckContext) -> Issues:
    """Labels predicted right from metadata, beyond those right by the most common label."""
    baseline = context.metadata_baseline
    if baseline is None:
        return Issues()
    total = len(labelled(context))
    predictive = [each for each in baseline.by_feature if each[1] > baseline.majority]
    majority = f"right, where the most common label is right in {baseline.majority:.1%}"
    examples = tuple(
        IssueExample((name,), f"alone {accuracy:.1%} {majority}") for name, accuracy in predictive
    )
    count = max(0, round((baseline.accuracy - baseline.majority) * total))
    hint = f"{predictive[0][0]} {examples[0].description}" if predictive else ""
    return Issues(tuple(name for name, _ in predictive), total, examples, count, hint=hint)


CHECK = Check(
    "spurious_correlation",
    "Labels predicted from metadata alone (file type, size, source, mean colour), beyond the most "
    "common label. A model may learn the metadata.",
    find,
    limit=0.08,
)
