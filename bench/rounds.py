"""Turns of short slices: mien beside the raw limit and beside each of its rivals.

The same code runs up to twice as fast in one process as in another, and from one second to the
next. So everything is given as a ratio of two slices that follow each other, and each such pair is
taken many times, with the processes restarted now and then.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from bench import load, servers
from bench.load import Slice
from bench.servers import OURS, NotThereError, Running, Server
from bench.workloads import Workload
from mien.reporting import console

RAW = "raw limit"
PAUSE = 0.0002
"""Seconds that a thread rests before each call of the other raw limit: about as long as a single
client takes to read its answer and send its next question."""
SETTLE = 0.01
"""Seconds after the last answer of a slice in which its server finishes what belongs to it."""
FEW = (1, 8)
CROWD = 64
CLIENTS = (*FEW, CROWD)
Key = tuple[str, str, int]
"""Workload, who answers, and clients."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sessions: int
    """How often all processes are started."""
    seconds: float
    """Of one slice, at least; it ends with the last question of a round."""
    budget: float
    """Seconds for the turns of 1 and 8 clients of a workload in a session, at least one each."""
    photos: int
    hands: int
    starts: int
    """How often mien is started for the first answer."""
    work: float
    """Seconds of work for each workload before memory is read."""
    crowd: float
    """A crowd comes in every session where the raw limit answers it within so many seconds;"""
    long_crowds: bool
    """and in the first session elsewhere, or not at all."""


FULL = Plan(
    sessions=3,
    seconds=0.5,
    budget=12.0,
    photos=6,
    hands=40,
    starts=9,
    work=2.0,
    crowd=0.8,
    long_crowds=True,
)
SMOKE = Plan(
    sessions=1,
    seconds=0.05,
    budget=0.0,
    photos=2,
    hands=10,
    starts=1,
    work=0.1,
    crowd=0.4,
    long_crowds=False,
)


@dataclass
class Seen:
    """All that was measured."""

    slices: dict[Key, list[Slice]] = field(default_factory=lambda: defaultdict(list))
    ratios: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Throughput of mien, divided by that of the other in the slice beside it."""
    cpu_ratios: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU time of an answer of mien, divided by that of the other in the slice beside it."""
    delays: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """For each workload: median answer to a single client, divided by the median raw call."""
    rested: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """For each workload: the median raw call after a rest, in seconds."""
    absent: dict[str, str] = field(default_factory=dict)
    """Servers that could not be installed or started, and why."""
    agreement: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each server: questions that it answers with mien's label, of so many."""
    crowding: float = 1.0
    """How many times as long the servers' core takes while the core of the load is busy."""

    def rate(self, key: Key) -> float:
        return median(each.rate for each in self.slices[key])

    def latencies(self, key: Key) -> list[float]:
        """Of all slices together, in order."""
        return sorted(value for each in self.slices[key] for value in each.latencies)

    def good(self, key: Key) -> bool:
        """Whether it was measured, and all answers were good."""
        return bool(self.slices.get(key)) and not self.faults(key)

    def faults(self, key: Key) -> Counter[str]:
        return sum((each.faults for each in self.slices[key]), Counter())


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, between the ends of its 95 % interval (order statistics, normal limit)."""
    ranked, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = int(len(ranked) / 2 - half), int(len(ranked) / 2 + half)
    return ranked[max(low, 0)], median(ranked), ranked[min(high, len(ranked) - 1)]


def measure(plan: Plan, known: Sequence[Server], asked: Sequence[Workload], scratch: Path) -> Seen:
    """Run all sessions."""
    seen, calls = Seen(), dict[str, float]()
    for number in range(plan.sessions):
        folder = scratch / f"session-{number}"
        folder.mkdir()
        console.info(f"session {number + 1} of {plan.sessions}: starting the servers")
        running = _start(known, asked, folder, seen)
        try:
            if not number:
                _compare(running, asked, seen)
            for workload in asked:
                console.info(f"session {number + 1}: {workload.name}")
                _session(plan, running, workload, seen)
                calls[workload.name] = mean(seen.latencies((workload.name, RAW, 1)))
                short = calls[workload.name] * CROWD < plan.crowd
                if short or (plan.long_crowds and not number):
                    turn(plan.seconds, running, workload, CROWD, seen)
        finally:
            for each in running.values():
                each.end()
    return seen


def _start(
    known: Sequence[Server], asked: Sequence[Workload], scratch: Path, seen: Seen
) -> dict[str, Running]:
    """Start one after the other; each that has answered is stopped until it is its turn."""
    found: dict[str, Running] = {}
    for server in known:
        if server.name in seen.absent:
            continue
        try:
            found[server.name] = servers.start(server, scratch, asked)
            found[server.name].stop()
        except NotThereError as error:
            if server.name == OURS:
                for each in found.values():
                    each.end()
                raise SystemExit(str(error)) from None
            seen.absent[server.name] = str(error)
            console.failure(f"LEFT OUT: {error}")
    return found


def _compare(running: Mapping[str, Running], asked: Sequence[Workload], seen: Seen) -> None:
    """Ask every server every question, and count the labels that are mien's."""
    labels = {name: list(each.labels(asked)) for name, each in running.items()}
    for name, found in labels.items():
        same = [one == other for one, other in zip(found, labels[OURS], strict=True)]
        seen.agreement[name] = (sum(same), len(same))


def _session(plan: Plan, running: Mapping[str, Running], workload: Workload, seen: Seen) -> None:
    end = time.monotonic() + plan.budget
    while True:
        for clients in FEW:
            turn(plan.seconds, running, workload, clients, seen)
        if time.monotonic() >= end:
            return


def turn(
    seconds: float, running: Mapping[str, Running], workload: Workload, clients: int, seen: Seen
) -> None:
    """A slice of everybody, in changing order; one of mien stands beside each of them."""
    others = [RAW, *(name for name in running if name != OURS)]
    random.shuffle(others)
    for place in range(0, len(others), 2):
        first, *second = others[place : place + 2]
        before = _slice(seconds, running, workload, clients, first, seen)
        own = _slice(seconds, running, workload, clients, OURS, seen)
        _beside(seen, workload, clients, first, own, before)
        for name in second:
            after = _slice(seconds, running, workload, clients, name, seen)
            _beside(seen, workload, clients, name, own, after)


def _slice(
    seconds: float,
    running: Mapping[str, Running],
    workload: Workload,
    clients: int,
    name: str,
    seen: Seen,
) -> Slice:
    chosen = running[OURS if name == RAW else name]
    with chosen.turn():
        if name == RAW:
            found = chosen.raw(workload, seconds)
            if clients == 1:
                paced = chosen.raw(workload, seconds, PAUSE)
                seen.rested[workload.name].append(median(paced.latencies))
        else:
            found = _sent(chosen, workload, clients, seconds)
    seen.slices[workload.name, name, clients].append(found)
    return found


def _sent(chosen: Running, workload: Workload, clients: int, seconds: float) -> Slice:
    wires = chosen.wires(workload)
    try:
        load.ask(chosen.port, wires[0])  # what was stopped has left the caches
        start = chosen.cpu_s()
        found = load.send(chosen.port, wires, clients, seconds)
        time.sleep(SETTLE)
        found.cpu_s = chosen.cpu_s() - start
        return found
    except (OSError, EOFError) as error:
        return Slice(seconds, faults=Counter({f"no connection: {error}": 1}))


def _beside(
    seen: Seen, workload: Workload, clients: int, name: str, own: Slice, other: Slice
) -> None:
    if own.answers and other.answers:
        key = (workload.name, name, clients)
        seen.ratios[key].append(own.rate / other.rate)
        seen.cpu_ratios[key].append(own.cpu_per_answer_s / other.cpu_per_answer_s)
    if name == RAW and clients == 1 and own.answers:
        delay = median(own.latencies) / median(other.latencies)
        seen.delays[workload.name].append(delay)
