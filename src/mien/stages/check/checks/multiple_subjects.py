"""Images with more subjects than labels."""

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext
from ..examples import MAX_SAMPLES, describe_sample, names


def find(context: CheckContext) -> Issues:
    """Labelled images, of a bounded selection, with more detections than labels."""
    samples, counts = context.samples, context.subject_counts
    crowded = [index for index, count in counts.items() if count > len(samples[index].labels)]
    examples = [
        IssueExample(
            names(context, [index]), f"{counts[index]} detected; {describe_sample(samples[index])}"
        )
        for index in crowded[:MAX_SAMPLES]
    ]
    return Issues(names(context, crowded), len(counts), tuple(examples))


CHECK = Check(
    "multiple_subjects",
    "Images with more faces or hands than labels. It is unclear which one is labelled.",
    find,
    limit=0.1,
)
