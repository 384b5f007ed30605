"""Whether a server that is asked for long stays as it was: docs/source/measured/soak.md.

    python3 tasks.py bench soak                    (ten minutes)
    SOAK_SECONDS=60 python3 tasks.py bench soak

On Linux. The models are those of the workspace, after `python3 tasks.py demo --exit`; the
prediction log of the soak is a fresh one, which is thrown away.
"""

import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image

from bench.page import ROOT, table, write
from mien import tasks
from mien.reporting import console
from mien.stages.monitor import traffic
from mien.storage.workspace import Workspace

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the server and the clients to try
from stages.serve.load import Load, form, get, post
from stages.serve.server_process import Server, serve

SECONDS = 600.0
CLIENTS = 4
BAD = 0.05
"""Share of requests that no service should get, and every one on the open net does."""
BODIES = 200
SAMPLES = 120
ROWS = 10
Row = dict[str, object]


@dataclass(frozen=True)
class Asked:
    """A request, and the status that it is to be answered with."""

    request: bytes
    status: int = 200


@dataclass(frozen=True)
class Sample:
    """What the process held at a moment, in seconds since the start."""

    moment: float
    answered: int
    resident: float
    """MB."""
    threads: float
    descriptors: float
    series: float


@dataclass(frozen=True)
class Held:
    """One thing that a process holds, and how much more of it in half a soak is no growth."""

    name: str
    value: Callable[[Sample], float]
    allowed: Callable[[float], float]
    """Of the level at half time."""


HELD = (
    Held("resident memory, MB", lambda it: it.resident, lambda level: max(5.0, 0.03 * level)),
    Held("threads", lambda it: it.threads, lambda _: 1.0),
    Held("descriptors", lambda it: it.descriptors, lambda _: 3.0),
    Held("series of metrics", lambda it: it.series, lambda _: 1.0),
)


@dataclass(frozen=True)
class Soak:
    """What was seen."""

    samples: Sequence[Sample]
    statuses: Counter[int]
    wrong: Counter[str]
    """Answers of another status than they should have, and requests without any."""


def main() -> None:
    """Soak the champions of the workspace and write the page."""
    seconds = float(os.environ.get("SOAK_SECONDS") or SECONDS)
    workspace = Workspace(Path(os.environ.get("MIEN_HOME", ".")))
    done = run(workspace, seconds)
    write("soak", "Soak", _told(done))


def run(workspace: Workspace, seconds: float) -> Soak:
    """Ask a server of its own for so many seconds, and look at it meanwhile."""
    asked = mixed(workspace)
    with tempfile.TemporaryDirectory() as folder:
        prediction_log = str(Path(folder) / "predictions.db")
        home, log = workspace.home.resolve(), Path(folder) / "log"
        with serve(
            home, None, log=log, MIEN_PREDICTION_LOG=prediction_log, MIEN_THREADS="2"
        ) as server:
            with Load(server.port, [get("/metrics")], 3 * CLIENTS) as load:
                load.reach(10 * CLIENTS)  # threads of pools are made when they are first needed
            with Load(server.port, [each.request for each in asked], CLIENTS) as load:
                samples = _watched(server, load, seconds)
                load.stop()
            _bounded(server)
    wrong: Counter[str] = Counter()
    for each in load.records:
        if each.status != asked[each.request].status:
            wrong[f"{each.fault or each.status} for {asked[each.request].status}"] += 1
    return Soak(samples, Counter(each.status for each in load.records), wrong)


def _watched(server: Server, load: Load, seconds: float) -> list[Sample]:
    samples, start = [], time.monotonic()
    with console.bar("soaking") as advance:
        while (moment := time.monotonic() - start) < seconds:
            samples.append(_sample(server, load, moment))
            advance(int(moment), int(seconds))
            time.sleep(max(0.2, seconds / SAMPLES))
    return [*samples, _sample(server, load, time.monotonic() - start)]


def _sample(server: Server, load: Load, moment: float) -> Sample:
    page = server.request(get("/metrics")).body.decode()
    return Sample(
        moment=moment,
        answered=len(load.records),
        resident=server.status("VmRSS") / 1000,
        threads=server.status("Threads"),
        descriptors=server.descriptors(),
        series=sum(1 for line in page.splitlines() if line and line[0] != "#"),
    )


def _bounded(server: Server) -> None:
    """After the last request no place may be taken."""
    server.settle()
    if server.process.poll() is not None:
        raise SystemExit(f"The server ended: {server.text()[-2000:]}")


# What is asked.


def mixed(workspace: Workspace) -> list[Asked]:
    """Photos and bodies of every task that has a champion, and a share of bad requests, mixed."""
    names = [name for name in tasks.names() if "champion" in workspace.aliases(name)]
    good = [each for name in names for each in (*_pictures(name), *_bodies(name, workspace))]
    bad = [each for name in names for each in _bad(name)]
    good *= ceil(len(bad) * (1 - BAD) / BAD / len(good))  # so many that each bad one is among them
    count = round(len(good) * BAD / (1 - BAD))
    found = [*good, *(bad[place % len(bad)] for place in range(count))]
    random.Random(0).shuffle(found)
    return found


def _pictures(name: str) -> list[Asked]:
    """The task's drawn picture in the types and sizes that people send."""
    picture, found = tasks.load(name).inference.sample_picture().convert("RGB"), []
    for kind in ("PNG", "JPEG", "WEBP"):
        for side in (256, 512, 1024):
            file = io.BytesIO()
            picture.resize((side, side)).save(file, kind)
            found.append(Asked(form(f"/predict/{name}", file.getvalue())))
    return found


def _bodies(name: str, workspace: Workspace) -> list[Asked]:
    """Rows of the champion's data, for a task that takes JSON."""
    if tasks.load(name).inference.Body is None:
        return []
    found = [each for each in traffic.load_requests(name, workspace) if not each.is_image]
    return [Asked(post(each.path, each.body)) for each in found[:BODIES]]


def _bad(name: str) -> list[Asked]:
    """What cannot be answered, each with its status."""
    path, task = f"/predict/{name}", tasks.load(name)
    file = io.BytesIO()
    task.inference.sample_picture().convert("RGB").save(file, "PNG")
    whole, wide = file.getvalue(), io.BytesIO()
    Image.fromarray(np.zeros((1, 70_000, 3), dtype=np.uint8)).save(wide, "PNG")
    noise = np.random.default_rng(0).bytes(5_000)
    found = [
        Asked(form(path, whole[: len(whole) // 2]), 400),
        Asked(form(path, noise), 415),
        Asked(form(path, wide.getvalue()), 413),
        Asked(form(path, b""), 422),
        Asked(post(path, noise, "application/octet-stream"), 415),
        Asked(form(f"{path}/more", whole), 404),
        Asked(get(path), 405),
        Asked(post("/feedback", json.dumps({"trace_id": "0" * 32, "label": None}).encode()), 404),
    ]
    if task.inference.Body is not None:
        found += [Asked(post(path, body), 422) for body in (b"{", b'{"landmarks": [[NaN]]}')]
    return found


# The report.


def growth(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """By how much a value grew in the second half: the slope of its line of best fit, times the
    time that it is fitted to."""
    half = samples[len(samples) // 2 :]
    moments = np.array([each.moment for each in half])
    slope = np.polyfit(moments - moments[0], [value(each) for each in half], 1)[0]
    return float(slope * (moments[-1] - moments[0]))


def results(samples: Sequence[Sample]) -> list[Row]:
    """One row for each thing that is held: how it stood, how it grew, and whether it is flat."""
    first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
    rows: list[Row] = []
    for held in HELD:
        grown, allowed = growth(samples, held.value), held.allowed(held.value(middle))
        rows.append(
            {
                "of the server": held.name,
                "at the start": f"{held.value(first):.0f}",
                "half way": f"{held.value(middle):.0f}",
                "at the end": f"{held.value(last):.0f}",
                "growth in the second half": f"{grown:+.2f}",
                "allowed": f"{allowed:.1f}",
                "flat": "yes" if grown <= allowed else "NO",
            }
        )
    return rows


def _told(done: Soak) -> list[str]:
    seconds, count = done.samples[-1].moment, sum(done.statuses.values())
    found = ", ".join(f"{status}: {many:,}" for status, many in sorted(done.statuses.items()))
    intro = (
        f"{CLIENTS} clients asked a server of two threads for {seconds:.0f} s, each as soon as it "
        f"had its answer: drawn photos of both tasks in three types and sizes, landmarks as JSON, "
        f"and {BAD:.0%} of requests that are none. {count:,} answers by status: {found}."
    )
    ends = "Every answer had the status that it should have, and no request was without one."
    if done.wrong:
        ends = "NOT AS THEY SHOULD BE: " + ", ".join(f"{k} ({n})" for k, n in done.wrong.items())
    judged = (
        "Growth is the slope of the line of best fit through the second half of the samples, times "
        "its length; before that, caches and the allocator's pools fill."
    )
    return [intro, ends, judged, table(results(done.samples)), table(_course(done.samples))]


def _course(samples: Sequence[Sample]) -> list[Row]:
    step = max(1, (len(samples) - 1) // ROWS)
    return [
        {
            "s": f"{each.moment:.0f}",
            "answers": f"{each.answered:,}",
            "resident, MB": f"{each.resident:.1f}",
            "threads": f"{each.threads:.0f}",
            "descriptors": f"{each.descriptors:.0f}",
            "series": f"{each.series:.0f}",
        }
        for each in (*samples[:-1:step], samples[-1])
    ]


if __name__ == "__main__":
    main()
