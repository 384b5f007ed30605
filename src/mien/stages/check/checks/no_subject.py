"""Labelled images in which no subject is detected."""

from mien.task import Check, Issues

from ..context import CheckContext
from ..examples import cluster_examples, names


def find(context: CheckContext) -> Issues:
    """Labelled images, of a bounded selection, in which the detector finds nothing."""
    counts = context.subject_counts
    empty = [index for index, count in counts.items() if not count]
    examples = cluster_examples(context, [(index,) for index in empty])
    return Issues(names(context, empty), len(counts), examples)


CHECK = Check(
    "no_subject", "Labelled images in which no face or hand is detected.", find, limit=0.05
)
