"""What a prediction log in PostgreSQL costs an answer: docs/source/measured/postgresql.md.

    python3 tasks.py bench postgresql

Takes about a minute, on Linux, and needs no workspace. CPU time of this process alone, with the
thread that moves records; PostgreSQL itself is another process. The logs take turns.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from bench.page import ROOT, table, write
from mien.observability.prediction_log import writer
from mien.observability.prediction_log.location import PostgresLocation
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve.trace_id import new_trace_id

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the server to measure against
import postgresql

GOAL_US = 20.0
TURNS, ANSWERS = 15, 1024
RATES = (4, 16, 32, 64, 256)
"""Answers in a second of one server; the spool is emptied every `FLUSH_INTERVAL_S`."""


def main() -> None:
    """Measure, and write the page."""
    writer.FLUSH_INTERVAL_S, interval = 3600.0, writer.FLUSH_INTERVAL_S  # batches are made here
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.running())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sqlite = stack.enter_context(closing(PredictionLog(scratch / "predictions.db")))
        location = PostgresLocation(server.address, scratch / "spool")
        shared = stack.enter_context(closing(PredictionLog(location)))
        batches = {rate: round(rate * interval) for rate in RATES}
        used: dict[Any, list[float]] = {name: [] for name in ("sqlite", *RATES)}
        for _ in range(TURNS):
            used["sqlite"].append(_cpu_us(sqlite, writer.FLUSH_ROWS))
            for rate, batch in batches.items():
                used[rate].append(_cpu_us(shared, batch))
        assert server.count() == TURNS * ANSWERS * len(RATES)
    write("postgresql", "What a prediction log in PostgreSQL costs", _parts(used, batches))


def _parts(used: dict[Any, list[float]], batches: dict[int, int]) -> Iterator[str]:
    base = median(used["sqlite"])
    yield (
        f"CPU time of the server for each answer, batches included; median of {TURNS} turns of "
        f"{ANSWERS:,} answers. A log in SQLite moves {writer.FLUSH_ROWS} records at a time and "
        f"takes {_range(used['sqlite'])} µs."
    )
    rows = [
        {
            "answers a second": rate,
            "records in a batch": batch,
            "PostgreSQL, µs": _range(used[rate]),
            "more than SQLite, µs": f"{median(used[rate]) - base:+.0f}",
            f"at most {GOAL_US:g} µs more": "yes" if median(used[rate]) - base <= GOAL_US else "NO",
        }
        for rate, batch in batches.items()
    ]
    yield table(rows)


def _range(values: list[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _cpu_us(log: PredictionLog, batch: int) -> float:
    """Microseconds of one record, with its share of a batch."""
    records = [_record() for _ in range(ANSWERS)]
    start = time.process_time()
    for number, record in enumerate(records, start=1):
        log.add(record)
        if number % batch == 0:
            log._try_drain()
    return (time.process_time() - start) / ANSWERS * 1e6


def _record() -> PredictionRecord:
    stats = {"brightness": 0.5123456, "contrast": 0.2123, "hands": 1.0, "width": 640.0}
    return PredictionRecord(
        *(new_trace_id(), time.time(), "gesture", "3", "c" * 64, "ok", "like", 0.98765432),
        *(stats, 0.0387654),
    )


if __name__ == "__main__":
    main()
