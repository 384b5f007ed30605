"""What pictures look like at a glance: one decode each, on all cores, kept in a few numbers.

    look(paths) -> Looks    size, colour, brightness, sharpness, a perceptual hash and a thumbnail

Knows no label and no task; what looks alike is for `copies.py` to say. Many pictures are looked at
by processes of this file's own, which import it and nothing of the program that started them: a
notebook, a script without a main guard or a parent with threads may call `look` like any other
function. Threads would not do: half of a small picture's time is Python's (`bench check`).
"""

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import images
from mien.errors import DataError, RequestError
from mien.model import runtime
from mien.reporting import console

THUMB = 16
"""Pixels of a thumbnail's side."""
PIECE = 128
"""Pictures that are handed over at once."""
FIRST = 2 * PIECE
"""Pictures after which it is known what one costs; fewer never leave this process."""
WORTH_S = 1.0
"""Seconds that further processes must save. Starting one takes about half of it: Python, numpy,
Pillow and this package."""
_SIDE = 2 * THUMB
_LOW = 8
"""The hash tells 8 x 8 of the 32 x 32 frequencies, as in Zauner, Implementation and benchmarking of
perceptual image hash functions (2010), and in imagehash.phash."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    f"from {__name__} import answer; answer()"
)


@dataclass(frozen=True)
class Looks:
    """What n pictures look like. What cannot be read is 0 everywhere, and `why` has the reason."""

    readable: NDArray[np.bool_]
    size: NDArray[np.int64]
    """(n, 2): width and height of the upright picture as it lies in the file."""
    colour: NDArray[np.float64]
    """(n, 3): mean red, green and blue, 0..255."""
    hash: NDArray[np.uint64]
    """(n,): which of the 64 lowest frequencies of luma exceed their median."""
    thumb: NDArray[np.uint8]
    """(n, 16, 16): luma of the picture, squeezed to a square."""
    brightness: NDArray[np.float64]
    """(n,): as `images.image_stats` has it, of the picture as it was read; sharpness likewise."""
    sharpness: NDArray[np.float64]
    why: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {each.name: len(getattr(self, each.name)) for each in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"a look has as many of each thing as pictures, not {lengths}")

    def __len__(self) -> int:
        return len(self.why)


def look(
    paths: Sequence[Path],
    min_side: int | None = None,
    words: str = "look at pictures",
    workers: int | None = None,
) -> Looks:
    """Decode every picture once and tell what it looks like, in the order of `paths`.

    What a picture looks like does not hang on how many processes looked. At most as many pictures
    as there are processes are in memory at a time.

    Args:
        paths: files; what is missing or broken is a row that is not readable.
        enough: as in `images.read`; large pictures are read at reduced size with it.
        words: what stands beside the progress bar.
        workers: processes that look, this one among them; None for one for each core, where that
            saves time.

    Raises:
        DataError: a process ended by itself, as one does that the system takes the memory from.
    """
    pieces = [paths[start : start + PIECE] for start in range(0, len(paths), PIECE)]
    found: list[Looks] = []
    with console.bar(words) as advance:
        for each in _looked(pieces, min_side, workers):
            found.append(each)
            advance(min(len(found) * PIECE, len(paths)), len(paths))
    return _joined(found) if found else _looked_here((), min_side)


def answer() -> None:
    """Look at what standard input asks for until it ends; what a process of `look` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may write between the answers
    with suppress(EOFError):
        while True:
            paths, min_side = pickle.load(sys.stdin.buffer)
            pickle.dump(_looked_here(paths, min_side), out, protocol=pickle.HIGHEST_PROTOCOL)
            out.flush()


class _Helper:
    """A process that looks at pictures when asked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send(sys.path)

    def look(self, paths: Sequence[Path], min_side: int | None) -> Looks:
        assert self._process.stdout is not None
        self._send((paths, min_side))
        with suppress(EOFError, pickle.UnpicklingError):
            seen: Looks = pickle.load(self._process.stdout)
            return seen
        raise self._ended()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        with suppress(OSError):  # what it was told last and did not read
            self._process.communicate()

    def _send(self, what: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def _ended(self) -> DataError:
        return DataError(
            f"A process that was looking at pictures ended (exit code {self._process.wait()}). "
            "Below 0 it was killed, perhaps for want of memory: make the largest pictures smaller, "
            "or let it run on fewer cores (taskset -c 0)."
        )


def _looked(
    pieces: Sequence[Sequence[Path]], min_side: int | None, workers: int | None
) -> Iterator[Looks]:
    """Look at every piece: the first ones here, and the rest wherever that is done sooner."""
    watch = console.Stopwatch()
    here = 0 if workers and workers > 1 else FIRST // PIECE
    for piece in pieces[:here]:
        yield _looked_here(piece, min_side)
    rest = pieces[here:]
    count = min(workers or runtime.available_cpus(), len(rest))
    saved = watch.seconds / FIRST * sum(map(len, rest)) * (1 - 1 / max(count, 1))
    if count > 1 and (saved > WORTH_S or workers):
        yield from _looked_elsewhere(rest, min_side, count)
    else:
        yield from (_looked_here(piece, min_side) for piece in rest)


def _looked_elsewhere(
    pieces: Sequence[Sequence[Path]], min_side: int | None, count: int
) -> Iterator[Looks]:
    """Look at pieces in this process and in `count` - 1 others, which are started meanwhile."""
    with ExitStack() as stack:
        free: SimpleQueue[Callable[[Sequence[Path], int | None], Looks]] = SimpleQueue()
        free.put(_looked_here)
        for _ in range(count - 1):
            free.put(stack.enter_context(closing(_Helper())).look)
        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="mien-look"))

        def ask(piece: Sequence[Path]) -> Looks:
            way = free.get()
            try:
                return way(piece, min_side)
            finally:
                free.put(way)

        yield from pool.map(ask, pieces)


def _looked_here(paths: Sequence[Path], min_side: int | None) -> Looks:
    count = len(paths)
    small = np.zeros((count, _SIDE, _SIDE, 3), dtype=np.uint8)
    size = np.zeros((count, 2), dtype=np.int64)
    measured = np.zeros((count, 2))
    why = [""] * count
    for place, path in enumerate(paths):
        try:
            picture = images.read(path.read_bytes(), min_side=min_side)
        except RequestError as error:
            why[place] = str(error)
        except OSError as error:
            why[place] = f"The file cannot be read ({error.strerror or error})."
        else:
            found = images.image_stats(picture.pixels)
            small[place] = _squeezed(picture.pixels)
            size[place], measured[place] = picture.size, (found["brightness"], found["sharpness"])
    return _of(small, size, measured, why)


def _squeezed(pixels: images.Pixels) -> NDArray[np.uint8]:
    """The picture as a square of 32 pixels, each the mean of what it stands for."""
    return np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _of(
    small: NDArray[np.uint8],
    size: NDArray[np.int64],
    measured: NDArray[np.float64],
    why: Sequence[str],
) -> Looks:
    rgb = small.astype(np.float32)
    luma = rgb @ _LUMA
    halved = luma[:, ::2] + luma[:, 1::2]
    thumb = (halved[:, :, ::2] + halved[:, :, 1::2]) / 4
    every = np.full(_SIDE * _SIDE, 1 / _SIDE**2, dtype=np.float32)  # much faster than a mean
    return Looks(
        readable=np.array([not reason for reason in why], dtype=bool),
        size=size,
        colour=(every @ rgb.reshape(-1, _SIDE * _SIDE, 3)).astype(np.float64),
        hash=_hashes(luma),
        thumb=np.rint(thumb).astype(np.uint8),
        brightness=measured[:, 0],
        sharpness=measured[:, 1],
        why=tuple(why),
    )


def _hashes(luma: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Perceptual hashes of squares (n, 32, 32). One matrix product for each picture, so that its
    rounding does not hang on the pictures beside it."""
    frequency, place = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    waves = np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)).astype(np.float32)
    low = (waves @ luma @ waves.T).reshape(-1, _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _joined(parts: Sequence[Looks]) -> Looks:
    arrays = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(Looks)
        if each.name != "why"
    }
    return Looks(**arrays, why=tuple(reason for part in parts for reason in part.why))
