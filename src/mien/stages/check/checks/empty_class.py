"""Labels without a training sample."""

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext, label_counts


def find(context: CheckContext) -> Issues:
    """The labels that train does not hold."""
    labels = context.labels
    train = label_counts(context).get("train", {})
    missing = tuple(label for label in labels if not train.get(label))
    examples = tuple(IssueExample((label,), "0 in train") for label in missing)
    return Issues(missing, len(labels), examples)


CHECK = Check(
    "empty_class",
    "Labels without a sample in train. The model cannot learn them.",
    find,
    level="error",
)
