"""Fire drills: inject a fault into a running stack, and time the alert that it must raise.

Each drill expects one alert. It fails if another alert fires, or none, or if one fires before it
has started. `clean` is the drill without a fault.
"""

import random
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.errors import StackError, nearest
from mien.observability.drift import WINDOW_ROWS
from mien.reporting import console
from mien.stages.monitor import traffic
from mien.stages.monitor.annotation import annotated
from mien.stages.monitor.traffic import LabelledRequest, endless
from mien.stages.monitor.web import HttpClient, Prometheus

DARK_BRIGHTNESS = 0.6
"""Scale of the brightness in the drill of drift: like a dirty lens, not like night."""
_LOG_INTERVAL_S = 30.0
FaultTransform = Callable[[Sequence[LabelledRequest], int], Iterator[LabelledRequest]]


@dataclass(frozen=True)
class Drill:
    """One fault, and the alert that it must raise."""

    name: str
    alert: str | None
    fault: str
    transform: FaultTransform = endless
    needs_images: bool = False
    """Whether it needs a task whose requests are images."""
    needs_reference: bool = False
    """Whether its alert compares with training data, which a pulled model does not have."""
    clients: int = traffic.CLIENTS
    kills: bool = False
    healthy: bool = True
    """Whether the server must answer nearly every request during the fault."""
    timeout_s: float = 1200.0
    """Default time until the alert must fire."""
    feedback: bool = False
    """Whether feedback is sent for every prediction."""
    server_fault: str = ""
    """Fault that the server injects, where MIEN_FAULT_INJECTION is set."""


@dataclass
class DrillResult:
    """The result of a drill."""

    fired: dict[str, float] = field(default_factory=dict)
    """Seconds from the start of the drill until each alert fired."""
    sent: int = 0
    answered: int = 0
    """With status 200."""
    duration_s: float = 0.0


@dataclass(frozen=True)
class DrillTarget:
    """The stack that a drill runs on: clients, and commands that kill and start its server."""

    api: HttpClient
    prometheus: Prometheus
    kill: Callable[[], None]
    start: Callable[[], None]
    grafana: HttpClient | None = None
    """Where the time of the drill is marked."""


def find(name: str) -> Drill:
    """Return a drill by its name.

    Raises:
        StackError: there is no such drill.
    """
    if name not in DRILLS:
        raise StackError(
            f"drill: expected one of {', '.join(DRILLS)}, found {name!r}.{nearest(name, DRILLS)}"
        )
    return DRILLS[name]


def run(
    drill: Drill,
    stack: DrillTarget,
    requests: Sequence[LabelledRequest],
    rate: float,
    timeout_s: float,
    hold_s: float,
    seed: int = 0,
) -> DrillResult:
    """Inject the fault into the stack and poll Prometheus until the alert fires.

    Args:
        drill: the fault.
        stack: the running stack.
        requests: clean requests of a task.
        rate: requests per second.
        timeout_s: time until the alert must fire; the duration of `clean`.
        hold_s: time that the fault continues after its alert, to notice other alerts.
        seed: of the order of requests.

    Raises:
        StackError: the drill cannot start, its alert did not fire, or another one did.
    """
    _ready(drill, stack, requests)
    result = DrillResult()
    fault = _fault(drill, stack, requests, rate, seed, result)
    with annotated(stack.grafana, drill.name), fault:
        _watch(drill, stack.prometheus, timeout_s, hold_s, result)
    unexpected = sorted(set(result.fired) - {drill.alert})
    if unexpected:
        raise StackError(f"{drill.name}: {', '.join(unexpected)} fired too.")
    if drill.healthy and result.answered < 0.95 * result.sent:
        raise StackError(
            f"{drill.name}: only {result.answered} of {result.sent} requests were answered."
        )
    if drill.alert and drill.alert not in result.fired:
        raise StackError(f"{drill.name}: {drill.alert} did not fire within {timeout_s:.0f} s.")
    return result


def summary(drill: Drill, result: DrillResult) -> str:
    """The result of a successful drill, in one line."""
    sent = f"{result.sent} requests sent" if result.sent else "no requests sent"
    if drill.alert is None:
        return f"{drill.name}: no alert in {result.duration_s:.0f} s; {sent}"
    alert = f"{drill.alert} fired after {result.fired[drill.alert]:.0f} s"
    return f"{drill.name}: {alert}, no other; {sent}"


def command(line: str, folder: Path) -> Callable[[], None]:
    """Make a function that runs a command line.

    Raises:
        StackError: when called, if the command cannot be started or fails.
    """

    def call() -> None:
        try:
            process = subprocess.run(
                shlex.split(line), cwd=folder, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise StackError(f"`{line}` cannot be started: {error.strerror}.") from None
        if process.returncode:
            raise StackError(f"`{line}` failed: {process.stderr.strip()[-500:]}")

    return call


def _ready(drill: Drill, stack: DrillTarget, requests: Sequence[LabelledRequest]) -> None:
    if stack.api.get("/readyz").status != 200:
        raise StackError(f"The server at {stack.api.address} is not ready; /health has the reason.")
    if firing := stack.prometheus.alerts("firing"):
        raise StackError(
            f"{', '.join(sorted(firing))} fires already. Fix its cause first. A drill of drift "
            f"ends after {WINDOW_ROWS:,} other predictions, or with a server that is started with "
            "another MIEN_PREDICTION_LOG; after other drills, wait some minutes."
        )
    if drill.needs_images and not all(request.is_image for request in requests):
        raise StackError(
            f"{drill.name} needs a task whose requests are images; name one with --task."
        )
    if drill.server_fault:
        first = replace(requests[0], fault="error")
        if traffic.send(stack.api, first).status != 500:
            raise StackError(
                f"{drill.name}: the server injects no faults; start it with MIEN_FAULT_INJECTION=1."
            )


@contextmanager
def _fault(
    drill: Drill,
    stack: DrillTarget,
    requests: Sequence[LabelledRequest],
    rate: float,
    seed: int,
    result: DrillResult,
) -> Iterator[None]:
    if drill.kills:
        stack.kill()
        try:
            yield
        finally:
            stack.start()
        return
    stop, lock = threading.Event(), threading.Lock()
    stream = drill.transform(requests, seed)
    with ThreadPoolExecutor(drill.clients) as pool:
        senders = [
            pool.submit(_send, drill, stack.api, stream, rate, stop, lock, result)
            for _ in range(drill.clients)
        ]
        try:
            yield
        finally:
            stop.set()
    for sender in senders:
        sender.result()


def _send(
    drill: Drill,
    client: HttpClient,
    stream: Iterator[LabelledRequest],
    rate: float,
    stop: threading.Event,
    lock: threading.Lock,
    result: DrillResult,
) -> None:
    """Send requests as one of the clients, at its share of the rate."""
    interval_s = drill.clients / rate
    while not stop.is_set():
        start = time.monotonic()
        with lock:
            request = next(stream)
            result.sent += 1
        with suppress(StackError):  # no response: not counted
            response = traffic.send(client, request)
            if drill.feedback and response.status == 200:
                traffic.send_feedback(client, request, response)
            with lock:
                result.answered += response.status == 200
        stop.wait(max(0.0, interval_s - (time.monotonic() - start)))


def _watch(
    drill: Drill, prometheus: Prometheus, timeout_s: float, hold_s: float, result: DrillResult
) -> None:
    start = time.monotonic()
    end, logged_at, logged = start + timeout_s, start, set[str]()
    while (now := time.monotonic()) < end:
        for name in prometheus.alerts("firing") - set(result.fired):
            result.fired[name] = now - start
            console.info(f"{name} fires after {now - start:.0f} s")
            if name == drill.alert:
                end = now + hold_s
        pending = prometheus.alerts("pending")
        for name in pending - logged - set(result.fired):
            console.info(f"{name} is pending after {now - start:.0f} s")
        logged |= pending
        if now - logged_at > _LOG_INTERVAL_S:
            console.info(f"{now - start:.0f} s, {result.sent} requests sent")
            logged_at = now
        time.sleep(min(1.0, timeout_s / 200))
    result.duration_s = time.monotonic() - start


def _dark(requests: Sequence[LabelledRequest], seed: int) -> Iterator[LabelledRequest]:
    dark = [traffic.darkened(request, DARK_BRIGHTNESS) for request in requests]
    return endless(dark, seed)


def _one_class(requests: Sequence[LabelledRequest], seed: int) -> Iterator[LabelledRequest]:
    """Requests of the most frequent label only."""
    labels = sorted({request.label for request in requests if request.label})
    count = {label: sum(request.label == label for request in requests) for label in labels}
    flood = max(labels, key=lambda label: count[label])
    return endless([request for request in requests if request.label == flood], seed)


def _half(
    requests: Sequence[LabelledRequest], seed: int, faulty: Sequence[LabelledRequest]
) -> Iterator[LabelledRequest]:
    """At random one half clean, and one half faulty."""
    rng = random.Random(seed)
    for clean, bad in zip(endless(requests, seed), endless(faulty, seed + 1), strict=True):
        yield rng.choice((clean, bad))


def _truncated(requests: Sequence[LabelledRequest], seed: int) -> Iterator[LabelledRequest]:
    return _half(requests, seed, [traffic.truncated(request) for request in requests])


def _failing(requests: Sequence[LabelledRequest], seed: int) -> Iterator[LabelledRequest]:
    return _half(requests, seed, [replace(request, fault="error") for request in requests])


def _slow(requests: Sequence[LabelledRequest], seed: int) -> Iterator[LabelledRequest]:
    return endless([replace(request, fault="slow") for request in requests], seed)


_ALL = (
    Drill(
        name="clean",
        alert=None,
        fault="none: clean traffic with feedback",
        timeout_s=420.0,  # more than the five minutes of the slowest alert
        feedback=True,
    ),
    Drill(
        name="drift",
        alert="MienDrift",
        fault=f"images with {DARK_BRIGHTNESS:.0%} of their brightness",
        transform=_dark,
        needs_images=True,
        needs_reference=True,
    ),
    Drill(
        name="flood",
        alert="MienClassCollapse",
        fault="requests of one class only",
        transform=_one_class,
        needs_reference=True,
    ),
    Drill(
        name="corrupt",
        alert="MienUploadsRejected",
        fault="every second image truncated",
        transform=_truncated,
        needs_images=True,
        healthy=False,
    ),
    # One client: a second one would fill the queue, which has an alert of its own.
    Drill(
        name="slow",
        alert="MienLatencyBudgetBurn",
        fault="every prediction takes a second longer",
        transform=_slow,
        clients=1,
        server_fault="slow",
    ),
    Drill(
        name="errors",
        alert="MienErrorBudgetBurn",
        fault="every second request fails",
        transform=_failing,
        server_fault="error",
        healthy=False,
    ),
    Drill(name="killed", alert="MienServerDown", fault="the server is killed", kills=True),
)
DRILLS = {drill.name: drill for drill in _ALL}
