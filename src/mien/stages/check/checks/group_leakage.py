"""People who appear in a measured split and in a split that the model has seen."""

from collections import Counter

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext
from ..examples import MAX_SAMPLES, names


def find(context: CheckContext) -> Issues:
    """Val and test samples of people who are in an earlier split too."""
    by_person: dict[str, list[int]] = {}
    for index, sample in enumerate(context.samples):
        if sample.person and sample.split:
            by_person.setdefault(sample.person, []).append(index)
    leaked = context.leakage([tuple(indices) for indices in by_person.values()])
    counts = Counter(context.samples[index].person for index in leaked)
    examples = [
        IssueExample(names(context, by_person[person][:1]), f"{person}: {count} in val or test")
        for person, count in counts.most_common(MAX_SAMPLES)
    ]
    return Issues(names(context, leaked), sum(map(len, by_person.values())), tuple(examples))


CHECK = Check(
    "group_leakage",
    "Validation or test samples of a person who is in an earlier split. On new people scores will "
    "be lower.",
    find,
    fixable=True,
)
