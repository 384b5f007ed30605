"""Statistics of images: size, mean colour, brightness, sharpness, perceptual hash, thumbnail.

    compute_image_stats(paths) -> ImageStats    one decode per image, on all cores

Knows neither labels nor tasks; `similarity.py` compares images by these numbers. Threads would not
help: half of the time for a small image is Python's own (`bench check`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import images
from mien.errors import RequestError
from mien.model import cpus
from mien.model.worker_process import WorkerProcess
from mien.reporting import console

THUMBNAIL_SIDE = 16
"""Pixels of a thumbnail's side."""
CHUNK_SIZE = 128
"""Images that a worker receives at once."""
TIMED_IMAGES = 2 * CHUNK_SIZE
"""Images that this process reads first to measure the cost of one; fewer start no worker."""
MIN_SAVING_S = 1.0
"""Seconds that workers must save. The start of one takes about half of it: Python, numpy, Pillow
and this package."""
_SIDE = 2 * THUMBNAIL_SIDE
_LOW = 8
"""The hash holds 8 x 8 of the 32 x 32 frequencies, as in Zauner, Implementation and benchmarking of
perceptual image hash functions (2010), and in imagehash.phash."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class ImageStats:
    """Statistics of n images. An unreadable image is 0 everywhere; `errors` has the reason."""

    readable: NDArray[np.bool_]
    size: NDArray[np.int64]
    """(n, 2): width and height of the upright image in its file."""
    mean_rgb: NDArray[np.float64]
    """(n, 3): mean red, green and blue, 0..255."""
    phash: NDArray[np.uint64]
    """(n,): one bit for each of the 64 lowest frequencies of luma, set above their median."""
    thumbnail: NDArray[np.uint8]
    """(n, 16, 16): luma of the image, resized to a square."""
    brightness: NDArray[np.float64]
    """(n,): as `images.image_stats` has it, of the image as it was read; sharpness likewise."""
    sharpness: NDArray[np.float64]
    errors: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {each.name: len(getattr(self, each.name)) for each in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"image statistics: expected one row per image, found {lengths}")

    def __len__(self) -> int:
        return len(self.errors)


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
    return _concatenate(parts) if parts else _compute((), min_side)


def _compute_chunks(
    chunks: Sequence[Sequence[Path]], min_side: int | None, workers: int | None
) -> Iterator[ImageStats]:
    """Compute the first chunks in this process, and the rest where that is faster."""
    watch = console.Stopwatch()
    inline = 0 if workers and workers > 1 else TIMED_IMAGES // CHUNK_SIZE
    for chunk in chunks[:inline]:
        yield _compute(chunk, min_side)
    rest = chunks[inline:]
    count = min(workers or cpus.available_cpus(), len(rest))
    saved_s = watch.seconds / TIMED_IMAGES * sum(map(len, rest)) * (1 - 1 / max(count, 1))
    if count > 1 and (saved_s > MIN_SAVING_S or workers):
        yield from _compute_in_workers(rest, min_side, count)
    else:
        yield from (_compute(chunk, min_side) for chunk in rest)


def _compute_in_workers(
    chunks: Sequence[Sequence[Path]], min_side: int | None, count: int
) -> Iterator[ImageStats]:
    """Compute chunks in this process and in `count` - 1 workers, which start meanwhile."""
    with ExitStack() as stack:
        idle: SimpleQueue[Callable[[Sequence[Path], int | None], ImageStats]] = SimpleQueue()
        idle.put(_compute)
        for _ in range(count - 1):
            idle.put(stack.enter_context(closing(WorkerProcess(_compute))))
        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="mien-images"))

        def compute(chunk: Sequence[Path]) -> ImageStats:
            worker = idle.get()
            try:
                return worker(chunk, min_side)
            finally:
                idle.put(worker)

        yield from pool.map(compute, chunks)


def _compute(paths: Sequence[Path], min_side: int | None) -> ImageStats:
    count = len(paths)
    small = np.zeros((count, _SIDE, _SIDE, 3), dtype=np.uint8)
    size = np.zeros((count, 2), dtype=np.int64)
    quality = np.zeros((count, 2))
    errors = [""] * count
    for index, path in enumerate(paths):
        try:
            image = images.read(path.read_bytes(), min_side=min_side)
        except RequestError as error:
            errors[index] = str(error)
        except OSError as error:
            errors[index] = f"The file cannot be read ({error.strerror or error})."
        else:
            stats = images.image_stats(image.pixels)
            small[index] = _shrink(image.pixels)
            size[index], quality[index] = image.size, (stats["brightness"], stats["sharpness"])
    return _from_pixels(small, size, quality, errors)


def _shrink(pixels: images.Pixels) -> NDArray[np.uint8]:
    """The image as a square of 32 pixels, each the mean of the area that it covers."""
    return np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _from_pixels(
    small: NDArray[np.uint8],
    size: NDArray[np.int64],
    quality: NDArray[np.float64],
    errors: Sequence[str],
) -> ImageStats:
    """Statistics of small squares (n, 32, 32, 3), with brightness and sharpness (n, 2)."""
    rgb = small.astype(np.float32)
    luma = rgb @ _LUMA
    halved = luma[:, ::2] + luma[:, 1::2]
    thumbnail = (halved[:, :, ::2] + halved[:, :, 1::2]) / 4
    weights = np.full(_SIDE * _SIDE, 1 / _SIDE**2, dtype=np.float32)  # much faster than a mean
    return ImageStats(
        readable=np.array([not error for error in errors], dtype=bool),
        size=size,
        mean_rgb=(weights @ rgb.reshape(-1, _SIDE * _SIDE, 3)).astype(np.float64),
        phash=_phash(luma),
        thumbnail=np.rint(thumbnail).astype(np.uint8),
        brightness=quality[:, 0],
        sharpness=quality[:, 1],
        errors=tuple(errors),
    )


def _phash(luma: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Perceptual hashes of squares (n, 32, 32). One matrix product per image, so that rounding
    does not depend on the images beside it."""
    frequency, position = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    waves = np.cos(np.pi * (2 * position + 1) * frequency / (2 * _SIDE)).astype(np.float32)
    low = (waves @ luma @ waves.T).reshape(-1, _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _concatenate(parts: Sequence[ImageStats]) -> ImageStats:
    arrays = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(ImageStats)
        if each.name != "errors"
    }
    return ImageStats(**arrays, errors=tuple(error for part in parts for error in part.errors))
