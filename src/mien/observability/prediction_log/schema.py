"""The schema of the prediction log: record types, table and SQL statements.

The log never stores an input. A change of the columns raises `FORMAT_VERSION`. The statements are
those of SQLite; `postgresql.py` translates them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Self

from pydantic_core import to_json

FORMAT_VERSION = 2
"""Stored in an SQLite file as its `user_version`, in PostgreSQL in the table `mien.format`."""


@dataclass(frozen=True)
class PredictionRecord:
    """One prediction of the service. The fields are the columns of the table, in this order."""

    trace_id: str
    timestamp: float
    """Seconds since 1970."""
    task: str
    version: str
    digest: str
    """SHA-256 of the bundle's manifest."""
    outcome: str
    label: str | None
    """The predicted label; None where no subject was detected."""
    confidence: float
    input_stats: Mapping[str, float]
    latency_s: float
    """Seconds from the start of the request to its prediction."""

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Make the record of a row of the table."""
        values = dict(zip(_COLUMN_NAMES, row, strict=True))
        return cls(**{**values, "input_stats": json.loads(values["input_stats"])})

    def as_row(self) -> tuple[Any, ...]:
        """The values of the columns; finite input statistics as JSON, which has no others."""
        stats = {name: value for name, value in self.input_stats.items() if isfinite(value)}
        return (
            *(self.trace_id, self.timestamp, self.task, self.version, self.digest),
            *(self.outcome, self.label, self.confidence),
            *(to_json(stats).decode(), self.latency_s),
        )


@dataclass(frozen=True)
class Feedback:
    """The predicted label of a record and the true one; None for 'no subject'."""

    predicted: str | None
    true_label: str | None

    @property
    def is_correct(self) -> bool:
        return self.predicted == self.true_label


_COLUMN_NAMES = [column.name for column in fields(PredictionRecord)]
COLUMNS = ", ".join(_COLUMN_NAMES)
COLUMN_COUNT = len(_COLUMN_NAMES)
TABLE = """
create table predictions (
    id integer primary key, trace_id text unique not null, timestamp real not null,
    task text not null, version text not null, digest text not null, outcome text not null,
    label text, confidence real not null, input_stats text not null, latency_s real not null,
    true_label text, feedback_timestamp real
)
"""
INDEX = """
create index feedback on predictions (digest, feedback_timestamp)
where feedback_timestamp is not null
"""
INSERT = f"insert or ignore into predictions ({COLUMNS}) values ({', '.join('?' * COLUMN_COUNT)})"
FIND = f"select {COLUMNS} from predictions where trace_id = ?"
FIND_SINCE = f"{FIND} and timestamp > ?"
RECENT = (
    f"select {COLUMNS} from predictions where digest = ? and timestamp > ? order by id desc limit ?"
)
SET_FEEDBACK = (
    "update predictions set true_label = ?, feedback_timestamp = ? "
    "where trace_id = ? and timestamp > ?"
)
RECENT_FEEDBACK = (
    "select label, true_label from predictions where digest = ? "
    "and feedback_timestamp is not null and timestamp > ? order by feedback_timestamp desc limit ?"
)
CORRECT_SINCE = (
    "select label is true_label from predictions where digest = ? and timestamp > ? "
    "and feedback_timestamp is not null and true_label is not null order by feedback_timestamp"
)
COUNT = "select coalesce(max(id) - min(id) + 1, 0) from predictions"
"""Only the oldest rows are ever deleted, so the ids have no gaps in SQLite. In PostgreSQL a batch
that failed leaves one: the count is then a little too high."""
DELETE_OLDEST = (
    "delete from predictions where id in (select id from "
    "(select id, timestamp from predictions order by id limit ?) as oldest where timestamp <= ?)"
)
