"""What is kept of every answer: the record, and the verdict of a person on it.

Never what was sent. Who keeps them is `journal.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

COLUMNS = (
    "trace_id, moment, task, version, checksum, outcome, label, confidence, input_stats, seconds"
)
"""The values of a row, in their order."""
JSON = json.JSONEncoder(separators=(",", ":"))  # `dumps` would make one for each answer


@dataclass(frozen=True)
class Event:
    """One answer. `moment` is seconds since 1970, `seconds` the time from request to answer."""

    trace_id: str
    moment: float
    task: str
    version: str
    checksum: str
    """SHA-256 of the bundle's manifest."""
    outcome: str
    label: str | None
    confidence: float
    input_stats: Mapping[str, float]
    seconds: float

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """The answer that a row holds."""
        said = dict(zip(COLUMNS.split(", "), row, strict=True))
        return cls(**{**said, "input_stats": json.loads(said["input_stats"])})

    @property
    def row(self) -> tuple[Any, ...]:
        """The values of its row."""
        input_stats = JSON.encode(dict(self.input_stats))
        return (
            *(self.trace_id, self.moment, self.task, self.version, self.checksum),
            *(self.outcome, self.label, self.confidence, input_stats, self.seconds),
        )


@dataclass(frozen=True)
class Verdict:
    """What a model answered, and what a person says is right; None for 'no subject'."""

    said: str | None
    truth: str | None

    @property
    def right(self) -> bool:
        return self.said == self.truth
