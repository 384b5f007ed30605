"""The latest answers of each served model, and how far they have drifted.

Kept in memory, filled from the prediction log at the start, so that drift is watched on where the
prediction log cannot be read.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass

from mien.errors import PredictionLogError
from mien.observability import drift
from mien.observability.drift import MIN_ROWS, WINDOW, DriftScore, Row
from mien.observability.prediction_log.database import DAY_S
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve.loading import Served


@dataclass(frozen=True)
class Drifted:
    """What is known of one window; no scores where there is no verdict yet."""

    rows: int
    quantities: Mapping[str, DriftScore]


class _Window:
    def __init__(self, rows: list[Row]) -> None:
        self.rows = deque(rows, maxlen=WINDOW)
        self.seen = 0
        self.known: tuple[int, Drifted] | None = None


class Windows:
    """One sliding window for each model, by its checksum. May be used by many threads."""

    def __init__(self, prediction_log: PredictionLog) -> None:
        self._prediction_log = prediction_log
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def begin(self, served: Served) -> None:
        """Fill the window of a model from the prediction log; to be called before its first answer.

        What is older than a day tells nothing of now, as after a rollback.
        """
        try:
            past = self._prediction_log.recent(served.digest, WINDOW, time.time() - DAY_S)
        except PredictionLogError:
            past = []  # the prediction log has told its trouble in the log
        with self._lock:
            self._windows[served.digest] = _Window([_row(event) for event in past])

    def add(self, event: PredictionRecord) -> None:
        """Let the answer into its window, and the oldest one out."""
        with self._lock:
            if window := self._windows.get(event.digest):  # else its model was just replaced
                window.rows.append(_row(event))
                window.seen += 1

    def keep(self, digests: Set[str]) -> None:
        """Forget the windows of all other models."""
        with self._lock:
            self._windows = {key: each for key, each in self._windows.items() if key in digests}

    def drifted(self, served: Served) -> Drifted:
        """Compare the window of a model with the reference of its bundle."""
        with self._lock:
            window = self._windows.get(served.digest) or _Window([])
            seen, rows = window.seen, list(window.rows)
        if window.known is None or window.known[0] != seen:
            window.known = (seen, _compare(rows, served.reference))
        return window.known[1]


def _row(event: PredictionRecord) -> Row:
    return Row(event.label, event.confidence, event.input_stats)


def _compare(rows: list[Row], reference: Mapping[str, object] | None) -> Drifted:
    if reference is None or len(rows) < MIN_ROWS:
        return Drifted(len(rows), {})
    return Drifted(len(rows), drift.compare(rows, reference))
