"""What a request costs beyond the model, in CPU time: docs/source/measured/cpu.md.

    python3 tasks.py bench cpu

Takes less than five minutes, on Linux with two cores. The models are the champions of both tasks
in the workspace. CPU time hardly depends on what else runs on the machine, unlike time on the wall.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench import load, quota, rounds, servers, workloads
from bench.page import table, write
from bench.parts import MODEL, PARTS
from bench.rounds import CLIENTS, RAW, Seen, middle
from bench.servers import OURS, Running, Server
from bench.workloads import Workload
from mien import config
from mien.reporting import console

SMOKE = "MIEN_BENCH_SMOKE"
PHOTOS, HANDS = 6, 40
QUOTA_CORES = 0.5
QUOTA_CLIENTS = 8
Row = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """Seconds of a slice, of the rounds of a workload, and of its parts."""

    slice: float
    rounds: float
    parts: float


FULL, SMOKE_PLAN = Plan(0.3, 12.0, 1.0), Plan(0.05, 0.0, 0.1)


def main() -> None:
    """Measure and write the page."""
    plan = SMOKE_PLAN if os.environ.get(SMOKE) else FULL
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("This bench needs two cores: one for the server, one for the load.")
    os.environ["MIEN_HOME"] = str(config.settings().home.resolve())
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        asked = workloads.make(PHOTOS, HANDS)
        (scratch / "asked").mkdir()
        workloads.write(asked, scratch / "asked")
        own = servers.known(scratch / "asked", scratch)[0]
        with _started(own, scratch, asked) as running:
            seen = _measure(running, asked, plan, plan.rounds)
        with _started(_with_parts(own), scratch, asked) as running:
            parts = {
                clients: {each.name: _parts(running, each, clients, plan) for each in asked}
                for clients in CLIENTS[:2]
            }
        limited = list(_under_quota(own, asked, plan, scratch))
    page = [*ratios(seen, asked), *_tabled(parts), *limited]
    if plan is FULL:
        write("cpu", "CPU time of a request", page)
    else:
        print("\n\n".join(page))


@contextmanager
def _started(server: Server, scratch: Path, asked: Sequence[Workload]) -> Iterator[Running]:
    running = servers.start(server, scratch, asked)
    try:
        yield running
    finally:
        running.end()


def _measure(
    running: Running,
    asked: Sequence[Workload],
    plan: Plan,
    budget: float,
    clients: Sequence[int] = CLIENTS,
) -> Seen:
    """Turns of the raw call and the server, for every number of clients."""
    seen = Seen()
    for workload in asked:
        console.info(workload.name)
        end = time.monotonic() + budget
        while True:
            for each in clients:
                rounds.turn(plan.slice, {OURS: running}, workload, each, seen)
            if time.monotonic() >= end:
                break
    if faults := [key for key in seen.slices if seen.faults(key)]:
        sys.exit(f"Not all answers were good: {faults}.")
    return seen


# The ratios.


def ratios(seen: Seen, asked: Sequence[Workload]) -> Iterator[str]:
    yield (
        "User and system seconds of the server process for each answer, divided by those of the "
        "raw call: the same function in a loop, in a thread of the same process, over the same "
        "bytes. Medians of turns, with their 95 % interval. The server has one thread and one "
        "core, the load generator the other core."
    )
    yield table([_ratio(seen, workload) for workload in asked])


def _ratio(seen: Seen, workload: Workload) -> Row:
    raw = [each.cpu_per_answer_s for each in seen.slices[workload.name, RAW, 1]]
    row: Row = {"": workload.name, "raw call, ms": f"{1e3 * median(raw):.2f}"}
    missed = []
    for clients in CLIENTS:
        found = seen.cpu_ratios.get((workload.name, RAW, clients))
        row[f"{clients} client{'s' * (clients > 1)}"] = _interval(found) if found else ""
        if found and median(found) > workload.cpu_ratio:
            missed.append(clients)
    row["target"] = f"at most {workload.cpu_ratio:.2f}"
    row["result"] = f"MISSED at {', '.join(map(str, missed))}" if missed else "reached"
    return row


def _interval(found: Sequence[float]) -> str:
    low, ratio, high = middle(found)
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


# The parts.


def _with_parts(server: Server) -> Server:
    return replace(server, command=lambda folder: [*server.command(folder), "parts"])


def _parts(running: Running, workload: Workload, clients: int, plan: Plan) -> dict[str, float]:
    """Microseconds of each part for an answer, of what is beside them, and of the raw call's work
    beyond the raw call in the same process."""
    wires = running.wires(workload)
    raw_s = running.raw(workload, plan.parts / 2).cpu_per_answer_s
    load.send(running.port, wires, clients, plan.parts / 4)
    before, start = running.parts(), running.cpu_s()
    answers = load.send(running.port, wires, clients, plan.parts).answers
    time.sleep(rounds.SETTLE)
    after, cpu_s = running.parts(), running.cpu_s() - start
    found = {part: (after.get(part, 0.0) - before.get(part, 0.0)) for part in PARTS}
    found["routing, coroutines, the rest"] = cpu_s - sum(found.values())
    found = {part: spent_s / answers for part, spent_s in found.items()}
    found[f"{MODEL}, beyond the raw call"] = found[MODEL] - raw_s
    return {part: 1e6 * seconds for part, seconds in found.items()}


def _tabled(parts: Mapping[int, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    yield "## Where it goes"
    yield (
        "Microseconds of CPU for an answer, by clocks around the functions of each part in the "
        f"running server, which add some microseconds themselves. '{MODEL}' is the work of the raw "
        "call; in the server it finds the processor's caches and its clock as the rest left them, "
        "and the last row says what this adds to the raw call."
    )
    for clients, found in parts.items():
        yield f"With {clients} client{'s' * (clients > 1)}:"
        names = list(next(iter(found.values())))
        rows: list[Row] = [
            {"µs": part, **{name: f"{each[part]:.0f}" for name, each in found.items()}}
            for part in names
        ]
        yield table(rows)


# Under a quota.


def _under_quota(
    server: Server, asked: Sequence[Workload], plan: Plan, scratch: Path
) -> Iterator[str]:
    yield f"## With {QUOTA_CORES:g} of a core"
    try:
        with quota.limited(QUOTA_CORES) as join, _started(server, scratch, asked) as running:
            join(running.process.pid)
            seen = _measure(running, asked, plan, plan.rounds / 5, (QUOTA_CLIENTS,))
    except quota.NoQuotaError as error:
        yield f"SKIPPED: no control group can be made here ({error})."
        return
    yield (
        f"A control group grants the process {QUOTA_CORES:g} of a core, in periods of "
        f"{quota.PERIOD_US // 1000} ms. {QUOTA_CLIENTS} clients; the share is the server's "
        "throughput divided by that of the raw call, which has the same quota."
    )
    rows: list[Row] = []
    for workload in asked:
        key = (workload.name, RAW, QUOTA_CLIENTS)
        found = {"CPU ratio": seen.cpu_ratios[key], "share of throughput": seen.ratios[key]}
        shown = {name: _interval(values) for name, values in found.items()}
        rows.append({"": workload.name, **shown, "target": f"at most {workload.cpu_ratio:.2f}"})
    yield table(rows)


if __name__ == "__main__":
    main()
