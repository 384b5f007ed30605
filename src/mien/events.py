"""The record written for every answer; shared by serving, which writes it, and monitoring.

It holds what was answered and how long it took, never what was sent.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_log = logging.getLogger("mien.answers")


@dataclass(frozen=True)
class Event:
    """One answer. `when` is seconds since 1970, `seconds` the time from request to answer."""

    trace_id: str
    when: float
    task: str
    version: str
    outcome: str
    label: str | None
    confidence: float
    measures: Mapping[str, float]
    seconds: float


def write(event: Event) -> None:
    """Log the event as one line of JSON."""
    _log.info(json.dumps(asdict(event), separators=(",", ":")))
