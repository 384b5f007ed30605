"""Near duplicates: the same photo saved again, or the same hand measured again."""

from collections.abc import Iterable, Sequence

from mien.task import Check, Issues, Sample

from ..context import CheckContext, Cluster
from ..examples import cluster_examples, names, one_per_digest


def find(context: CheckContext) -> Issues:
    """All but the first content of each cluster; exact duplicates are another check."""
    samples = context.samples
    clusters = [
        cluster
        for cluster in context.near_duplicates
        if len({samples[index].digest for index in cluster}) > 1
    ]
    examples = cluster_examples(context, [one_per_digest(samples, each) for each in clusters])
    return Issues(names(context, redundant(samples, clusters)), len(samples), examples)


def redundant(samples: Sequence[Sample], clusters: Iterable[Cluster]) -> list[int]:
    """The first sample of each content in each cluster, without the first content."""
    return [index for cluster in clusters for index in one_per_digest(samples, cluster)[1:]]


CHECK = Check(
    "near_duplicates",
    "Samples that are almost the same as another one. The set holds less than its size suggests.",
    find,
    limit=0.05,
)
