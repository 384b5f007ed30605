"""Images that cannot be decoded."""

from mien.task import Check, IssueExample, Issues

from ..context import CheckContext
from ..examples import MAX_SAMPLES, names


def find(context: CheckContext) -> Issues:
    """Images without pixels, each with the reason."""
    stats = context.image_stats
    if stats is None:
        return Issues()
    rows = {index: row for index, row in context.stats_row.items() if not stats.readable[row]}
    examples = [
        IssueExample((context.samples[index].name,), stats.errors[row])
        for index, row in list(rows.items())[:MAX_SAMPLES]
    ]
    return Issues(names(context, rows), len(stats), tuple(examples))


CHECK = Check(
    "unreadable",
    "Images that cannot be decoded. The training skips them.",
    find,
    level="error",
    limit=0.01,
)
