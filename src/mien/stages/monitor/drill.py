"""Fire drills: a fault is put into a running stack, and the alert that it must raise is timed.

Each drill names one alert. That another one fires, or none, is a failure of the drill, and so is
an alert that fires before it has begun. `clean` is the drill without a fault.
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

from mien.errors import CheckError, nearest
from mien.reporting import console
from mien.stages.monitor import traffic
from mien.stages.monitor.traffic import Question, endless
from mien.stages.monitor.web import Prometheus, Site

DARK = 0.6
"""Share of light that is left in the drill of drift: a lens that needs cleaning, no night."""
_TOLD_EVERY = 30.0
Spoil = Callable[[Sequence[Question], int], Iterator[Question]]


@dataclass(frozen=True)
class Drill:
    """One fault, and the alert that must tell it."""

    name: str
    alert: str | None
    fault: str
    spoil: Spoil = endless
    pictures: bool = False
    """Whether it needs a task that is asked with pictures."""
    clients: int = traffic.CLIENTS
    kills: bool = False
    healthy: bool = True
    """Whether the server must answer nearly every question while the fault lasts."""
    patience: float = 1200.0
    """Seconds until the alert must have fired, if nobody says otherwise."""
    feedback: bool = False
    """Whether the truth about every answer is sent too."""
    order: str = ""
    """What the server is asked to do to requests; it obeys only where MIEN_DRILL is set."""


@dataclass
class Seen:
    """What a drill has seen: seconds from its beginning until each alert fired."""

    fired: dict[str, float] = field(default_factory=dict)
    sent: int = 0
    answered: int = 0
    """With status 200."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Stack:
    """Where the parts of the stack answer, and how its server is ended and started again."""

    api: Site
    prometheus: Prometheus
    kill: Callable[[], None]
    start: Callable[[], None]


def find(name: str) -> Drill:
    """Return a drill by its name.

    Raises:
        CheckError: there is none of that name.
    """
    if name not in DRILLS:
        raise CheckError(
            f"There is no drill {name!r}; there are {', '.join(DRILLS)}.{nearest(name, DRILLS)}"
        )
    return DRILLS[name]


def run(
    drill: Drill,
    stack: Stack,
    found: Sequence[Question],
    rate: float,
    patience: float,
    linger: float,
    seed: int = 0,
) -> Seen:
    """Put the fault into the stack and watch Prometheus until the alert fires.

    Args:
        drill: what to do.
        stack: whom to do it to.
        found: clean questions of a task.
        rate: questions a second.
        patience: seconds after which the alert must have fired; how long `clean` lasts.
        linger: seconds that the fault goes on after its alert has fired, to see others.
        seed: which questions are sent in which order.

    Raises:
        CheckError: the drill cannot begin, its alert did not fire, or another one did.
    """
    _ready(drill, stack, found)
    seen = Seen()
    with _fault(drill, stack, found, rate, seed, seen):
        _watch(drill, stack.prometheus, patience, linger, seen)
    others = sorted(set(seen.fired) - {drill.alert})
    if others:
        raise CheckError(f"{drill.name}: {', '.join(others)} fired too, which it must not.")
    if drill.healthy and seen.answered < 0.95 * seen.sent:
        raise CheckError(
            f"{drill.name}: only {seen.answered} of {seen.sent} questions were answered."
        )
    if drill.alert and drill.alert not in seen.fired:
        raise CheckError(f"{drill.name}: {drill.alert} did not fire within {patience:.0f} s.")
    return seen


def words(drill: Drill, seen: Seen) -> str:
    """What a drill that went well has to tell, in one line."""
    sent = f"{seen.sent} questions sent" if seen.sent else "nothing was sent"
    if drill.alert is None:
        return f"{drill.name}: no alert in {seen.seconds:.0f} s; {sent}"
    return (
        f"{drill.name}: {drill.alert} fired after {seen.fired[drill.alert]:.0f} s, no other; {sent}"
    )


def command(line: str, folder: Path) -> Callable[[], None]:
    """Make a call of a command line.

    Raises:
        CheckError: when called, where the command is not there or fails.
    """

    def call() -> None:
        try:
            done = subprocess.run(
                shlex.split(line), cwd=folder, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CheckError(f"`{line}` cannot be started: {error.strerror}.") from None
        if done.returncode:
            raise CheckError(f"`{line}` failed: {done.stderr.strip()[-500:]}")

    return call


def _ready(drill: Drill, stack: Stack, found: Sequence[Question]) -> None:
    if stack.api.get("/readyz").status != 200:
        raise CheckError(f"The server at {stack.api.address} is not ready; /health tells why.")
    if already := stack.prometheus.firing():
        raise CheckError(
            f"{', '.join(sorted(already))} fires already; mend that first, or wait until what "
            "an earlier drill left has passed."
        )
    if drill.pictures and not all(question.is_picture for question in found):
        raise CheckError(f"{drill.name} needs a task that is asked with pictures; name another.")
    if drill.order:
        first = replace(found[0], order="error")
        if traffic.send(stack.api, first).status != 500:
            raise CheckError(
                f"{drill.name}: the server obeys no drill; start it with MIEN_DRILL=1."
            )


@contextmanager
def _fault(
    drill: Drill, stack: Stack, found: Sequence[Question], rate: float, seed: int, seen: Seen
) -> Iterator[None]:
    if drill.kills:
        stack.kill()
        try:
            yield
        finally:
            stack.start()
        return
    over, lock = threading.Event(), threading.Lock()
    stream = drill.spoil(found, seed)
    with ThreadPoolExecutor(drill.clients) as pool:
        senders = [
            pool.submit(_send, drill, stack.api, stream, rate, over, lock, seen)
            for _ in range(drill.clients)
        ]
        try:
            yield
        finally:
            over.set()
    for sender in senders:
        sender.result()


def _send(
    drill: Drill,
    site: Site,
    stream: Iterator[Question],
    rate: float,
    over: threading.Event,
    lock: threading.Lock,
    seen: Seen,
) -> None:
    """Send as one of the clients, each at its share of the rate."""
    pause = drill.clients / rate
    while not over.is_set():
        start = time.monotonic()
        with lock:
            question = next(stream)
            seen.sent += 1
        with suppress(CheckError):  # no answer: not counted as one
            reply = traffic.send(site, question)
            if drill.feedback and reply.status == 200:
                traffic.judge(site, question, reply)
            with lock:
                seen.answered += reply.status == 200
        over.wait(max(0.0, pause - (time.monotonic() - start)))


def _watch(
    drill: Drill, prometheus: Prometheus, patience: float, linger: float, seen: Seen
) -> None:
    start = time.monotonic()
    end, told, told_of = start + patience, start, set[str]()
    while (now := time.monotonic()) < end:
        for name in prometheus.firing() - set(seen.fired):
            seen.fired[name] = now - start
            console.info(f"{name} fires after {now - start:.0f} s")
            if name == drill.alert:
                end = now + linger
        pending = prometheus.pending()
        for name in pending - told_of - set(seen.fired):
            console.info(f"{name} is pending after {now - start:.0f} s")
        told_of |= pending
        if now - told > _TOLD_EVERY:
            console.info(f"{now - start:.0f} s, {seen.sent} questions sent")
            told = now
        time.sleep(min(1.0, patience / 200))
    seen.seconds = time.monotonic() - start


def _dark(found: Sequence[Question], seed: int) -> Iterator[Question]:
    dark = [traffic.darkened(question, DARK) for question in found]
    return endless(dark, seed)


def _one_class(found: Sequence[Question], seed: int) -> Iterator[Question]:
    """The label that has the most questions, and of equal ones the first."""
    labels = sorted({question.label for question in found if question.label})
    count = {label: sum(question.label == label for question in found) for label in labels}
    flood = max(labels, key=lambda label: count[label])
    return endless([question for question in found if question.label == flood], seed)


def _half(found: Sequence[Question], seed: int, spoilt: Sequence[Question]) -> Iterator[Question]:
    """By chance one half as it is, and one half spoilt."""
    chance = random.Random(seed)
    for clean, bad in zip(endless(found, seed), endless(spoilt, seed + 1), strict=True):
        yield chance.choice((clean, bad))


def _torn(found: Sequence[Question], seed: int) -> Iterator[Question]:
    return _half(found, seed, [traffic.torn(question) for question in found])


def _failing(found: Sequence[Question], seed: int) -> Iterator[Question]:
    return _half(found, seed, [replace(question, order="error") for question in found])


def _slow(found: Sequence[Question], seed: int) -> Iterator[Question]:
    return endless([replace(question, order="slow") for question in found], seed)


_ALL = (
    Drill(
        name="clean",
        alert=None,
        fault="none: clean traffic, and the truth as feedback",
        patience=420.0,  # more than the five minutes of the slowest alert
        feedback=True,
    ),
    Drill(
        name="drift",
        alert="MienDrift",
        fault=f"pictures with {DARK:.0%} of their light",
        spoil=_dark,
        pictures=True,
    ),
    Drill(
        name="flood",
        alert="MienClassCollapse",
        fault="questions of one class only",
        spoil=_one_class,
    ),
    Drill(
        name="corrupt",
        alert="MienUploadsRejected",
        fault="every second picture torn",
        spoil=_torn,
        pictures=True,
        healthy=False,
    ),
    # One client: a second one would wait in the queue, which has an alert of its own.
    Drill(
        name="slow",
        alert="MienLatencyBudgetBurn",
        fault="every answer takes a second longer",
        spoil=_slow,
        clients=1,
        order="slow",
    ),
    Drill(
        name="errors",
        alert="MienErrorBudgetBurn",
        fault="every second question fails",
        spoil=_failing,
        order="error",
        healthy=False,
    ),
    Drill(name="killed", alert="MienServerDown", fault="the server is killed", kills=True),
)
DRILLS = {drill.name: drill for drill in _ALL}
