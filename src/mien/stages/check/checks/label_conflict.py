"""Duplicates with different labels."""

from collections import Counter
from collections.abc import Iterable, Sequence

from mien.task import Check, Issues, Sample

from ..context import CheckContext, Cluster
from ..examples import cluster_examples, names


def find(context: CheckContext) -> Issues:
    """Samples that carry another label than most samples of the same image."""
    minorities = conflicts(context.samples, context.same_images)
    cluster_of = {index: cluster for cluster in context.same_images for index in cluster}
    pairs = []
    for minority in minorities:
        majority = [each for each in cluster_of[minority[0]] if each not in minority]
        pairs.append((majority[0], *minority))
    wrong = [index for minority in minorities for index in minority]
    examples = cluster_examples(context, pairs)
    return Issues(names(context, wrong), len(context.samples), examples)


def conflicts(samples: Sequence[Sample], clusters: Iterable[Cluster]) -> list[Cluster]:
    """Of each cluster with several labels, the members without its most common one."""
    minorities = []
    for cluster in clusters:
        labels = Counter(_labels(samples[index]) for index in cluster)
        common = labels.most_common(1)[0][0]
        minority = tuple(index for index in cluster if _labels(samples[index]) != common)
        if minority:
            minorities.append(minority)
    return minorities


def _labels(sample: Sample) -> tuple[str, ...]:
    return tuple(sorted(sample.labels))


CHECK = Check(
    "label_conflict",
    "The same image with different labels. At least one of them is wrong.",
    find,
    level="error",
    limit=0.01,
    fixable=True,
)
