"""Challengers that answer a share of the requests after the champion, for comparison only.

    event loop: champion's answer is sent -> `offer`: a full queue drops the request
    one thread: waits until a worker thread is idle -> asks the challenger's process
    (`challenger.py`) -> prediction log, metrics

The way of a request does not change: the champion's answer never waits for the challenger, and the
pixels are those that the champion had, so that nothing is decoded twice. A challenger that fails is
counted; one that fails `MAX_FAILURES` times in a row, does not end, or whose process ends, is
switched off until `mien shadow` is called again. Knows nothing of HTTP.
"""

import logging
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue

from mien.errors import MienError, PredictionLogError, ProcessError, RegistryError
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve.challenger import Challenger, ChallengerAnswer
from mien.stages.serve.loading import BundleSource
from mien.stages.serve.metrics import Metrics
from mien.stages.serve.models import Models, ModelSlot
from mien.stages.serve.workers import CLOSE_TIMEOUT_S, WorkerPool
from mien.storage import shadow
from mien.storage.shadow import Shadow
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Request

MAX_QUEUED = 4
"""Requests that wait for the challenger; more are dropped."""
MAX_IMAGE_BYTES = 24_000_000
"""Of the decoded pixels of a request: those of larger pictures are not kept in the queue."""
MAX_WAIT_S, IDLE_POLL_S = 1.0, 0.02
"""How long a request waits until a worker thread is idle, and how often that is checked."""
MAX_FAILURES = 5
FLUSH_ROWS = 64
"""Answers that are written together where the queue is never empty."""
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class ShadowEntry:
    """A request that the champion answered."""

    challenger: Challenger
    request: Request
    record: PredictionRecord
    """The champion's answer."""
    champion_cpu_s: float
    offered_at: float


class ShadowRunner:
    """The challengers of one server, and the thread that asks them."""

    def __init__(
        self,
        models: Models,
        workspace: Workspace,
        prediction_log: PredictionLog,
        metrics: Metrics,
        workers: WorkerPool,
        deadline_s: float,
    ) -> None:
        """`deadline_s`: after which time a challenger counts as hung."""
        self.challengers: dict[str, Challenger] = {}
        """By task."""
        self._models, self._workspace = models, workspace
        self._prediction_log, self._metrics = prediction_log, metrics
        self._workers, self._deadline_s = workers, deadline_s
        self._queue: SimpleQueue[ShadowEntry | None] = SimpleQueue()
        self._records: list[ShadowRecord] = []
        self._running: tuple[float, Challenger] | None = None
        """Since when, and whom the thread asks."""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._plans: dict[str, Shadow | None] = {}
        """What was loaded, or could not be."""
        self._unreadable: dict[str, str] = {}
        self._writable = True

    def follow(self) -> None:
        """Load and unload challengers as the workspace has them; called by the loading thread."""
        for slot in self._models.slots:
            if slot.alias == CHAMPION and slot.model is not None:
                self._follow(slot)

    def wants(self, task: str, trace_id: str) -> bool:
        """Whether a challenger shall answer a request; called in the event loop."""
        challenger = self.challengers.get(task)
        return challenger is not None and challenger.wants(trace_id)

    def offer(self, request: Request, record: PredictionRecord, cpu_s: float) -> None:
        """Queue a request that the champion answered, or drop it; called in the event loop."""
        challenger = self.challengers.get(record.task)
        if challenger is None:
            return
        running, now = self._running, time.monotonic()
        if running is not None and now - running[0] > self._deadline_s:
            self._switch_off(running[1], f"an answer took longer than {self._deadline_s:g} s")
        too_large = request.image is not None and request.image.nbytes > MAX_IMAGE_BYTES
        if challenger.fault or too_large or self._queue.qsize() >= MAX_QUEUED:
            self._count(challenger, "dropped")
            return
        if self._thread is None:
            self._start()
        self._queue.put(ShadowEntry(challenger, request, record, cpu_s, now))

    def close(self) -> None:
        """End the thread and free the challengers; what waits is not answered."""
        self._closing.set()
        self._queue.put(None)
        for challenger in self.challengers.values():
            challenger.close()
        self.challengers = {}
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _follow(self, slot: ModelSlot) -> None:
        task = slot.name
        try:
            plan = shadow.read(self._workspace, task)
        except RegistryError as error:
            if self._unreadable.get(task) != str(error):
                _log.warning("the challenger of %s stays as it is: %s", task, error)
            self._unreadable[task] = str(error)
            return
        self._unreadable.pop(task, None)
        if plan is not None and slot.model and slot.model.version == str(plan.version):
            plan = None  # it was promoted meanwhile
        if plan == self._plans.get(task):
            return
        self._plans[task] = plan
        if old := self.challengers.pop(task, None):
            old.close()
            if plan is None:
                _log.info("%s has no challenger any more", task)
        if plan is not None:
            self._load_or_log(slot, plan)

    def _load_or_log(self, slot: ModelSlot, plan: Shadow) -> None:
        try:
            self._load(slot, plan)
        except MienError as error:
            _log.error("%s has no challenger: %s", slot.name, error)
        except Exception:  # noqa: BLE001 - a task's own code may fail in any way
            _log.exception("%s has no challenger: version %d fails", slot.name, plan.version)

    def _load(self, slot: ModelSlot, plan: Shadow) -> None:
        folder = self._workspace.version(slot.name, plan.version)
        if not folder.is_dir() or not self._workspace.is_registered(slot.name, plan.version):
            raise RegistryError(f"version {plan.version} is not registered, or its bundle is gone.")
        assert isinstance(slot.source, BundleSource)
        challenger = Challenger(plan, slot.source.task, folder)
        self._metrics.initialise_shadow(slot.name, challenger.version)
        self.challengers[slot.name] = challenger
        share = f"{plan.share:.3g}"
        _log.info("%s version %d answers %s of the requests too", slot.name, plan.version, share)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="mien-shadow", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            if self._is_due(entry):
                self._ask(entry)
            else:
                self._count(entry.challenger, "dropped")
            if self._records and (self._queue.empty() or len(self._records) >= FLUSH_ROWS):
                self._flush()

    def _is_due(self, entry: ShadowEntry) -> bool:
        """Wait until a worker thread is idle; whether the entry is to be answered then."""
        while not self._workers.has_idle_thread:
            late = time.monotonic() - entry.offered_at > MAX_WAIT_S
            if late or self._closing.wait(IDLE_POLL_S):
                return False
        return entry.challenger.fault is None and not self._closing.is_set()

    def _ask(self, entry: ShadowEntry) -> None:
        challenger = entry.challenger
        self._running = time.monotonic(), challenger
        try:
            answer = challenger.predict(entry.request)
        except ProcessError as error:
            if challenger.fault is None:
                self._switch_off(challenger, str(error))
            return
        finally:
            self._running = None
        self._record(entry, answer)

    def _record(self, entry: ShadowEntry, answer: ChallengerAnswer) -> None:
        challenger, champion = entry.challenger, entry.record
        record = ShadowRecord(
            *(champion.trace_id, time.time(), challenger.version, challenger.digest),
            *(answer.outcome, answer.label, answer.cpu_s),
            *(champion.digest, champion.label, entry.champion_cpu_s),
        )
        self._records.append(record)
        self._metrics.observe_shadow(champion.task, record)
        if answer.failure is None:
            challenger.failures = 0
        else:
            self._failed(challenger, answer.failure)

    def _failed(self, challenger: Challenger, failure: str) -> None:
        challenger.failures += 1
        if challenger.failures == 1:
            _log.warning("the challenger of %s failed: %s", challenger.task.name, failure)
        if challenger.failures >= MAX_FAILURES:
            last = failure.strip().rpartition("\n")[2]
            self._switch_off(challenger, f"{MAX_FAILURES} failures in a row, the last: {last}")

    def _flush(self) -> None:
        records, self._records = self._records, []
        try:
            self._prediction_log.add_shadow(records)
            self._writable = True
        except PredictionLogError as error:
            if self._writable:
                _log.warning("answers of challengers are not recorded: %s", error)
            self._writable = False

    def _switch_off(self, challenger: Challenger, reason: str) -> None:
        challenger.switch_off(reason)
        task, version = challenger.task.name, challenger.version
        again = f"`mien shadow {task} {version}` starts it again"
        _log.error("%s: the challenger is switched off: %s; %s", task, reason, again)

    def _count(self, challenger: Challenger, result: str) -> None:
        self._metrics.count_shadow(challenger.task.name, challenger.version, result)
