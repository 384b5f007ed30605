"""The loop on a running server, from a changed world to a promoted model: `mien drill loop`.

    traffic of a changed world -> review by script -> retrain -> shadow -> promotion

Traffic goes on all the time, and none of it may fail. At the end the model of before answers in the
shadow of the new one: it is worse, and must not be promoted, whatever the order of the answers.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mien import tasks
from mien.config import Settings
from mien.errors import RegistryError, StackError
from mien.model import bundle
from mien.observability import sequential
from mien.observability.prediction_log.location import PredictionLogLocation, locate
from mien.observability.review import store
from mien.observability.review.labels import Label
from mien.observability.review.store import ReviewStore
from mien.pipeline import promote_challenger, retraining
from mien.reporting import console
from mien.stages import shadow
from mien.stages.monitor import changed_world, traffic
from mien.stages.monitor.changed_world import ChangedWorld
from mien.stages.monitor.traffic import LabelledRequest
from mien.stages.monitor.web import HttpClient, HttpResponse
from mien.storage import shadow as shadow_state
from mien.storage.workspace import Workspace

REVIEWER = "drill"
SEEDS = 20
MIXED = 10
_BATCH = 100
_PATIENCE_S = 120.0
Answers = NDArray[np.bool_]
"""Whether each request was answered right."""


@dataclass
class LoopResult:
    """What the drill measured."""

    changed: str
    """What is new in the world, in words."""
    version: int = 0
    """The new one."""
    worse: int = 0
    """The one of before."""
    reviewed: int = 0
    minutes: dict[str, float] = field(default_factory=dict)
    before: float = 0.0
    """Accuracy on the new world, of the model of before."""
    after: float = 0.0
    sent: int = 0
    failed: int = 0
    """Requests without an answer of status 200."""
    false_promotions: int = 0
    """See `false_promotions`."""


@dataclass
class _Client:
    """Sends requests and counts those that fail. Thread-safe."""

    api: HttpClient
    task: str
    sent: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, request: LabelledRequest) -> HttpResponse | None:
        """The response; None where it has not status 200."""
        response = None
        with suppress(StackError):
            response = traffic.send(self.api, request)
        answered = response is not None and response.status == 200
        with self.lock:
            self.sent += 1
            self.failed += not answered
        return response if answered else None

    def is_right(self, request: LabelledRequest, response: HttpResponse | None) -> bool:
        return response is not None and response.json()[self.task] == request.label

    def ask(self, requests: Sequence[LabelledRequest]) -> Answers:
        """Send requests one after the other."""
        return np.array([self.is_right(each, self.send(each)) for each in requests])

    @contextmanager
    def going_on(self, requests: Sequence[LabelledRequest], rate: float) -> Iterator[None]:
        """Send requests beside the block, whatever it does."""
        stop = threading.Event()

        def send() -> None:
            for each in traffic.endless(requests):
                if stop.wait(1 / rate):
                    return
                self.send(each)

        thread = threading.Thread(target=send, name="mien-drill", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass(frozen=True)
class LoopDrill:
    """The loop of one task, on a server of the workspace."""

    task: str
    workspace: Workspace
    settings: Settings
    client: _Client
    max_requests: int

    @property
    def log(self) -> PredictionLogLocation:
        return locate(self.settings, self.workspace)

    def review(self, requests: Sequence[LabelledRequest]) -> int:
        """Send requests, correct wrong answers as users do, and label what the server stored.

        Raises:
            StackError: the server keeps no input of them.
        """
        samples = ReviewStore(self.workspace.review, self.settings.review_key.get_secret_value())
        truth, wrong = {}, set()
        for each in requests:
            response = self.client.send(each)
            if response is None:
                continue
            trace_id = str(response.json()["trace_id"])
            truth[trace_id] = each.label
            if not self.client.is_right(each, response):
                if response.json()[self.task] is not None:  # nothing is kept without a subject
                    wrong.add(trace_id)
                traffic.send_feedback(self.client.api, each, response)
        stored = self._wait_for_samples(wrong) & truth.keys()
        samples.labels(self.task).add(*(_label(each, truth[each]) for each in sorted(stored)))
        return len(stored)

    def shadow(self, version: int, requests: Sequence[LabelledRequest], verdict: str) -> None:
        """Let a version answer too, with feedback, until the test gives a verdict.

        Raises:
            StackError: it gives the opposite one, or none in time.
        """
        shadow.start(self.task, version, 1.0, self.workspace)
        stream = traffic.endless(requests)
        for _ in range(0, self.max_requests, _BATCH):
            for each in islice(stream, _BATCH):
                if response := self.client.send(each):
                    traffic.send_feedback(self.client.api, each, response)
            compared = shadow.report(self.task, self.workspace, self.log)
            console.info(f"shadow: {compared.verdict}, {compared.numbers}")
            if compared.verdict == verdict and not compared.biased:
                return
            if compared.verdict not in (verdict, "undecided"):
                break
        raise StackError(
            f"loop: expected version {version} to be {verdict}, found {compared.verdict}: "
            f"{compared.numbers}."
        )

    def promote(self, request: LabelledRequest) -> None:
        """Promote the challenger, and wait until the server answers with it."""
        number = promote_challenger(self.task, self.workspace, self.log)
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            response = self.client.send(request)
            if response and str(response.json()["model"]["version"]) == str(number):
                return
            time.sleep(0.2)
        raise StackError(f"loop: the server did not load version {number}. /health has the reason.")

    def refuse_worse(self, version: int, requests: Sequence[LabelledRequest]) -> None:
        """Let a worse version answer in the shadow; its promotion must be refused."""
        try:
            self.shadow(version, requests, "worse")
            promote_challenger(self.task, self.workspace, self.log)
        except RegistryError as refusal:
            console.info(f"refused: {refusal}")
        else:
            raise StackError(f"loop: version {version} is worse, and was promoted.")
        finally:
            shadow_state.stop(self.workspace, self.task)

    def _wait_for_samples(self, wrong: set[str]) -> set[str]:
        """The trace_ids that are stored, as soon as most of the wrong answers are."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            stored = {path.stem for path in store.paths(self.workspace.review, self.task)}
            if wrong and len(stored & wrong) >= 0.8 * len(wrong):
                return stored
            if time.monotonic() > end or not wrong:
                raise StackError(
                    f"loop: expected the server to keep the inputs of {len(wrong)} wrong answers, "
                    f"found {len(stored & wrong)} in {self.workspace.review}. Start it with "
                    f"MIEN_REVIEW={self.task}:KIND, MIEN_REVIEW_KEY and a large "
                    "MIEN_REVIEW_PER_DAY."
                )
            time.sleep(0.2)


def run(
    task: str | None,
    workspace: Workspace,
    settings: Settings,
    api: HttpClient,
    rate: float = 5.0,
    max_requests: int = 3000,
) -> LoopResult:
    """Run the loop on a server of the workspace.

    Args:
        task: its name; None for the first one whose champion was trained on drawings.
        workspace: that of the server.
        settings: with the key of reviews and the prediction log of the server.
        api: the server.
        rate: requests a second beside the drill's own.
        max_requests: until the test of a shadow must have said something.

    Raises:
        StackError: the server is not ready, a request failed, the new model is not better on the
            new world, or the worse one would have been promoted.
        MienError: as the steps.
    """
    name, champion = _drawn_champion(task, workspace)
    if api.get("/readyz").status != 200:
        raise StackError(f"The server at {api.address} is not ready; /health has the reason.")
    client = _Client(api, name)
    drill = LoopDrill(name, workspace, settings, client, max_requests)
    world = changed_world.make(name, lambda each: bool(client.ask([each])[0]))
    result = LoopResult(world.description, worse=champion)
    with client.going_on(world.test, rate):
        _run(drill, world, result)
    result.sent, result.failed = client.sent, client.failed
    return result


def _run(drill: LoopDrill, world: ChangedWorld, result: LoopResult) -> None:
    before = drill.client.ask(world.test)
    with _timed(result, "traffic and review"):
        result.reviewed = drill.review(world.review)
    with _timed(result, "retrain"):
        done = retraining.retrain(drill.task, drill.workspace, drill.settings, "drill")
        result.version = done.version
    with _timed(result, "shadow"):
        drill.shadow(result.version, world.shadow, "better")
    with _timed(result, "promotion"):
        drill.promote(world.test[0])
    after = drill.client.ask(world.test)
    with _timed(result, "shadow of a worse version"):
        drill.refuse_worse(result.worse, world.shadow)
    result.before, result.after = float(before.mean()), float(after.mean())
    result.false_promotions = false_promotions(after, before, drill.max_requests)


def require_passed(result: LoopResult) -> None:
    """Check that the drill showed what it has to.

    Raises:
        StackError: a request failed, the new model is not better, or a worse one was promoted.
    """
    if result.failed or result.after <= result.before or result.false_promotions:
        raise StackError(
            f"loop: expected no failed request, more than {result.before:.3f} right, and no false "
            f"promotion; found {result.failed} failed, {result.after:.3f} right, "
            f"{result.false_promotions} of {SEEDS} promoted."
        )


def show(result: LoopResult) -> None:
    """Print the result."""
    rows = [[name, f"{minutes:.2f}"] for name, minutes in result.minutes.items()]
    console.table(f"The loop: {result.changed}", ["step", "minutes"], rows)
    console.result(
        f"accuracy on the new world: {result.before:.3f} before, {result.after:.3f} with version "
        f"{result.version}; {result.reviewed} samples reviewed"
    )
    console.result(f"{result.sent} requests sent, {result.failed} failed")
    console.result(
        f"version {result.worse}, which is worse, was refused; one that answers like it in one of "
        f"{MIXED} cases is better in {result.false_promotions} of {SEEDS} orders of the answers, "
        f"with an error of {sequential.ERROR / 2:.1%} each"
    )


def false_promotions(champion: Answers, worse: Answers, count: int) -> int:
    """In how many of `SEEDS` random orders a test that is read after each answer ever says that a
    worse challenger is better.

    The challenger gives the answer of the worse version in one case of `MIXED`, and that of the
    champion in others: a version that is much worse would be refused without a test.

    Args:
        champion: whether each request was answered right.
        worse: the same of the worse version, of the same requests.
        count: answers in each order, drawn with replacement.
    """
    promoted = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        order = rng.integers(0, len(champion), count)
        right = champion[order]
        challenger = np.where(rng.integers(0, MIXED, count) == 0, worse[order], right)
        wins = np.cumsum(challenger & ~right, dtype=np.int64)
        losses = np.cumsum(right & ~challenger, dtype=np.int64)
        ties = np.arange(1, count + 1) - wins - losses
        capital = sequential.log_capital(wins, losses, ties, 0.0)
        promoted += bool(capital.max() >= np.log(2 / sequential.ERROR))
    return promoted


@contextmanager
def _timed(result: LoopResult, step: str) -> Iterator[None]:
    watch = console.Stopwatch()
    yield
    result.minutes[step] = watch.seconds / 60


def _drawn_champion(task: str | None, workspace: Workspace) -> tuple[str, int]:
    """A task whose champion was trained on drawings, and its version: the drill replaces it."""
    for name in tasks.names() if task is None else [tasks.load(task).name]:
        champion = bundle.read_champion(name, workspace)
        if champion and champion.manifest.lineage.trained_on == "synthetic":
            return name, int(champion.folder.name)
    raise StackError(
        f"{workspace.home.resolve()}: expected a champion that was trained on drawings, found "
        "none. The drill trains on a world that does not exist and promotes the result, so it "
        "needs a workspace of its own: `mien run sample_gesture --home FOLDER`."
    )


def _label(trace_id: str, label: str | None) -> Label:
    verdict = "nothing" if label is None else "label"
    return Label.model_validate(
        {
            "trace_id": trace_id,
            "reviewer": REVIEWER,
            "timestamp": time.time(),
            "verdict": verdict,
            "label": label,
        }
    )
