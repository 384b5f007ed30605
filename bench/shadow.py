"""What a challenger in the shadow costs the champion's answers at half load.

    python3 tasks.py bench shadow

Two servers of the same champions, pinned to one core with one thread each, take turns: one with a
challenger that answers a tenth of the requests, one without. The challenger is a copy of the
champion, so that it costs as much. Requests arrive at random times, at half of the rate that the
server without a challenger answers; both get the same times. Latency counts from the time at which
a request was due. A workload takes about six minutes, on Linux with two cores and the real photos;
MIEN_SHADOW_ONLY="emotion, 640 px" measures one of them, MIEN_BENCH_SMOKE=1 runs it briefly; both
print the page, docs/source/measured/shadow.md, without writing it.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import cores, load, page, rounds, servers, workloads
from bench.load import Slice
from bench.rivals.champions import folder
from bench.servers import Running, Server
from bench.serving import SMOKE
from bench.workloads import Workload
from mien.reporting import console
from mien.storage import shadow
from mien.storage.workspace import CHAMPION, Workspace

SHARE = 0.1
LOAD = 0.5
TARGET = 1.03
DRAWS = 1000
NAMES = ("emotion, 640 px", "gesture, 640 px", "gesture, landmarks")
ONLY = "MIEN_SHADOW_ONLY"
_TASKS = ("emotion", "gesture")
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_ANSWERS = re.compile(r'^mien_shadow_answers_total\{result="(\w+)".*\} (\S+)$', re.MULTILINE)


def main() -> None:
    """Start both servers, measure every workload and print the table."""
    pairs, seconds = (1, 1.0) if os.environ.get(SMOKE) else (12, 12.0)
    names = (only,) if (only := os.environ.get(ONLY)) else NAMES
    asked = [each for each in workloads.make(6, 40) if each.name in names]
    if not asked:
        raise SystemExit(f"{ONLY}: expected one of {'; '.join(NAMES)}, found {only}.")
    bundles = {task: folder(task) for task in _TASKS}
    cores.keep_awake(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    with tempfile.TemporaryDirectory() as temporary:
        scratch, running = Path(temporary), list[Running]()
        try:
            for name in ("alone", "shadowed"):
                home = _home(scratch / f"{name}-home", bundles, name == "shadowed")
                running.append(servers.start(_server(name, home), scratch, asked))
                running[-1].stop()
            alone, shadowed = running
            _wait_for_challengers(shadowed)
            rows = [_measured(each, alone, shadowed, pairs, seconds) for each in asked]
            results, memory = _results(shadowed), _memory_mb(shadowed)
        finally:
            for each in running:
                each.end()
    parts = _parts(rows, pairs, seconds, results, memory)
    if len(asked) < len(NAMES) or os.environ.get(SMOKE):
        print("\n\n".join(parts))
    else:
        page.write("shadow", "What a shadow costs", parts)


def _parts(
    rows: Sequence[dict[str, str]],
    pairs: int,
    seconds: float,
    results: dict[str, int],
    memory: Sequence[int],
) -> list[str]:
    compared = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
    return [
        f"Two servers with one core and one thread each take turns, {pairs} of {seconds:g} seconds "
        f"each; the challenger of one of them answers {SHARE:.0%} of the requests. Requests arrive "
        f"at random times at {LOAD:.0%} of the rate that the other one answers. Ratios with a "
        "challenger to without, of the latencies of all turns together, and in brackets the 95 % "
        "interval when turns are drawn again at random. A loop of the lowest priority keeps each "
        "core awake: a core that sleeps between two requests of the one wakes slower than one that "
        f"the challenger keeps busy. The aim is at most {TARGET:g} in p50 and p99, and no failed "
        "request.",
        page.table(rows),
        f"Requests for the challengers: {compared}. Memory of each challenger's process: "
        f"{' and '.join(map(str, memory))} MB.",
    ]


def _home(home: Path, bundles: dict[str, Path], shadowed: bool) -> Path:
    workspace = Workspace(home)
    for task, source in bundles.items():
        for number in (1, 2):
            shutil.copytree(source, workspace.version(task, number))
        workspace.write_aliases(task, {CHAMPION: 1})
        if shadowed:
            shadow.start(workspace, task, 2, SHARE)
    return home


def _server(name: str, home: Path) -> Server:
    settings = {"MIEN_HOME": str(home), "MIEN_THREADS": "1", "MIEN_PREDICTION_LOG": ""}
    command = [sys.executable, "-m", "mien.cli", "serve"]
    return Server(name, lambda _: command, servers.mien_wire, env=settings)


def _measured(
    workload: Workload, alone: Running, shadowed: Running, pairs: int, seconds: float
) -> dict[str, str]:
    console.info(workload.name)
    with alone.turn():
        rate = LOAD * load.send(alone.port, alone.wires(workload), 4, seconds / 4).rate
    taken: dict[str, list[Slice]] = {"alone": [], "shadowed": []}
    refused = {"alone": 0, "shadowed": 0}
    for seed in range(pairs):
        order = (alone, shadowed) if seed % 2 else (shadowed, alone)
        for each in order:
            found = _slice(each, workload, rate, seconds, seed)
            taken[each.server.name].append(found)
            refused[each.server.name] += sum(found.faults.values())
    usual = np.concatenate([each.latencies for each in taken["alone"]])
    ratios = {name: _ratio(taken, level) for name, level in (("p50", 50), ("p99", 99))}
    kept = all(middle <= TARGET for _, middle, _ in ratios.values()) and not refused["shadowed"]
    both = zip(taken["shadowed"], taken["alone"], strict=True)
    ratios["CPU"] = rounds.middle([a.cpu_per_answer_s / b.cpu_per_answer_s for a, b in both])
    return {
        "requests": workload.name,
        "rate": f"{rate:.0f} a second",
        "p50 without": f"{1000 * np.median(usual):.1f} ms",
        **{f"{name}, ratio": _text(*each) for name, each in ratios.items()},
        "failed, with / without": f"{refused['shadowed']} / {refused['alone']}",
        "at most 3 % more": "yes" if kept else "NO",
    }


def _slice(running: Running, workload: Workload, rate: float, seconds: float, seed: int) -> Slice:
    wires = running.wires(workload)
    with running.turn():
        load.ask(running.port, wires[0])  # what was stopped has left the caches
        start = running.cpu_s()
        answered = load.send_at_random(running.port, wires, rate, seconds, seed)
        answered.cpu_s = running.cpu_s() - start
    if answered.faults:
        console.info(f"{running.server.name}, {workload.name}: {dict(answered.faults)}")
    return answered


def _wait_for_challengers(running: Running) -> None:
    end = time.monotonic() + servers.PATIENCE
    while _metrics(running).count("\nmien_shadow_active{") < len(_TASKS):
        if time.monotonic() > end:
            raise SystemExit("The challengers were not loaded in time.")
        with running.turn():
            time.sleep(0.5)  # a server that waits for its turn loads nothing


def _metrics(running: Running) -> str:
    with running.turn():
        wire = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        return load.ask(running.port, wire)[1].decode()


def _results(running: Running) -> dict[str, int]:
    """How many requests were compared, failed or were dropped, of all tasks."""
    counts: dict[str, int] = {}
    for result, value in _ANSWERS.findall(_metrics(running)):
        counts[result] = counts.get(result, 0) + int(float(value))
    return counts


def _memory_mb(running: Running) -> list[int]:
    """Proportional set size of every process that the server has started."""
    pages = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in running.tree()[1:])
    return [round(int(_PSS.findall(page)[0]) / 1000) for page in pages]


def _ratio(taken: dict[str, list[Slice]], level: int) -> tuple[float, float, float]:
    """Of a percentile of all latencies, with a challenger to without; between the ends of its
    95 % interval, from turns drawn again at random (bootstrap)."""
    own, other = (
        [np.array(each.latencies) for each in taken[name]] for name in ("shadowed", "alone")
    )
    everything = np.arange(len(own))
    chance = np.random.default_rng(0)
    drawn = [everything, *(chance.choice(everything, len(everything)) for _ in range(DRAWS))]
    found = [
        float(
            np.divide(
                *(np.percentile(np.concatenate([e[i] for i in turns]), level) for e in (own, other))
            )
        )
        for turns in drawn
    ]
    low, high = np.percentile(found[1:], (2.5, 97.5))
    return float(low), found[0], float(high)


def _text(low: float, middle: float, high: float) -> str:
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
