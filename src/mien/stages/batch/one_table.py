"""A batch of one process into one table; its parts are in a checkpoint beside the table."""

from contextlib import closing
from pathlib import Path
from time import monotonic

from mien.reporting import console
from mien.storage.buckets import Location

from . import inputs, scoring
from .checkpoint import BatchCheckpoint, open_checkpoint
from .inputs import BatchInput, BatchItem
from .result import BatchIdentity, BatchResult
from .scoring import Scorer

PART_ROWS, PART_INTERVAL_S = 2000, 5.0
"""A part is written when it has so many rows, or after this time."""


def score(
    source: Location,
    out: Path,
    identity: BatchIdentity,
    force: bool,
    scorer: Scorer,
) -> BatchResult:
    """Score all items of `source` into the table `out`, or continue an interrupted run."""
    batch_input = inputs.announced(source, scorer.task, out, identity)
    with open_checkpoint(out, identity, force) as checkpoint:
        if finished := checkpoint.finished(batch_input.fingerprint):
            return BatchResult(out, *finished, True, 0.0, resumed_rows=finished[0])
        return _score(batch_input, checkpoint, scorer)


def _score(batch_input: BatchInput, checkpoint: BatchCheckpoint, scorer: Scorer) -> BatchResult:
    stopwatch = console.Stopwatch()
    sequence = checkpoint.identity.sequence
    resumed = checkpoint.resume(batch_input.items(), batch_input.fingerprint)
    rows, failed = resumed.rows, resumed.failed
    jobs = scoring.split(resumed.remaining, sequence)
    items: list[BatchItem] = []
    part: list[scoring.ResultRow] = []
    last_write = monotonic()
    with (
        console.bar(f"mien-{scorer.task.name}") as advance,
        closing(scorer.score(jobs, sequence)) as results,
    ):
        for job, job_rows in results:
            items += [BatchItem(item.name, item.stamp) for item in job]  # without the bodies
            part += job_rows
            rows += len(job_rows)
            failed += sum(row["error"] is not None for row in job_rows)
            advance(rows, batch_input.count, f"{failed} failed" if failed else "")
            if len(part) >= PART_ROWS or monotonic() - last_write > PART_INTERVAL_S:
                checkpoint.write(items, part)
                items, part, last_write = [], [], monotonic()
    if part:
        checkpoint.write(items, part)
    schema = scorer.schema(batch_input.key_column, checkpoint.identity)
    checkpoint.finish(
        batch_input.fingerprint, rows, failed,
        lambda path: scorer.write_table(path, checkpoint.rows(), schema),
    )  # fmt: skip
    return BatchResult(checkpoint.out, rows, failed, False, stopwatch.seconds, resumed.rows)
