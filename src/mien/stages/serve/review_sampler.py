"""Keeps inputs of doubtful answers for review, where `MIEN_REVIEW` asks for it.

A worker thread copies the subject and puts it into a bounded queue; the sampler's own thread
decides and writes. Nothing waits for it: where the queue is full or the disk refuses, the sample
is dropped and counted. Frames of videos are not offered.

The last subjects stay in memory for `MEMORY_S`, as feedback on them comes later than their answers.
"""

import base64
import io
import logging
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mien.config import Settings
from mien.errors import ConfigError, ReviewError
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.review import store
from mien.observability.review.sample import Crop, Reason, ReviewSample, margin
from mien.observability.review.store import ReviewStore
from mien.stages.serve.drift_window import DriftStatus
from mien.stages.serve.loading import LoadedModel
from mien.stages.serve.review_subject import Subject, check_kind, parse_kinds, subject_of
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request, Task

QUEUE_SIZE = 64
UNCERTAIN_MARGIN = 0.2
"""An answer is uncertain whose best score exceeds the second one by less, or that is `unsure`."""
MEMORY_S, MEMORY_BYTES = 900.0, 32_000_000
DRIFT_INTERVAL_S = 30.0
PRUNE_INTERVAL_S = 3600.0
CLOSE_TIMEOUT_S = 5.0
DROPPED = ("busy", "quota", "failed")
"""Why a doubtful answer is not kept: the queue or the day is full, or the disk refused."""
_log = logging.getLogger("mien.serve")
DriftOf = Callable[[LoadedModel], DriftStatus]


@dataclass(frozen=True)
class Offer:
    """An answer and its subject."""

    record: PredictionRecord
    scores: Mapping[str, float]
    kind: str
    subject: Subject


@dataclass(frozen=True)
class Correction:
    """Feedback with another label than the predicted one; None for no subject."""

    trace_id: str
    label: str | None


class ReviewSampler:
    """The sampler of one server. Thread-safe."""

    def __init__(
        self,
        sample_store: ReviewStore,
        kinds: Mapping[str, str],
        settings: Settings,
        drift: DriftOf,
    ) -> None:
        self.kinds = kinds
        self.stored: Counter[tuple[str, Reason]] = Counter()
        """Samples by task and reason; one that feedback corrects later counts for both."""
        self.dropped: Counter[tuple[str, str]] = Counter()
        self._store, self._settings, self._drift = sample_store, settings, drift
        self._queue: queue.Queue[tuple[Offer, LoadedModel] | Correction | None] = queue.Queue(
            QUEUE_SIZE
        )
        self._recent: OrderedDict[str, Offer] = OrderedDict()
        self._recent_bytes = 0
        self._drifting: dict[str, tuple[float, bool]] = {}
        self._today: dict[str, tuple[int, int]] = {}
        """Day and its samples, by task."""
        self._failing = False
        self._prune_at = 0.0
        self._thread = threading.Thread(target=self._work, name="mien-review", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(
        cls, workspace: Workspace, served: list[Task[Any]], settings: Settings, drift: DriftOf
    ) -> "ReviewSampler | None":
        """The sampler that the settings ask for; None where nothing is to be kept.

        Raises:
            ConfigError: a task that is not served, a kind that it has not, no key or a wrong one.
        """
        kinds = parse_kinds(settings.review)
        if not kinds:  # what was kept before it was switched off still expires
            store.prune(workspace.review, settings.review_days, settings.review_mb)
            return None
        by_name = {task.name: task for task in served}
        for name, kind in kinds.items():
            if name not in by_name:
                raise ConfigError(
                    f"MIEN_REVIEW: expected served tasks ({', '.join(by_name)}), found {name!r}."
                )
            check_kind(by_name[name], kind)
        key = settings.review_key.get_secret_value()
        return cls(ReviewStore(workspace.review, key), kinds, settings, drift)

    def offer(
        self,
        model: LoadedModel,
        request: Request,
        prediction: Prediction,
        record: PredictionRecord,
    ) -> None:
        """Consider an answer; called before it is sent. Never waits and never raises."""
        kind, best = self.kinds.get(record.task), prediction.best
        if kind is None or best is None:
            return
        try:
            subject = subject_of(kind, request, best)
        except Exception:  # noqa: BLE001 - the answer is sent all the same
            self._fail(record.task, "an input has no subject that can be kept")
            return
        if subject is not None:
            self._put((Offer(record, best.scores, kind, subject), model), record.task)

    def correct(self, task: str, trace_id: str, label: str | None) -> None:
        """Consider feedback with another label than the predicted one; never waits."""
        if task in self.kinds:
            self._put(Correction(trace_id, label), task)

    def size(self) -> tuple[int, int]:
        """Count of stored samples, and their bytes."""
        return store.size(self._store.folder)

    def close(self) -> None:
        """Decide on what waits, within a limit, and end the thread."""
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)

    def _put(self, entry: tuple[Offer, LoadedModel] | Correction, task: str) -> None:
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self.dropped[task, "busy"] += 1

    def _work(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=MEMORY_S)
                if entry is None:
                    return
                self._handle(entry)
                del entry  # or its model would stay until the next one comes
            except queue.Empty:
                self._recent.clear()
                self._recent_bytes = 0
            except Exception:  # noqa: BLE001 - the thread goes on after any failure
                _log.exception("a sample for review is lost")
            self._prune_if_due()

    def _handle(self, entry: tuple[Offer, LoadedModel] | Correction) -> None:
        if isinstance(entry, Correction):
            self._apply(entry)
        else:
            self._consider(*entry)

    def _prune_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_INTERVAL_S
            self._prune()

    def _prune(self) -> None:
        settings = self._settings
        store.prune(self._store.folder, settings.review_days, settings.review_mb)

    def _consider(self, offer: Offer, model: LoadedModel) -> None:
        self._remember(offer)
        reasons: list[Reason] = []
        unsure = offer.record.outcome == "unsure"
        if unsure or margin(list(offer.scores.values())) < UNCERTAIN_MARGIN:
            reasons.append("uncertain")
        if self._is_drifting(model):
            reasons.append("drift")
        if reasons and _chance(offer.record.trace_id) < self._settings.review_share:
            self._keep(_sample(offer, tuple(reasons)))

    def _apply(self, correction: Correction) -> None:
        """Keep the input of a wrong answer, or add the reason to what is kept of it."""
        offer = self._recent.get(correction.trace_id)
        for task in self.kinds:
            try:
                sample = self._store.read(task, correction.trace_id)
            except ReviewError:
                continue
            if "wrong" not in sample.reasons:
                reasons: tuple[Reason, ...] = (*sample.reasons, "wrong")
                changes = {"reasons": reasons, "feedback": correction.label}
                self._write(sample.model_copy(update=changes), ("wrong",))
            return
        if offer is not None:
            sample = _sample(offer, ("wrong",))
            self._keep(sample.model_copy(update={"feedback": correction.label}))

    def _keep(self, sample: ReviewSample) -> None:
        day, count = self._count_today(sample.task)
        if count >= self._settings.review_per_day:
            self.dropped[sample.task, "quota"] += 1
        elif self._write(sample, sample.reasons):
            self._today[sample.task] = day, count + 1

    def _count_today(self, task: str) -> tuple[int, int]:
        now = time.time()
        day = int(now // store.DAY_S)
        if self._today.get(task, (0, 0))[0] != day:
            self._today[task] = day, store.count_today(self._store.folder, task, now)
        return self._today[task]

    def _write(self, sample: ReviewSample, reasons: tuple[Reason, ...]) -> bool:
        try:
            written = self._store.add(sample)
        except OSError as error:
            self._fail(sample.task, str(error))
            return False
        if self._failing:
            _log.warning("samples for review are kept again")
        self._failing = False
        for reason in reasons if written else ():
            self.stored[sample.task, reason] += 1
        if store.size(self._store.folder)[1] > self._settings.review_mb * 1e6:
            self._prune()
        return written > 0

    def _fail(self, task: str, cause: str) -> None:
        """Count a sample that is lost, and log the first one."""
        self.dropped[task, "failed"] += 1
        if not self._failing:
            _log.error("samples for review are not kept from now on: %s", cause)
        self._failing = True

    def _remember(self, offer: Offer) -> None:
        self._recent[offer.record.trace_id] = offer
        self._recent_bytes += offer.subject.size_bytes
        oldest = time.time() - MEMORY_S
        while self._recent and (
            self._recent_bytes > MEMORY_BYTES
            or next(iter(self._recent.values())).record.timestamp < oldest
        ):
            self._recent_bytes -= self._recent.popitem(last=False)[1].subject.size_bytes

    def _is_drifting(self, model: LoadedModel) -> bool:
        now = time.monotonic()
        checked_at, drifting = self._drifting.get(model.digest, (-DRIFT_INTERVAL_S, False))
        if now - checked_at >= DRIFT_INTERVAL_S:
            drifting = self._drift(model).is_drifting
            self._drifting[model.digest] = now, drifting
        return drifting


def _chance(trace_id: str) -> float:
    """A number in 0..1 of the random part of a trace_id: the same on every server."""
    return float(int(trace_id[-12:], 16) / 16**12)


def _sample(offer: Offer, reasons: tuple[Reason, ...]) -> ReviewSample:
    record, subject = offer.record, offer.subject
    crop = None
    if subject.pixels is not None:
        file = io.BytesIO()
        Image.fromarray(subject.pixels).save(file, "PNG")
        height, width = subject.pixels.shape[:2]
        picture = base64.b64encode(file.getvalue()).decode()
        crop = Crop(picture=picture, width=width, height=height, box=subject.box)
    return ReviewSample(
        trace_id=record.trace_id,
        task=record.task,
        kind=offer.kind,
        timestamp=record.timestamp,
        version=record.version,
        digest=record.digest,
        label=record.label or "",
        scores=dict(offer.scores),
        reasons=reasons,
        body=dict(subject.body) if subject.body is not None else None,
        crop=crop,
    )
