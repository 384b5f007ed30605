"""The difference in size between the smallest and the largest class."""

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext, label_counts


def find(context: CheckContext) -> Issues:
    """How many samples the smallest class has fewer than the largest, of those of the largest."""
    train = label_counts(context).get("train", {})
    sizes = {label: train[label] for label in context.labels if train.get(label)}
    if not sizes:
        return Issues()
    smallest, largest = min(sizes, key=lambda each: sizes[each]), max(sizes, key=sizes.__getitem__)
    missing = sizes[largest] - sizes[smallest]
    if not missing:
        return Issues((), sizes[largest], count=0)
    examples = tuple(
        IssueExample((label,), f"{sizes[label]:,} in train") for label in (smallest, largest)
    )
    return Issues((smallest,), sizes[largest], examples, missing)


CHECK = Check(
    "class_imbalance",
    "Samples that the smallest class has fewer than the largest. The model learns it less well.",
    find,
    limit=0.9,
)
