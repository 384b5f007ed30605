"""What monitoring costs a request, and whether memory is flat: docs/source/measured/monitoring.md.

    python3 tasks.py bench monitoring

Takes about ten minutes, on Linux. The models are those of the workspace, after
`python3 tasks.py demo --exit`. The app is called within the process, without sockets. What is
measured is CPU time of the process: other programs on the machine change it far less than the
time on the wall.
"""

import asyncio
import io
import json
import multiprocessing
import os
import random
import secrets
import string
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar
from zipfile import ZipFile

from urllib3 import encode_multipart_formdata

from bench.calls import Ask, Clock, send, served, variants
from bench.page import REAL, table, write
from mien import config, tasks
from mien.observability.drift import WINDOW_ROWS
from mien.reporting import console
from mien.stages.monitor import traffic
from mien.stages.serve.collector import LIVE_ACCURACY_WINDOW
from mien.stages.serve.dispatch import Application
from mien.stages.serve.inference import InferenceService
from mien.storage.workspace import Workspace

GOAL = 0.05
KEPT = f"under {GOAL:.0%}"
PHOTOS = 10
BODIES = 400
"""Landmark bodies in a block: so many that each block has its part of the prediction log's
housekeeping, which comes once in some hundred answers."""
TURN = 5
"""Requests after which it is another app's turn: the speed of a shared processor wanders."""
SECONDS = 15.0
"""How long one kind of request is measured."""
SCRAPES = 60
BETWEEN_SCRAPES = 15.0
STOPS = (10_000, 25_000, 50_000, 75_000, 100_000)
BAD = 0.01
Row = dict[str, object]
T = TypeVar("T")


@dataclass(frozen=True)
class Held:
    """What the process holds after so many requests; bytes, and CPU seconds of one request."""

    requests: int
    resident: int
    seconds: float
    answers: int
    size: int


def main() -> None:
    """Measure memory, then cost, and write the page; each in a process of its own."""
    clean, mixed = (_apart(_memory, bad) for bad in (0.0, BAD))
    costs, parts, scrape = _apart(_cost)
    write(
        "monitoring", "What monitoring costs", [*_told(costs, parts, scrape), *_kept(clean, mixed)]
    )


# What is asked.


def _workloads(home: Workspace) -> dict[str, list[Ask]]:
    found = {
        "gesture, landmarks as JSON": _bodies(home),
        "gesture, photo of 512 pixels": _gesture_photos(),
        "emotion, photo of 96 pixels": _emotion_photos("affectnet_yolo.zip"),
        "emotion, press photo": _emotion_photos("muxspace_yolo.zip"),
    }
    for name in ("emotion", "gesture"):
        file = io.BytesIO()
        tasks.load(name).inference.sample_picture().save(file, "PNG")
        found[f"{name}, drawn picture"] = [_picture(name, file.getvalue())]
    for name in [name for name, asks in found.items() if not asks]:
        console.info(
            f"LEFT OUT: {name}. The real photos are not in {REAL.parent.name}/{REAL.name}."
        )
    return {name: asks for name, asks in found.items() if asks}


def _bodies(home: Workspace) -> list[Ask]:
    found = traffic.load_requests("gesture", home)
    return [Ask(each.path, each.body) for each in found if not each.is_image][:BODIES]


def _gesture_photos() -> list[Ask]:
    files = sorted(path for path in (REAL / "gesture" / "photos").rglob("*.jp*g"))
    return [_picture("gesture", path.read_bytes()) for path in _spread(files)]


def _emotion_photos(name: str) -> list[Ask]:
    path = REAL / "emotion" / name
    if not path.is_file():
        return []
    with ZipFile(path) as stored:
        names = sorted(each for each in stored.namelist() if each.endswith((".jpg", ".png")))
        return [_picture("emotion", stored.read(each)) for each in _spread(names)]


def _spread(found: Sequence[T]) -> Sequence[T]:
    return found[:: max(1, len(found) // PHOTOS)][:PHOTOS]


def _picture(task: str, content: bytes) -> Ask:
    form, kind = encode_multipart_formdata({"file": ("picture", content, "image/jpeg")})
    return Ask(f"/predict/{task}", form, kind)


def _spoilt(chance: random.Random) -> Ask:
    """What a service on the open net is sent too; no two paths are the same."""
    word = "".join(chance.choices(string.ascii_letters, k=12))
    return chance.choice(
        (
            Ask("/predict/gesture", f'{{"landmarks": "{word}"}}'.encode()),
            Ask("/predict/gesture", word.encode(), "multipart/form-data; boundary=x"),
            Ask(f"/predict/{word}", b"{}"),
            Ask(f"/{word}.php", method="GET"),
            Ask(f"/static/{word}", method=word.upper()),
            Ask("/feedback", json.dumps({"trace_id": word, "label": "like"}).encode()),
        )
    )


# Cost.


def _cost() -> tuple[list[Row], list[Row], Row]:
    found: tuple[list[Row], list[Row], Row] = _scratch(_cost_of_all)
    return found


async def _cost_of_all(home: Workspace, scratch: Path) -> tuple[list[Row], list[Row], Row]:
    clock, rows, parts = Clock(), [], {}
    async with served(home, scratch) as full:
        apps = variants(full, home, scratch, clock)
        for name, asks in _workloads(home).items():
            console.info(f"{name}: {len(asks)} requests a block, for {SECONDS:g} s")
            used = await _alternating(apps, asks, SECONDS, clock)
            rows.append(_compared(name, used, len(asks)))
            parts[name] = _parts(used, clock, len(asks))
        return rows, _beside(parts), await _scraped(full)


async def _alternating(
    apps: Mapping[str, Application], asks: Sequence[Ask], seconds: float, clock: Clock
) -> dict[str, list[float]]:
    """CPU microseconds of a request in each block; the apps take turns in changing order."""
    used: dict[str, list[float]] = {name: [] for name in apps}
    turn = TURN if len(asks) > PHOTOS else 1
    end, order = time.monotonic() + seconds, list(apps)
    for app in apps.values():
        for ask in asks:
            if (status := await send(app, ask)) != 200:
                raise SystemExit(f"{ask.path} was answered with {status}.")
    clock.spent.clear()
    while time.monotonic() < end or len(used["with"]) < 5:
        block = dict.fromkeys(apps, 0.0)
        for first in range(0, len(asks), turn):
            random.shuffle(order)
            for name in order:
                start = time.process_time()
                for ask in asks[first : first + turn]:
                    await send(apps[name], ask)
                block[name] += time.process_time() - start
        for name in order:
            used[name].append(block[name] / len(asks) * 1e6)
    return used


def _compared(name: str, used: Mapping[str, Sequence[float]], count: int) -> Row:
    more = [a - b for a, b in zip(used["with"], used["without"], strict=True)]
    without, (low, middle, high) = median(used["without"]), _middle(more)
    share = middle / without
    return {
        "request": name,
        "requests sent": f"{2 * count * len(more):,}",
        "CPU without, ms": f"{without / 1000:.3f}",
        "monitoring, µs": f"{middle:.0f} ({low:.0f} to {high:.0f})",
        "share": f"{share:.1%} ({low / without:.1%} to {high / without:.1%})",
        KEPT: "yes" if high / without < GOAL else "NO" if share > GOAL else "unsure",
    }


def _middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, between the ends of its 95 % interval (order statistics, normal limit)."""
    ranked, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = int(len(ranked) / 2 - half), int(len(ranked) / 2 + half)
    return ranked[max(low, 0)], median(ranked), ranked[min(high, len(ranked) - 1)]


def _parts(used: Mapping[str, Sequence[float]], clock: Clock, count: int) -> dict[str, float]:
    """Microseconds of each part, and what the whole has beyond them."""
    if unseen := clock.parts - set(clock.spent):
        raise SystemExit(f"Nothing was measured of {', '.join(sorted(unseen))}.")
    requests = len(used["timed"]) * count
    found = {part: spent / requests * 1e6 for part, spent in sorted(clock.spent.items())}
    whole = median(a - b for a, b in zip(used["with"], used["without"], strict=True))
    return {**found, "all else": whole - sum(found.values()), "all": whole}


def _beside(parts: Mapping[str, Mapping[str, float]]) -> list[Row]:
    names = list(next(iter(parts.values())))
    return [
        {"µs of a request": part, **{name: f"{each[part]:.0f}" for name, each in parts.items()}}
        for part in names
    ]


async def _scraped(app: Application) -> Row:
    """One page of metrics with full windows and feedback, after new answers of each task."""
    service: InferenceService = app.state.service.inference
    used = []
    for name in service.models.ready:
        _fill(service, name)
    for _ in range(SCRAPES):
        for name in service.models.ready:
            served = service.models.find(name)
            service.drift_windows.add(service.prediction_log.recent(served.digest, 1, 0.0)[0])
        start = time.process_time()
        await send(app, Ask("/metrics", method="GET"))
        used.append(time.process_time() - start)
    low, middle, high = _middle(used)
    return {
        "CPU of a scrape, ms": f"{middle * 1e3:.1f} ({low * 1e3:.1f} to {high * 1e3:.1f})",
        f"share of a core at one in {BETWEEN_SCRAPES:g} s": f"{middle / BETWEEN_SCRAPES:.3%}",
    }


def _fill(service: InferenceService, name: str) -> None:
    served = service.models.find(name)
    answers, labels = (
        service.prediction_log.recent(served.digest, WINDOW_ROWS, 0.0),
        served.labels,
    )
    for number in range(WINDOW_ROWS):
        event = replace(answers[number % len(answers)], trace_id=secrets.token_hex(16))
        service.prediction_log.add(event)
        service.drift_windows.add(event)
        if number < LIVE_ACCURACY_WINDOW:
            label = labels[number % len(labels)]
            service.prediction_log.record_feedback(event.trace_id, label, event.timestamp)


# Memory.


def _memory(bad: float) -> list[Held]:
    found: list[Held] = _scratch(lambda home, scratch: _memory_after(home, scratch, bad))
    return found


async def _memory_after(home: Workspace, scratch: Path, bad: float) -> list[Held]:
    chance, rows = random.Random(0), list[Held]()
    async with served(home, scratch) as app:
        bodies = _bodies(home)
        with console.bar(f"{STOPS[-1]:,} requests, {bad:.0%} of them bad") as advance:
            start, since = time.process_time(), 0
            for done in range(1, STOPS[-1] + 1):
                good = chance.random() >= bad
                await send(app, bodies[done % len(bodies)] if good else _spoilt(chance))
                if done % 1000 == 0:
                    await send(app, Ask("/metrics", method="GET"))
                    advance(done, STOPS[-1])
                if done in STOPS:
                    used = (time.process_time() - start) / (done - since)
                    rows.append(_held(app, done, used))
                    start, since = time.process_time(), done
    return rows


def _held(app: Application, done: int, seconds: float) -> Held:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    answers, size = app.state.service.inference.prediction_log.size()
    return Held(done, pages * os.sysconf("SC_PAGE_SIZE"), seconds, answers, size)


# The page.


def _told(costs: Sequence[Row], parts: Sequence[Row], scrape: Row) -> list[str]:
    failed = [str(row["request"]) for row in costs if row[KEPT] != "yes"]
    conclusion = (
        f"It is not kept, or not surely, for: {'; '.join(failed)}." if failed else "It is kept."
    )
    return [
        f"The goal is that monitoring costs less than {GOAL:.0%} of the CPU time that a request "
        f"takes without it. {conclusion}",
        "## A request",
        "The app of the service, called within one process on one core with one worker; champions "
        "of both tasks, trained on the sample. 'Without' is the same app over the same models, "
        "where each request gets its trace_id and nothing is counted, observed, recorded or "
        "logged; what is left of monitoring there is the making of the prediction log's record and "
        "the clocks around the stages, some microseconds. The two take turns, and one CPU clock "
        "runs for all threads. In brackets, the 95 % interval of the median over blocks. Sockets "
        "and the parsing of HTTP come on top of both and would make the shares smaller.",
        table(costs),
        "## What it is made of",
        "CPU time inside each part while requests are answered, by a clock of its own thread "
        "(which adds about a microsecond a call). 'All else' is what is left of the difference "
        "above, with all of its noise: route template, headers, and what one part makes slower in "
        "another; it may be below zero. The same code takes several times as long after a network "
        "has run as it takes in a loop: it is no longer in the processor's caches.",
        table(parts),
        "## A scrape",
        f"`GET /metrics` with {WINDOW_ROWS:,} answers in both windows of drift, "
        f"{LIVE_ACCURACY_WINDOW} feedbacks for both tasks and new predictions since the last one, "
        "so that every drift score is computed.",
        table([scrape]),
    ]


def _kept(clean: Sequence[Held], mixed: Sequence[Held]) -> list[str]:
    return [
        "## Memory",
        f"{STOPS[-1]:,} landmark bodies, monitoring on, `/metrics` read after each 1,000 of them; "
        f"a process for each table. {_growth(clean)}",
        table([_shown(row) for row in clean]),
        f"The same with {BAD:.0%} of bad requests among them: bodies and forms that are none, "
        "paths and methods that are not there, no two alike, and feedback on answers that never "
        f"were. {_growth(mixed)}",
        table([_shown(row) for row in mixed]),
    ]


def _growth(rows: Sequence[Held]) -> str:
    first, last = rows[0], rows[-1]
    more = (last.resident - first.resident) / (last.requests - first.requests) * 10_000
    return (
        f"After the first {first.requests:,}, resident memory grew by {more / 1e3:.0f} kB for "
        "every 10,000 requests."
    )


def _shown(held: Held) -> Row:
    return {
        "requests": f"{held.requests:,}",
        "resident, MB": f"{held.resident / 1e6:.1f}",
        "CPU of a request since the row before, ms": f"{held.seconds * 1e3:.3f}",
        "answers in the prediction log": f"{held.answers:,}",
        "prediction log, MB": f"{held.size / 1e6:.1f}",
    }


# Processes.


def _apart(work: Callable[..., T], *arguments: object) -> T:
    """Run in a fresh process, which has no memory left over from another measurement."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh) as pool:
        return pool.submit(work, *arguments).result()


def _scratch(work: Callable[[Workspace, Path], Any]) -> Any:
    # On one core: what it costs to wake a thread on another one varies more than what is sought.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(work(Workspace(config.settings().home), Path(folder)))


if __name__ == "__main__":
    main()
