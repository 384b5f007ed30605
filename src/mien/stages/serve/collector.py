"""Metrics that are read at a scrape: models, their scores, training data, drift, live accuracy.

Computed when Prometheus asks and stored nowhere: a version that is no longer served, or a score
without feedback, has no series.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from mien.errors import PredictionLogError
from mien.observability import drift, sequential
from mien.observability.metrics import BY_NAME
from mien.observability.prediction_log.writer import PredictionLog
from mien.observability.review.sample import REASONS
from mien.reporting import scores
from mien.stages.serve.canary import Canary
from mien.stages.serve.drift_window import DriftWindows
from mien.stages.serve.loading import LoadedModel
from mien.stages.serve.models import Models, ModelSlot
from mien.stages.serve.registry_follower import RegistryFollower
from mien.stages.serve.review_sampler import DROPPED, ReviewSampler
from mien.stages.serve.shadow import ShadowRunner
from mien.stages.serve.workers import WorkerPool

LIVE_ACCURACY_WINDOW = 500
"""Feedbacks in the sliding window of live accuracy."""
SCORES = ("accuracy", "macro_f1", "map50", "map50_95")
Reading = tuple[str, tuple[str, ...], float]
"""Name of a metric, values of its labels, value."""
_log = logging.getLogger("mien.serve")


class LiveScores(BaseModel):
    """What the last feedbacks on a model say; the scores are 0 without any."""

    samples: int
    accuracy: float = 0.0
    lower: Annotated[float, Field(description="of the 95 % interval of the accuracy")] = 0.0
    upper: float = 0.0
    macro_f1: float = 0.0


def live_scores(prediction_log: PredictionLog, model: LoadedModel) -> LiveScores | None:
    """Scores on the feedbacks of the sliding window; None where they cannot be read."""
    try:
        feedback = prediction_log.recent_feedback(model.digest, LIVE_ACCURACY_WINDOW)
    except PredictionLogError:
        return None
    # As for the accuracy on the test split: examples with a subject only. Another server, of
    # another model of the task, may have stored a label that this model does not have.
    pairs = [
        (each.true_label, each.predicted) for each in feedback if each.true_label in model.labels
    ]
    if not pairs:
        return LiveScores(samples=0)
    correct = sum(true_label == predicted for true_label, predicted in pairs)
    lower, upper = scores.wilson(correct, len(pairs))
    return LiveScores(
        samples=len(pairs),
        accuracy=correct / len(pairs),
        lower=lower,
        upper=upper,
        macro_f1=scores.macro_f1(scores.confusion(pairs, model.labels)),
    )


@dataclass(frozen=True, eq=False)
class StateCollector(Collector):
    """Reads the state of one app at a scrape."""

    models: Models
    workers: WorkerPool
    prediction_log: PredictionLog
    drift_windows: DriftWindows
    shadow: ShadowRunner
    canary: Canary
    review: ReviewSampler | None = None
    follower: RegistryFollower | None = None

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the metrics of the table that have a reading."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in self._readings():
            if name not in families:
                row = BY_NAME[name]
                family = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
                families[name] = family(name, row.meaning, labels=row.labels)
            families[name].add_metric(labels, value)
        yield from families.values()

    def describe(self) -> list[Any]:
        """Nothing: the registry would else collect when it is created."""
        return []

    def _readings(self) -> Iterator[Reading]:
        yield from self._server()
        yield from self._canary()
        yield from self._review()
        yield from self._registry()
        for slot in self.models.slots:
            yield ("mien_model_loaded", (slot.name,), float(slot.model is not None))
            if slot.model is not None:
                yield from _model(slot, slot.model)
                yield from _training(slot.model)
                yield from self._live(slot.model)
                yield from self._drift(slot.model)
                yield from self._shadow(slot.model)

    def _server(self) -> Iterator[Reading]:
        yield ("mien_in_flight_requests", ("current",), float(self.workers.in_flight))
        yield ("mien_in_flight_requests", ("limit",), float(self.workers.max_in_flight))
        yield ("mien_prediction_log_dropped_total", (), float(self.prediction_log.dropped))
        try:
            rows, size_bytes = self.prediction_log.size()
            yield ("mien_prediction_log_rows", (), float(rows))
            yield ("mien_prediction_log_bytes", (), float(size_bytes))
        except PredictionLogError:
            pass  # the prediction log has logged the reason
        yield ("mien_prediction_log_waiting", (), float(self.prediction_log.waiting))

    def _registry(self) -> Iterator[Reading]:
        followed = self.follower.tasks if self.follower else {}
        for slot in self.models.slots:
            age_s = followed[slot.name].age_s if slot.name in followed else 0.0
            yield ("mien_registry_age_seconds", (slot.name,), age_s)

    def _review(self) -> Iterator[Reading]:
        """Zeros where nothing is kept, so that a dashboard shows that nothing is."""
        samples, size_bytes = self.review.size() if self.review else (0, 0)
        yield ("mien_review_samples", (), float(samples))
        yield ("mien_review_bytes", (), float(size_bytes))
        for task in self.models.tasks:
            for reason in REASONS:
                count = self.review.stored[task.name, reason] if self.review else 0
                yield ("mien_review_kept_total", (task.name, reason), float(count))
            for cause in DROPPED:
                count = self.review.dropped[task.name, cause] if self.review else 0
                yield ("mien_review_dropped_total", (task.name, cause), float(count))

    def _live(self, model: LoadedModel) -> Iterator[Reading]:
        of = (model.task.name, model.version)
        live = live_scores(self.prediction_log, model)
        if live is None:
            return
        yield ("mien_live_accuracy_samples", of, float(live.samples))
        if live.samples:
            yield ("mien_live_accuracy", of, live.accuracy)
            yield ("mien_live_accuracy_lower", of, live.lower)
            yield ("mien_live_accuracy_upper", of, live.upper)
            yield ("mien_live_macro_f1", of, live.macro_f1)

    def _drift(self, model: LoadedModel) -> Iterator[Reading]:
        of = (model.task.name, model.version)
        self.drift_windows.refresh(model)
        status = self.drift_windows.status(model)
        yield ("mien_drift_window_rows", of, float(status.rows))
        for quantity, each in status.scores.items():
            yield ("mien_drift_score", (*of, quantity), each.score)
            yield ("mien_drift_threshold", (*of, quantity), each.limit)
        estimated = status.accuracy
        for name, value in (
            ("mien_estimated_accuracy", estimated.accuracy),
            ("mien_estimated_accuracy_lower", estimated.lower),
            ("mien_estimated_accuracy_upper", estimated.upper),
        ):
            if value is not None:
                yield (name, of, value)

    def _canary(self) -> Iterator[Reading]:
        if share := self.canary.share:
            yield ("mien_canary_share", share[:2], share[2])

    def _shadow(self, champion: LoadedModel) -> Iterator[Reading]:
        challenger = self.shadow.challengers.get(champion.task.name)
        if challenger is None:
            return
        of = (champion.task.name, challenger.version)
        yield ("mien_shadow_active", of, float(challenger.fault is None))
        try:
            pairs = self.prediction_log.shadow_pairs(challenger.digest, champion.digest)
        except PredictionLogError:
            return
        yield ("mien_shadow_feedback_samples", of, float(pairs.total))
        if pairs.total:
            compared = sequential.compare(pairs)
            yield ("mien_shadow_accuracy_difference", of, compared.difference)
            yield ("mien_shadow_accuracy_difference_lower", of, compared.lower)
            yield ("mien_shadow_accuracy_difference_upper", of, compared.upper)


def _model(slot: ModelSlot, model: LoadedModel) -> Iterator[Reading]:
    of = (model.task.name, model.version)
    labels = (*of, slot.alias, model.candidate, model.digest[:12])
    yield ("mien_model_info", labels, 1.0)
    yield ("mien_model_load_seconds", of, model.load_seconds)
    if model.created is not None:
        yield ("mien_model_created_timestamp_seconds", of, model.created)
    metrics = model.model.bundle.manifest.metrics
    if metrics is None:
        return
    for row in metrics.leaderboard:
        for split, measured in (("val", row.val), ("test", row.test)):
            for score, value in measured.named().items():
                if score in SCORES:
                    yield ("mien_model_score", (*of, row.candidate, split, score), value)
    correct = round(metrics.test.accuracy * metrics.test.shown)
    lower, _ = scores.wilson(correct, metrics.test.shown)
    yield ("mien_live_accuracy_floor", of, lower)


def _training(model: LoadedModel) -> Iterator[Reading]:
    if model.reference is None:
        return
    of = (model.task.name, model.version)
    training = model.reference.get("training", {})
    for split, counts in training.get("examples", {}).items():
        for label, count in counts.items():
            yield ("mien_training_examples", (*of, split, label), float(count))
    for check, share in training.get("completeness", {}).items():
        yield ("mien_training_completeness", (*of, check), share)
    for label, share in drift.shares(model.reference).items():
        yield ("mien_label_share_limit", (*of, label), (1 + share) / 2)
