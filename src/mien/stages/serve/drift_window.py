"""The latest predictions of each served model, and how far they have drifted.

Kept in memory and filled from the prediction log at the start, so that drift is still watched
where the log cannot be read. Where servers share a log, a window has the predictions of all: it is
filled again before it is shown.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass

from mien.errors import PredictionLogError
from mien.observability import drift
from mien.observability.drift import MIN_ROWS, WINDOW_ROWS, DriftRow, DriftScore
from mien.observability.estimate import AccuracyEstimate, estimate
from mien.observability.prediction_log.database import DAY_S
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve.loading import LoadedModel

REFRESH_S = 10.0
"""Time after which a window of a shared log is read again: shorter than between two scrapes."""


@dataclass(frozen=True)
class DriftStatus:
    """The size of one window, and the score of each quantity; none while it is too small."""

    rows: int
    scores: Mapping[str, DriftScore]
    accuracy: AccuracyEstimate
    """Of the same window, without labels."""

    @property
    def is_drifting(self) -> bool:
        """Whether any quantity is beyond its limit."""
        return any(each.score > each.limit for each in self.scores.values())


class _Window:
    def __init__(self, rows: list[DriftRow]) -> None:
        self.rows = deque(rows, maxlen=WINDOW_ROWS)
        self.added, self.filled_at = 0, time.monotonic()
        self.cached: tuple[int, DriftStatus] | None = None
        """A status, and the value of `added` for which it holds."""


class DriftWindows:
    """One sliding window for each model, by its digest. Thread-safe."""

    def __init__(self, prediction_log: PredictionLog) -> None:
        self._prediction_log = prediction_log
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def start(self, model: LoadedModel) -> None:
        """Fill the window of a model from the prediction log, before its first request.

        Records older than a day, as after a rollback, say nothing about the present.
        """
        rows = self._recent(model) or []
        with self._lock:
            self._windows[model.digest] = _Window(rows)

    def refresh(self, model: LoadedModel) -> None:
        """Fill the window again with the predictions of all servers that share the log, if they do
        and the last time is over `REFRESH_S` ago; reads the log, so it may wait."""
        with self._lock:
            window = self._windows.get(model.digest)
        if not self._prediction_log.shared or window is None:
            return
        if time.monotonic() - window.filled_at >= REFRESH_S and (rows := self._recent(model)):
            with self._lock:
                if model.digest in self._windows:  # else it was just replaced
                    self._windows[model.digest] = _Window(rows)

    def _recent(self, model: LoadedModel) -> list[DriftRow] | None:
        """None where the log cannot be read; it has logged the reason."""
        try:
            records = self._prediction_log.recent(model.digest, WINDOW_ROWS, time.time() - DAY_S)
        except PredictionLogError:
            return None
        return [_row(record) for record in records]

    def add(self, record: PredictionRecord) -> None:
        """Add a prediction to the window of its model; the oldest one leaves it."""
        with self._lock:
            if window := self._windows.get(record.digest):  # else its model was just replaced
                window.rows.append(_row(record))
                window.added += 1

    def retain(self, digests: Set[str]) -> None:
        """Delete the windows of all other models."""
        with self._lock:
            self._windows = {key: each for key, each in self._windows.items() if key in digests}

    def status(self, model: LoadedModel) -> DriftStatus:
        """Compare the window of a model with the reference of its bundle."""
        with self._lock:
            window = self._windows.get(model.digest) or _Window([])
            added, rows = window.added, list(window.rows)
        if window.cached is None or window.cached[0] != added:
            window.cached = (added, _compare(rows, model))
        return window.cached[1]


def _row(record: PredictionRecord) -> DriftRow:
    return DriftRow(record.label, record.confidence, record.input_stats, record.outcome)


def _compare(rows: list[DriftRow], model: LoadedModel) -> DriftStatus:
    scores: Mapping[str, DriftScore] = {}
    if model.reference is not None and len(rows) >= MIN_ROWS:
        scores = drift.compare(rows, model.reference)
    return DriftStatus(len(rows), scores, estimate(rows, model.model.decision, scores))
