"""The answers of the last hour, counted in memory by label and outcome, and how long they took.

Counts in minutes, and times in buckets: the size of the window does not depend on the traffic.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mien.task import Outcome, Prediction

MINUTES = 60
BUCKET_RATIO = 1.15
_EDGES_S = tuple(0.0005 * BUCKET_RATIO**step for step in range(85))
"""Upper edges of the buckets of times: half a millisecond to a minute."""


@dataclass(frozen=True, order=True)
class AnswerKind:
    """What is counted together."""

    task: str
    label: str | None
    outcome: Outcome
    is_frame: bool
    """Whether it was a frame of a video."""


@dataclass
class _Minute:
    number: int
    counts: Counter[AnswerKind] = field(default_factory=Counter)
    latencies: dict[str, list[int]] = field(default_factory=dict)
    """Counts of the buckets, by task."""


class AnswerWindow:
    """The minutes of the last hour that have an answer. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: deque[_Minute] = deque(maxlen=MINUTES)

    def add(self, task: str, prediction: Prediction, is_frame: bool, latency_s: float) -> None:
        """Count one answer."""
        label = prediction.best.label if prediction.best else None
        kind = AnswerKind(task, label, prediction.outcome, is_frame)
        number, bucket = int(self._clock() / 60), bisect_left(_EDGES_S, latency_s)
        with self._lock:
            if not self._minutes or self._minutes[-1].number != number:
                self._minutes.append(_Minute(number))
            minute = self._minutes[-1]
            minute.counts[kind] += 1
            minute.latencies.setdefault(task, [0] * (len(_EDGES_S) + 1))[bucket] += 1

    def counts(self, task: str) -> Counter[AnswerKind]:
        """Answers of a task by kind."""
        total: Counter[AnswerKind] = Counter()
        with self._lock:
            for minute in self._last_hour():
                total.update({kind: n for kind, n in minute.counts.items() if kind.task == task})
        return total

    def latency_s(self, task: str, quantile: float) -> float | None:
        """A quantile of the times, to within 8 %; None without any answer."""
        with self._lock:
            times = [each.latencies[task] for each in self._last_hour() if task in each.latencies]
            buckets = [sum(column) for column in zip(*times, strict=True)]
        rank = quantile * sum(buckets)
        for number, count in enumerate(buckets):
            rank -= count
            if rank <= 0:
                return float(_EDGES_S[min(number, len(_EDGES_S) - 1)] / BUCKET_RATIO**0.5)
        return None

    def _last_hour(self) -> Iterator[_Minute]:
        oldest = int(self._clock() / 60) - MINUTES
        return (minute for minute in self._minutes if minute.number > oldest)
