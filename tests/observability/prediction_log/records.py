"""Rows for the tests of the prediction log."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

from mien.observability.prediction_log.schema import PredictionRecord

NOW = time.time()
OURS = "c" * 64
_counter = count(1)


def record(**changes: object) -> PredictionRecord:
    """A record with its own trace_id."""
    number = next(_counter)
    row = PredictionRecord(
        trace_id=f"{number:032x}",
        timestamp=NOW,
        task="shape",
        version="3",
        digest=OURS,
        outcome="ok",
        label="star",
        confidence=0.75,
        input_stats={"brightness": 0.5, "hands": 2.0},
        latency_s=0.01,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def stored_rows(path: Path) -> int:
    """Number of rows in the file, counted by another connection, without the prediction log."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("select count(*) from predictions").fetchone()[0])
