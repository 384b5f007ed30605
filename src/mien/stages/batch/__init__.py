"""Scores a folder of images or a CSV on all cores: a few threads, one model, results in order.

`inputs.py` lists what to score, `checkpoint.py` makes it resumable, `tables.py` writes the result.
This package knows no task by name.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from time import monotonic
from typing import Any

from mien import tasks
from mien.errors import BundleError, MienError
from mien.model import golden
from mien.model.cpus import available_cpus
from mien.model.runtime import Model
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request, Task

from . import inputs, tables
from .checkpoint import BatchCheckpoint, BatchIdentity, open_checkpoint
from .inputs import BatchInput, BatchItem

BATCH_SIZE = 8
"""Files or rows of one job; the network runs once for all of them if the task supports it."""
MAX_BATCHED_FILE_BYTES = 200_000
"""Jobs with a larger file are predicted one by one: decoding takes most of their time, and all of
them decoded at once need much memory."""
VIDEO_CHUNK_FRAMES = 256
"""Frames of a video that are predicted in one job. Each job starts without the state of the one
before, so that results do not depend on where a run was interrupted."""
JOBS_PER_THREAD = 4
"""Jobs for each thread that are running, or finished and waiting for an earlier one."""
PART_ROWS, PART_INTERVAL_S = 2000, 5.0
"""A part is written when it has so many rows, or after this time."""

_log = logging.getLogger(__name__)
ResultRow = dict[str, Any]
PredictOne = Callable[[Request], Prediction]


@dataclass(frozen=True)
class BatchResult:
    """What a batch wrote."""

    out: Path
    rows: int
    failed: int
    already_complete: bool
    """True if the result of the same run existed before."""
    seconds: float
    resumed_rows: int
    """Rows that an earlier, interrupted run wrote."""

    @property
    def summary(self) -> str:
        """One line for the command line."""
        failed = f"; {self.failed} failed, see the column error" if self.failed else ""
        if self.already_complete:
            return (
                f"{self.out} is already complete: {self.rows} rows{failed}. --force scores again."
            )
        scored = self.rows - self.resumed_rows
        rate = f", {scored / self.seconds:.0f} per second" if scored and self.seconds else ""
        resumed = f", {self.resumed_rows} of them from an earlier run" if self.resumed_rows else ""
        return f"{self.out}: {self.rows} rows{resumed}{rate}{failed}"


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
) -> BatchResult:
    """Score every image of a folder, or every row of a CSV, into the table `out`.

    Args:
        name: the task; by default the first with a champion.
        bundle: a bundle folder instead of the champion.
        threads: 0 means one for each core that the process may use.
        sequence: the images of each folder, sorted by name, are frames of one video.
        force: replace an existing result.

    Raises:
        DataError: there is nothing to score, or the CSV has no usable columns.
        ConfigError: `out` has an unknown suffix, or is the result of something else.
        RegistryError, BundleError: there is no model, it is damaged, or answers differently here.
    """
    write_table = tables.writer_for(out)
    folder, version = (bundle, "") if bundle else _champion(name, workspace)
    with golden.load(folder) as model:
        task = tasks.load(model.bundle.manifest.task)
        digest, origin = model.bundle.digest, str(source.resolve())
        identity = BatchIdentity(task.name, version, digest, origin, sequence)
        with console.bar("list the files"):
            batch_input = inputs.list_items(source, task, out, sequence)
        _announce(batch_input, task, identity)
        with open_checkpoint(out, identity, force) as checkpoint:
            finished = checkpoint.finished(batch_input.fingerprint)
            if finished:
                return BatchResult(out, *finished, True, 0.0, resumed_rows=finished[0])
            cpus = threads or available_cpus()
            return _score(batch_input, checkpoint, task, model, cpus, write_table)


def _champion(name: str | None, workspace: Workspace) -> tuple[Path, str]:
    """The bundle folder and the version of the champion of a task, or of the first with one."""
    task_name, number = workspace.champion([tasks.load(name).name] if name else tasks.names())
    return workspace.version(task_name, number), str(number)


def _announce(batch_input: BatchInput, task: Task[Any], identity: BatchIdentity) -> None:
    if identity.sequence and not task.inference.tracking:
        console.info(f"mien-{task.name} predicts each frame of a video independently.")
    model = f"mien-{task.name} {identity.version}".strip()
    console.info(f"{batch_input.count} {batch_input.key_column}s to score with {model}")


def _score(
    batch_input: BatchInput,
    checkpoint: BatchCheckpoint,
    task: Task[Any],
    model: Model,
    threads: int,
    write_table: tables.TableWriter,
) -> BatchResult:
    stopwatch = console.Stopwatch()
    sequence = checkpoint.identity.sequence
    resumed = checkpoint.resume(batch_input.items(), batch_input.fingerprint)
    jobs = _jobs(resumed.remaining, VIDEO_CHUNK_FRAMES if sequence else BATCH_SIZE, sequence)
    rows, failed = resumed.rows, resumed.failed
    predict = partial(_predict_job, task=task, model=model, sequence=sequence)
    items: list[BatchItem] = []
    part: list[ResultRow] = []
    last_write = monotonic()
    with (
        console.bar(f"mien-{task.name}") as advance,
        closing(map_in_order(jobs, predict, threads)) as results,
    ):
        for job, job_rows in results:
            items += [BatchItem(item.name, item.stamp) for item in job]  # without the bodies
            part += job_rows
            rows += len(job_rows)
            failed += sum(row["error"] is not None for row in job_rows)
            advance(rows, batch_input.count, f"{failed} failed" if failed else "")
            if len(part) >= PART_ROWS or monotonic() - last_write > PART_INTERVAL_S:
                checkpoint.write(items, part)
                items, part, last_write = [], [], monotonic()
    if part:
        checkpoint.write(items, part)
    schema = tables.TableSchema(
        task.name, model.labels, batch_input.key_column, checkpoint.identity
    )
    checkpoint.finish(
        batch_input.fingerprint, rows, failed,
        lambda path: write_table(path, checkpoint.rows(), schema),
    )  # fmt: skip
    return BatchResult(checkpoint.out, rows, failed, False, stopwatch.seconds, resumed.rows)


def map_in_order(
    jobs: Iterator[list[BatchItem]],
    predict: Callable[[list[BatchItem]], list[ResultRow]],
    threads: int,
) -> Generator[tuple[list[BatchItem], list[ResultRow]], None, None]:
    """Run jobs in threads and yield them in their order; at most a few are in memory."""
    pending: deque[tuple[list[BatchItem], Future[list[ResultRow]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mien-batch")
    try:
        for job in jobs:
            pending.append((job, pool.submit(predict, job)))
            while len(pending) >= threads * JOBS_PER_THREAD or (pending and pending[0][1].done()):
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _jobs(items: Iterator[BatchItem], size: int, sequence: bool) -> Iterator[list[BatchItem]]:
    """Groups of consecutive items; for a video, the frames of one folder only."""
    videos = groupby(items, key=lambda item: item.folder) if sequence else [("", items)]
    for _, group in videos:
        while job := list(islice(group, size)):
            yield job


def _predict_job(
    job: list[BatchItem], task: Task[Any], model: Model, sequence: bool
) -> list[ResultRow]:
    if sequence and task.inference.tracking:
        predict_frame = frame_predictor(task, model)
        return [_predict_item(item, task, predict_frame) for item in job]
    if task.inference.batching and all(map(_is_small, job)):
        try:
            predictions = task.inference.predict_many(
                [item.to_request(task) for item in job], model
            )
            return [
                tables.result_row(item.name, prediction)
                for item, prediction in zip(job, predictions, strict=True)
            ]
        except Exception:  # noqa: BLE001 - predicting one by one shows which item is at fault
            _log.debug("the files are predicted one by one", exc_info=True)
    return [
        _predict_item(item, task, lambda request: task.inference.predict(request, model))
        for item in job
    ]


def frame_predictor(task: Task[Any], model: Model) -> PredictOne:
    """Make a function that answers the frames of one video, in their order."""
    video = b""

    def predict(request: Request) -> Prediction:
        nonlocal video
        prediction = task.inference.predict(replace(request, video=video), model)
        video = prediction.video
        return prediction

    return predict


def _is_small(item: BatchItem) -> bool:
    try:
        return item.path is None or item.path.stat().st_size <= MAX_BATCHED_FILE_BYTES
    except OSError:
        return False


def _predict_item(item: BatchItem, task: Task[Any], predict: PredictOne) -> ResultRow:
    try:
        return tables.result_row(item.name, predict(item.to_request(task)))
    except (BundleError, MemoryError, OSError):
        raise  # not the fault of this file
    except MienError as error:
        return tables.result_row(item.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - one file must not end the work of hours
        _log.warning("%s: the program failed", item.name, exc_info=True)
        return tables.result_row(
            item.name, error=f"the program failed: {type(error).__name__}: {error}"
        )


__all__ = ["BatchResult", "batch", "frame_predictor", "map_in_order"]
