"""The table of challengers' answers, beside the predictions of the champion to the same requests.

A table of its own: a prediction log that was written before it existed stays usable. A row repeats
what the champion answered, as the champion's own row may still wait in the spool; the feedback is
in the champion's row alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, fields
from statistics import median
from typing import Any

from mien.observability.sequential import PairCounts

ERROR = "error"
"""The outcome of a challenger that failed."""
RECENT = 1000
"""Answers over which the median of the CPU time is computed."""
Read = Callable[..., list[Any]]
"""Executes a statement with its values and returns the rows."""


@dataclass(frozen=True)
class ShadowRecord:
    """One answer of a challenger. The fields are the columns of the table, in this order."""

    trace_id: str
    timestamp: float
    """Seconds since 1970."""
    version: str
    digest: str
    outcome: str
    label: str | None
    cpu_s: float
    """CPU seconds of the prediction, without decoding."""
    champion_digest: str
    champion_label: str | None
    champion_cpu_s: float

    @property
    def agrees(self) -> bool:
        return self.outcome != ERROR and self.label == self.champion_label

    def as_row(self) -> tuple[Any, ...]:
        """The values of the columns."""
        return astuple(self)


@dataclass(frozen=True)
class ShadowSummary:
    """What the log says about two models that answered the same requests."""

    answers: int = 0
    agreements: int = 0
    errors: int = 0
    first: float = 0.0
    """Timestamp of the first answer."""
    last: float = 0.0
    cpu_s: float = 0.0
    """Median of the recent answers."""
    champion_cpu_s: float = 0.0
    pairs: PairCounts = field(default_factory=PairCounts)
    """Of the answers with feedback."""
    disagreements_with_feedback: int = 0


def _count(condition: str) -> str:
    return f"count(*) filter (where {condition})"


_NAMES = [column.name for column in fields(ShadowRecord)]
_FAILED = f"s.outcome = '{ERROR}'"
_AGREES = f"(s.outcome <> '{ERROR}' and s.label is s.champion_label)"
_RIGHT = f"(s.outcome <> '{ERROR}' and s.label is p.true_label)"
_CHAMPION_RIGHT = "(p.label is p.true_label)"
TABLE = """
create table if not exists shadow (
    id integer primary key, trace_id text unique not null, timestamp real not null,
    version text not null, digest text not null, outcome text not null, label text,
    cpu_s real not null, champion_digest text not null, champion_label text,
    champion_cpu_s real not null
)
"""
INSERT = (
    f"insert or ignore into shadow ({', '.join(_NAMES)}) values ({', '.join('?' * len(_NAMES))})"
)
DELETE_OLDEST = (
    "delete from shadow where id in (select id from "
    "(select id, timestamp from shadow order by id limit ?) as oldest "
    "where timestamp < (select timestamp from predictions order by id limit 1))"
)
"""Of which the predictions were deleted."""
_OF_PAIR = "from shadow s where s.digest = ? and s.champion_digest = ?"
_TOTALS = (
    f"select count(*), {_count(_AGREES)}, {_count(_FAILED)}, "
    f"coalesce(min(s.timestamp), 0), coalesce(max(s.timestamp), 0) {_OF_PAIR}"
)
_CPU = f"select s.cpu_s, s.champion_cpu_s {_OF_PAIR} order by s.id desc limit {RECENT}"
_PAIRS = (
    f"select {_count(f'{_RIGHT} and not {_CHAMPION_RIGHT}')}, "
    f"{_count(f'{_CHAMPION_RIGHT} and not {_RIGHT}')}, "
    f"{_count(f'{_RIGHT} and {_CHAMPION_RIGHT}')}, "
    f"{_count(f'not {_RIGHT} and not {_CHAMPION_RIGHT}')}, "
    f"{_count(f'not {_AGREES}')} "
    "from predictions p join shadow s on s.trace_id = p.trace_id "
    "where p.digest = ? and p.feedback_timestamp is not null and p.true_label is not null "
    "and s.digest = ?"
)
"""As for live accuracy, feedback that there is no subject is not scored."""


def read_pairs(read: Read, digest: str, champion_digest: str) -> tuple[PairCounts, int]:
    """Pairs of answers with feedback, and the number of them in which the models disagree."""
    wins, losses, both_right, both_wrong, different = read(_PAIRS, champion_digest, digest)[0]
    return PairCounts(wins, losses, both_right, both_wrong), different


def summarise(read: Read, digest: str, champion_digest: str) -> ShadowSummary:
    """What the log says about a challenger and a champion, by the digests of their bundles."""
    answers, agreements, errors, first, last = read(_TOTALS, digest, champion_digest)[0]
    recent: Sequence[tuple[float, float]] = read(_CPU, digest, champion_digest)
    pairs, different = read_pairs(read, digest, champion_digest)
    return ShadowSummary(
        *(answers, agreements, errors, first, last),
        cpu_s=median(each[0] for each in recent) if recent else 0.0,
        champion_cpu_s=median(each[1] for each in recent) if recent else 0.0,
        pairs=pairs,
        disagreements_with_feedback=different,
    )
