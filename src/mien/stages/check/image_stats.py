"""Statistics of images, computed on all cores; `similarity.py` compares images by them.

    compute_image_stats(paths) -> ImageStats    one decode per image

Knows neither labels nor tasks. Threads would not help: half of the time for a small image is
Python's own (`bench check`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

from mien.images import statistics
from mien.images.statistics import ImageStats, measure
from mien.model import cpus
from mien.model.worker_process import WorkerProcess
from mien.reporting import console

CHUNK_SIZE = 128
"""Images that a worker receives at once."""
TIMED_IMAGES = 2 * CHUNK_SIZE
"""Images that this process reads first to measure the cost of one; fewer start no worker."""
MIN_SAVING_S = 1.0
"""Seconds that workers must save. The start of one, with numpy and Pillow, takes half of it."""


def compute_image_stats(
    paths: Sequence[Path],
    min_side: int | None = None,
    label: str = "read images",
    workers: int | None = None,
) -> ImageStats:
    """Decode every image once and return its statistics, in the order of `paths`.

    The result does not depend on the number of processes. At most one image per process is in
    memory at a time.

    Args:
        paths: files; a missing or broken file becomes a row that is not readable.
        min_side: as in `images.read`; large images are read at reduced size with it.
        label: text beside the progress bar.
        workers: number of processes, this one included; None for one per core where that saves
            time.

    Raises:
        ProcessError: a worker process ended, for example because the system ran out of memory.
    """
    chunks = [paths[start : start + CHUNK_SIZE] for start in range(0, len(paths), CHUNK_SIZE)]
    parts: list[ImageStats] = []
    with console.bar(label) as advance:
        for part in _compute_chunks(chunks, min_side, workers):
            parts.append(part)
            advance(min(len(parts) * CHUNK_SIZE, len(paths)), len(paths))
    return statistics.concatenate(parts) if parts else measure((), min_side)


def _compute_chunks(
    chunks: Sequence[Sequence[Path]], min_side: int | None, workers: int | None
) -> Iterator[ImageStats]:
    """Compute the first chunks in this process, and the rest where that is faster."""
    watch = console.Stopwatch()
    inline = 0 if workers and workers > 1 else TIMED_IMAGES // CHUNK_SIZE
    for chunk in chunks[:inline]:
        yield measure(chunk, min_side)
    rest = chunks[inline:]
    count = min(workers or cpus.available_cpus(), len(rest))
    saved_s = watch.seconds / TIMED_IMAGES * sum(map(len, rest)) * (1 - 1 / max(count, 1))
    if count > 1 and (saved_s > MIN_SAVING_S or workers):
        yield from _compute_in_workers(rest, min_side, count)
    else:
        yield from (measure(chunk, min_side) for chunk in rest)


def _compute_in_workers(
    chunks: Sequence[Sequence[Path]], min_side: int | None, count: int
) -> Iterator[ImageStats]:
    """Compute chunks in this process and in `count` - 1 workers, which start meanwhile."""
    with ExitStack() as stack:
        idle: SimpleQueue[Callable[[Sequence[Path], int | None], ImageStats]] = SimpleQueue()
        idle.put(measure)
        for _ in range(count - 1):
            idle.put(stack.enter_context(closing(WorkerProcess(measure))))
        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="mien-images"))

        def compute(chunk: Sequence[Path]) -> ImageStats:
            worker = idle.get()
            try:
                return worker(chunk, min_side)
            finally:
                idle.put(worker)

        yield from pool.map(compute, chunks)
