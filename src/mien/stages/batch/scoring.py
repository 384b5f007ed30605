"""Predicts items in threads: jobs of a few files, one model, results in order.

Knows neither where the items are listed nor where the rows are stored.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from typing import Any

from mien.errors import BucketError, BundleError, ConfigError, MienError
from mien.model.runtime import Model
from mien.storage.buckets import BucketPath
from mien.task import Prediction, Request, Task

from . import tables
from .inputs import BatchItem
from .result import BatchIdentity

BATCH_SIZE = 8
"""Files or rows of one job; the network runs once for all of them if the task supports it."""
MAX_BATCHED_FILE_BYTES = 200_000
"""Jobs with a larger file are predicted one by one: decoding takes most of their time, and all of
them decoded at once need much memory."""
NETWORK_THREADS = 8
"""Threads for each one of a processor where items come from a bucket: most of them wait for it."""
VIDEO_CHUNK_FRAMES = 256
"""Frames of a video that are predicted in one job. Each job starts without the state of the one
before, so that results do not depend on where a run was interrupted."""
JOBS_PER_THREAD = 4
"""Jobs for each thread that are running, or finished and waiting for an earlier one."""

_log = logging.getLogger(__name__)
ResultRow = dict[str, Any]
PredictOne = Callable[[Request], Prediction]
Job = list[BatchItem]
ScoredJob = tuple[Job, list[ResultRow]]


@dataclass(frozen=True)
class Scorer:
    """An open model, how many threads use it, and how their rows become a table."""

    task: Task[Any]
    model: Model
    threads: int
    write_table: tables.TableWriter

    def score(self, jobs: Iterator[Job], sequence: bool) -> Generator[ScoredJob, None, None]:
        """Predict jobs in threads; each job with its rows, in order."""
        predict = partial(_predict_job, task=self.task, model=self.model, sequence=sequence)
        first = next(jobs, [])
        over_network = any(isinstance(item.path, BucketPath) for item in first)
        threads = self.threads * (NETWORK_THREADS if over_network else 1)
        return map_in_order(chain([first] if first else [], jobs), predict, threads)

    def schema(self, key_column: str, identity: BatchIdentity) -> tables.TableSchema:
        """The columns of its tables."""
        return tables.TableSchema(self.task.name, self.model.labels, key_column, identity)


def split(items: Iterator[BatchItem], sequence: bool) -> Iterator[Job]:
    """Groups of consecutive items; for a video, the frames of one folder only."""
    videos = groupby(items, key=lambda item: item.folder) if sequence else [("", items)]
    size = VIDEO_CHUNK_FRAMES if sequence else BATCH_SIZE
    for _, group in videos:
        while job := list(islice(group, size)):
            yield job


def map_in_order(
    jobs: Iterator[Job],
    predict: Callable[[Job], list[ResultRow]],
    threads: int,
) -> Generator[ScoredJob, None, None]:
    """Run jobs in threads and yield them in their order; at most a few are in memory."""
    pending: deque[tuple[Job, Future[list[ResultRow]]]] = deque()
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


def _predict_job(job: Job, task: Task[Any], model: Model, sequence: bool) -> list[ResultRow]:
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
        return item.size_bytes <= MAX_BATCHED_FILE_BYTES
    except (OSError, ValueError):
        return False


def _predict_item(item: BatchItem, task: Task[Any], predict: PredictOne) -> ResultRow:
    try:
        return tables.result_row(item.name, predict(item.to_request(task)))
    except (BucketError, BundleError, ConfigError, MemoryError, OSError):
        raise  # not the fault of this file
    except MienError as error:
        return tables.result_row(item.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - one file must not end the work of hours
        _log.warning("%s: the program failed", item.name, exc_info=True)
        return tables.result_row(
            item.name, error=f"the program failed: {type(error).__name__}: {error}"
        )
