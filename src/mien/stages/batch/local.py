"""Scores parts of a plan in this process."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from . import parts, scoring
from .parts import PartRecord
from .plan import PlannedItems
from .scoring import Scorer

Progress = Callable[[int, int], None]
"""Receives numbers of new rows and of failed ones among them."""


def score_parts(
    scorer: Scorer, items: PlannedItems, numbers: Iterable[int], progress: Progress
) -> Iterator[PartRecord]:
    """Score parts one after the other; the threads do not wait at the end of a part."""
    plan, waiting = items.plan, deque(numbers)
    sequence = plan.identity.sequence
    jobs = (job for each in tuple(waiting) for job in scoring.split(items.of(each), sequence))
    schema = scorer.schema(plan.key_column, plan.identity)
    rows: list[scoring.ResultRow] = []
    with closing(scorer.score(jobs, sequence)) as results:
        for _, job_rows in results:
            rows += job_rows
            progress(len(job_rows), sum(row["error"] is not None for row in job_rows))
            if len(rows) == plan.parts[waiting[0]].rows:
                number = waiting.popleft()
                yield parts.write(items.folder, plan, number, rows, schema, scorer.write_table)
                rows = []
