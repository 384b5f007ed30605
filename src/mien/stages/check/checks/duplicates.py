"""Exact duplicates."""

from mien.task import Check, Issues

from ..context import CheckContext
from ..examples import cluster_examples, names


def find(context: CheckContext) -> Issues:
    """All but the first sample of each content."""
    repeated = [index for cluster in context.duplicates for index in cluster[1:]]
    examples = cluster_examples(context, context.duplicates)
    return Issues(names(context, repeated), len(context.samples), examples)


CHECK = Check(
    "duplicates",
    "Samples with the same content as another one. The content counts more than once.",
    find,
    limit=0.01,
    fixable=True,
)
