"""What is true at the moment of a scrape: models, their scores, training data, drift, verdicts.

Worked out when Prometheus asks and kept nowhere: a version that is no longer served, or a score
without a verdict, has no series.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mien.errors import PredictionLogError
from mien.observability import drift
from mien.observability.metrics import METRICS, Metric
from mien.observability.prediction_log.writer import PredictionLog
from mien.reporting import scores
from mien.stages.serve.loading import Served
from mien.stages.serve.models import Entry, Models
from mien.stages.serve.windows import Windows
from mien.stages.serve.workers import Workers

VERDICTS = 500
"""Verdicts in the sliding window of live accuracy."""
SCORES = ("accuracy", "macro_f1", "map50", "map50_95")
Reading = tuple[str, tuple[str, ...], float]
"""Name of a metric, values of its labels, value."""
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True, eq=False)
class Gauges(Collector):
    """Reads the state of one app when it is collected."""

    models: Models
    workers: Workers
    prediction_log: PredictionLog
    windows: Windows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of the table that have a reading."""
        found: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._readings():
            if name not in found:
                row = _ROWS[name]
                found[name] = GaugeMetricFamily(name, row.meaning, labels=row.labels)
            found[name].add_metric(labels, value)
        yield from found.values()

    def describe(self) -> list[Any]:
        """Nothing: the registry would else collect when it is made."""
        return []

    def _readings(self) -> Iterator[Reading]:
        yield from self._server()
        for entry in self.models.entries:
            yield ("mien_model_loaded", (entry.name,), float(entry.served is not None))
            if entry.served is not None:
                yield from _model(entry, entry.served)
                yield from _training(entry.served)
                yield from self._live(entry.served)
                yield from self._drift(entry.served)

    def _server(self) -> Iterator[Reading]:
        yield ("mien_queue_places", ("taken",), float(self.workers.taken))
        yield ("mien_queue_places", ("limit",), float(self.workers.places))
        try:
            rows, size = self.prediction_log.size()
        except PredictionLogError:
            return  # told by the prediction log itself, in the log and as dropped answers
        yield ("mien_prediction_log_rows", (), float(rows))
        yield ("mien_prediction_log_bytes", (), float(size))

    def _live(self, served: Served) -> Iterator[Reading]:
        of = (served.task.name, served.version)
        try:
            verdicts = self.prediction_log.recent_feedback(served.digest, VERDICTS)
        except PredictionLogError:
            return
        # Like the test's accuracy: of what shows a subject.
        pairs = [
            (each.true_label, each.predicted) for each in verdicts if each.true_label is not None
        ]
        yield ("mien_live_verdicts", of, float(len(pairs)))
        if pairs:
            right = sum(truth == said for truth, said in pairs)
            lower, upper = scores.wilson(right, len(pairs))
            matrix = scores.confusion(pairs, served.task.labels)
            yield ("mien_live_accuracy", of, right / len(pairs))
            yield ("mien_live_accuracy_lower", of, lower)
            yield ("mien_live_accuracy_upper", of, upper)
            yield ("mien_live_macro_f1", of, scores.macro_f1(matrix))

    def _drift(self, served: Served) -> Iterator[Reading]:
        of = (served.task.name, served.version)
        found = self.windows.drifted(served)
        yield ("mien_drift_window_rows", of, float(found.rows))
        for quantity, each in found.quantities.items():
            yield ("mien_drift_score", (*of, quantity), each.score)
            yield ("mien_drift_threshold", (*of, quantity), each.limit)


_ROWS: dict[str, Metric] = {metric.name: metric for metric in METRICS if metric.kind == "gauge"}


def _model(entry: Entry, served: Served) -> Iterator[Reading]:
    of = (served.task.name, served.version)
    facts = (*of, entry.alias, served.candidate, served.digest[:12])
    yield ("mien_model_info", facts, 1.0)
    yield ("mien_model_load_seconds", of, served.load_seconds)
    yield ("mien_model_created_timestamp_seconds", of, served.created)
    metrics = served.model.bundle.manifest.metrics
    if metrics is None:
        return
    for row in metrics.leaderboard:
        for split, measured in (("val", row.val), ("test", row.test)):
            for score, value in measured.named().items():
                if score in SCORES:
                    yield ("mien_model_score", (*of, row.candidate, split, score), value)
    right = round(metrics.test.accuracy * metrics.test.shown)
    lower, _ = scores.wilson(right, metrics.test.shown)
    yield ("mien_live_accuracy_floor", of, lower)


def _training(served: Served) -> Iterator[Reading]:
    if served.reference is None:
        return
    of = (served.task.name, served.version)
    training = served.reference.get("training", {})
    for split, counts in training.get("examples", {}).items():
        for label, count in counts.items():
            yield ("mien_training_examples", (*of, split, label), float(count))
    for check, share in training.get("completeness", {}).items():
        yield ("mien_training_completeness", (*of, check), share)
    for label, share in drift.shares(served.reference).items():
        yield ("mien_label_share_limit", (*of, label), (1 + share) / 2)
