"""Examples of issues for people: which samples, and what their labels and splits are."""

from collections.abc import Iterable, Mapping, Sequence

from mien.task import IssueExample, Issues, Sample

from .context import NO_LABEL, CheckContext, Cluster

MAX_SAMPLES = 24
"""Samples that the examples of one check show at most."""
_MAX_PER_CLUSTER = 4
"""Samples of one cluster that an example shows at most."""


def describe_sample(sample: Sample) -> str:
    """Label and split of a sample in words."""
    labels = " + ".join(sample.labels) or NO_LABEL
    return f"{labels} in {sample.split}" if sample.split else labels


def names(context: CheckContext, indices: Iterable[int]) -> tuple[str, ...]:
    """The names of samples."""
    return tuple(context.samples[index].name for index in indices)


def cluster_examples(
    context: CheckContext, clusters: Iterable[Sequence[int]]
) -> tuple[IssueExample, ...]:
    """Examples of samples that belong together, as many as may be shown."""
    examples: list[IssueExample] = []
    left = MAX_SAMPLES
    for cluster in clusters:
        members = cluster[:_MAX_PER_CLUSTER]
        if len(members) > left:
            break
        left -= len(members)
        more = f" and {len(cluster) - len(members)} more" if len(cluster) > len(members) else ""
        text = "; ".join(describe_sample(context.samples[index]) for index in members) + more
        examples.append(IssueExample(names(context, members), text))
    return tuple(examples)


def sample_examples(context: CheckContext, listed: Sequence[str]) -> tuple[IssueExample, ...]:
    """Examples by name; a name may be that of a file that is no sample."""
    by_name = {sample.name: sample for sample in context.samples}
    return tuple(
        IssueExample((name,), describe_sample(by_name[name]) if name in by_name else "")
        for name in listed[:MAX_SAMPLES]
    )


def leakage_issues(context: CheckContext, leakage: Mapping[int, int]) -> Issues:
    """Samples of val and test with the duplicate that was seen before."""
    measured = sum(sample.split in ("val", "test") for sample in context.samples)
    return Issues(
        names(context, leakage), measured, cluster_examples(context, list(leakage.items()))
    )


def one_per_digest(samples: Sequence[Sample], cluster: Cluster) -> tuple[int, ...]:
    """The first sample of each content in a cluster."""
    first = {samples[index].digest: index for index in reversed(cluster)}
    return tuple(sorted(first.values()))
