"""Scores a folder of pictures or a CSV on all cores: a few threads, one model, results in order.

What there is to score is `sources.py`'s business, what is written and resumed `parts.py`'s, and
the form of the result `tables.py`'s. This file knows no task by name.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from mien import tasks
from mien.errors import BundleError, MienError
from mien.model import runtime
from mien.model.runtime import Model
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request, Task

from . import parts, sources, tables
from .parts import Parts, Run
from .sources import Item

CHUNK = 8
"""Files or rows that a thread answers before it asks for more; together, where the task can."""
SMALL = 200_000
"""Bytes of a file up to which that is done: decoding large ones takes most of their time, and room
for all of them at once."""
SPAN = 256
"""Frames of a video that are answered in one go. The next ones begin without memory, so that
answers depend on the files alone, not on where a run was interrupted."""
AHEAD = 4
"""Jobs for each thread that are under way or wait for their turn to be written."""
ROWS, SECONDS = 2000, 5.0
"""A part is written when it has so many rows, or so long after the one before."""

_log = logging.getLogger(__name__)
Row = dict[str, Any]
Answer = Callable[[Request], Prediction]


@dataclass(frozen=True)
class Done:
    """What a batch left."""

    out: Path
    rows: int
    failed: int
    fresh: bool
    """False where the result was there already."""
    seconds: float
    kept: int
    """Rows that an earlier, interrupted run had answered."""


def batch(
    source: Path,
    out: Path,
    workspace: Workspace,
    *,
    name: str | None = None,
    bundle: Path | None = None,
    threads: int = 0,
    sequence: bool = False,
    force: bool = False,
) -> Done:
    """Score every picture of a folder, or row of a CSV, into the table `out`.

    Args:
        name: the task; default the first with a champion.
        bundle: a bundle folder in place of the champion.
        threads: 0 is one for each core that the process may use.
        sequence: take the pictures of each folder, in the order of names, as frames of one video.
        force: score anew what is there already.

    Raises:
        DataError: there is nothing to score, or the CSV cannot be understood.
        ConfigError: `out` has no known ending, or holds something else.
        RegistryError, BundleError: there is no model, or it is damaged.
    """
    form = tables.form(out)
    folder, version = bundle, ""
    if folder is None:
        named, number = workspace.champion([tasks.load(name).name] if name else tasks.names())
        folder, version = workspace.version(named, number), str(number)
    with runtime.load(folder) as model:
        task = tasks.load(model.bundle.manifest.task)
        run = Run(
            task=task.name,
            version=version,
            digest=model.bundle.digest,
            source=str(source.resolve()),
            sequence=sequence,
        )
        if sequence and task.inference.video_predictor is None:
            console.info(f"mien-{task.name} answers the frames of a video one by one.")
        found = sources.find(source, task, out, sequence)
        console.info(f"{found.count} {found.noun} to score with mien-{task.name} {version}".strip())
        with parts.opened(out, run, force) as kept:
            done = kept.complete(found.fingerprint)
            if done:
                return Done(out, done["rows"], done["failed"], False, 0.0, done["rows"])
            return _score(found, kept, task, model, threads or runtime.available_cpus(), form)


def _score(
    found: sources.Source,
    kept: Parts,
    task: Task[Any],
    model: Model,
    threads: int,
    form: tables.Write,
) -> Done:
    watch = console.Stopwatch()
    resumed = kept.resume(found.items(), found.fingerprint)
    jobs = _jobs(resumed.rest, SPAN if kept.run.sequence else CHUNK, kept.run.sequence)
    rows, failed = resumed.rows, resumed.failed
    answer = partial(_answered, task=task, model=model, follow=kept.run.sequence)
    buffer, since = _Buffer(kept), monotonic()
    with (
        console.bar(f"mien-{task.name}") as advance,
        closing(in_order(jobs, answer, threads)) as answered,
    ):
        for job, answers in answered:
            buffer.add(job, answers)
            rows += len(answers)
            failed += sum(row["error"] is not None for row in answers)
            advance(rows, found.count, f"{failed} failed" if failed else "")
            if buffer.rows >= ROWS or monotonic() - since > SECONDS:
                buffer.write()
                since = monotonic()
    buffer.write()
    described = tables.Described(task.name, task.labels, found.key, kept.run)
    kept.finish(found.fingerprint, rows, failed, lambda path: form(path, kept.rows(), described))
    return Done(kept.out, rows, failed, True, watch.seconds, resumed.rows)


def in_order(
    jobs: Iterator[list[Item]], answer: Callable[[list[Item]], list[Row]], threads: int
) -> Generator[tuple[list[Item], list[Row]], None, None]:
    """Answer jobs in threads and yield them in their order; few are held at any time."""
    waiting: deque[tuple[list[Item], Future[list[Row]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mien-batch")
    try:
        for job in jobs:
            waiting.append((job, pool.submit(answer, job)))
            while len(waiting) >= threads * AHEAD or (waiting and waiting[0][1].done()):
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Buffer:
    """Answers that wait to be written as a part."""

    def __init__(self, kept: Parts) -> None:
        self._kept = kept
        self._items: list[Item] = []
        self._rows: list[Row] = []

    @property
    def rows(self) -> int:
        return len(self._rows)

    def add(self, job: Sequence[Item], rows: Sequence[Row]) -> None:
        self._items += [Item(item.name, item.stamp) for item in job]
        self._rows += rows

    def write(self) -> None:
        if self._rows:
            self._kept.write(self._items, self._rows)
        self._items, self._rows = [], []


def _jobs(items: Iterator[Item], size: int, sequence: bool) -> Iterator[list[Item]]:
    """Neighbours in the listing; of a video, frames of one folder alone."""
    if not sequence:
        while job := list(islice(items, size)):
            yield job
        return
    job = []
    for item in items:
        if job and (len(job) == size or item.folder != job[0].folder):
            yield job
            job = []
        job.append(item)
    if job:
        yield job


def _answered(job: list[Item], task: Task[Any], model: Model, follow: bool) -> list[Row]:
    if follow and task.inference.video_predictor:
        answer: Answer = task.inference.video_predictor(model)
        return [_row(item, task, answer) for item in job]
    if task.inference.batching and all(map(_small, job)):
        try:
            found = task.inference.predict_many([item.ask(task) for item in job], model)
            return [tables.row(item.name, each) for item, each in zip(job, found, strict=True)]
        except Exception:  # noqa: BLE001 - which one is at fault shows when each is asked alone
            _log.debug("files are answered one by one", exc_info=True)
    return [
        _row(item, task, lambda request: task.inference.predict(request, model)) for item in job
    ]


def _small(item: Item) -> bool:
    try:
        return item.path is None or item.path.stat().st_size <= SMALL
    except OSError:
        return False


def _row(item: Item, task: Task[Any], answer: Answer) -> Row:
    try:
        return tables.row(item.name, answer(item.ask(task)))
    except (BundleError, MemoryError, OSError):
        raise  # no file is to blame
    except MienError as error:
        return tables.row(item.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - one file must not end the work of hours, each time
        _log.warning("%s: the program failed", item.name, exc_info=True)
        return tables.row(item.name, error=f"the program failed: {type(error).__name__}: {error}")


def words(done: Done) -> str:
    """What is told at the end."""
    faults = f"; {done.failed} could not be read, see the column error" if done.failed else ""
    if not done.fresh:
        return f"{done.out} is complete already: {done.rows} rows{faults}. --force scores anew."
    new = done.rows - done.kept
    pace = f", {new / done.seconds:.0f} a second" if done.seconds and new else ""
    earlier = f", {done.kept} of them by an earlier run" if done.kept else ""
    return f"{done.out}: {done.rows} rows{earlier}{pace}{faults}"


__all__ = ["Done", "batch", "in_order", "words"]
