"""Opens a bundle with ONNX Runtime; in mien the only importer of onnxruntime.

A `Model` may be used by many threads at once. It knows no task: what goes in and what comes
out is for the task's `predict` to say.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError, ScoreError
from mien.model import bundle, cpus
from mien.model.bundle import Bundle

if TYPE_CHECKING:
    import onnxruntime


T = TypeVar("T")
ItemT = TypeVar("ItemT")
KEPT_BYTES = 48 * 2**20
"""What reading a photo of 12 megapixels for a gesture needs at once, and half as much again."""
_ITEMS_AHEAD = 16
"""Items for each thread that `map_threads` starts at once."""
_LARGEST = 32 * 2**20
"""The largest block that glibc can be set to take from what it keeps."""
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM = -8, -3, -1
"""M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h."""
_now = threading.local()


class InferenceTimings:
    """When the networks of a bundle were asked while a prediction was made; seconds."""

    def __init__(self) -> None:
        self.started_at: float | None = None
        """`time.perf_counter()` when the first network was asked."""
        self.inference_s = 0.0


@contextmanager
def collect_timings() -> Iterator[InferenceTimings]:
    """Collect in the block what `inference_timer` measures in this thread."""
    _now.times = times = InferenceTimings()
    try:
        yield times
    finally:
        _now.times = None


@contextmanager
def inference_timer() -> Iterator[None]:
    """Measure the block as time of a network; for those that do not run through `Model.run`."""
    times: InferenceTimings | None = getattr(_now, "times", None)
    start = perf_counter()
    try:
        yield
    finally:
        if times is not None:
            times.started_at = start if times.started_at is None else times.started_at
            times.inference_s += perf_counter() - start


class Session:
    """One ONNX model, opened. One intra-op thread: callers bring their own threads.

    Raises:
        BundleError: the file or content is no ONNX model that ONNX Runtime can load.
    """

    def __init__(self, model: Path | bytes) -> None:
        self._session = _open(model)
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in the order of `self.outputs`."""
        result: list[NDArray[Any]] = self._session.run(None, dict(feeds))
        return result


def shared_session(model: Path | bytes, digest: str = "") -> Session:
    """The session of an ONNX model; one for all that have these bytes open, as candidates of a run
    share the networks that they do not train.

    Args:
        model: as for `Session`.
        digest: SHA-256 of the bytes, where it is known.
    """
    key = digest or sha256(model if isinstance(model, bytes) else model.read_bytes()).hexdigest()
    session = _sessions.get(key)
    if session is None:
        _sessions[key] = session = Session(model)
    return session


_sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()


class Model:
    """An open bundle: its preprocessing, its sessions, and what its task keeps with it."""

    def __init__(self, opened: Bundle) -> None:
        self.bundle = opened
        self.preprocessing: Mapping[str, Any] = opened.manifest.preprocessing
        self.decision = opened.manifest.decision
        """None: scores are as the networks give them."""
        self._sessions = {
            name: shared_session(opened.folder / name, entry.sha256)
            for name, entry in opened.manifest.files.items()
            if name.endswith(".onnx")
        }
        self._shared: dict[str, Any] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.manifest.labels

    def run(
        self, feeds: Mapping[str, NDArray[Any]], name: str = "model.onnx"
    ) -> list[NDArray[Any]]:
        """Run one ONNX file of the bundle.

        Raises:
            BundleError: the bundle has no file of that name.
            ScoreError: what it computes is not finite.
        """
        if name not in self._sessions:
            raise BundleError(f"{self.bundle.folder} holds no {name}; train the bundle again.")
        with inference_timer():
            outputs = self._sessions[name].run(feeds)
        if any(each.dtype.kind == "f" and np.isnan(each).any() for each in outputs):
            raise ScoreError(f"{name} of {self.bundle.folder} answers with NaN; train it again.")
        return outputs

    def path(self, name: str) -> Path | None:
        """Where a file of the bundle lies, or None if the bundle has no such file."""
        return self.bundle.folder / name if name in self.bundle.manifest.files else None

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """What all threads share under that name: made on first use."""
        if name not in self._shared:
            self._shared[name] = make()
        value: T = self._shared[name]
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks. The model is not to be used afterwards."""
        self._sessions, self._shared = {}, {}


NetworkAnswers = dict[tuple[str, str], list[NDArray[Any]]]
"""Outputs of networks by the SHA-256 of the network and of its input."""


class RecordingModel(Model):
    """A model that keeps in `recorded` what its networks are given and answer; for one thread."""

    def __init__(self, opened: Bundle, answers: NetworkAnswers | None = None) -> None:
        """Open a bundle; a network does not run where `answers` has its outputs."""
        super().__init__(opened)
        self.recorded: list[tuple[str, Mapping[str, NDArray[Any]], list[NDArray[Any]]]] = []
        self._answers = answers

    def run(
        self, feeds: Mapping[str, NDArray[Any]], name: str = "model.onnx"
    ) -> list[NDArray[Any]]:
        entry = self.bundle.manifest.files.get(name)
        if self._answers is None or entry is None:
            outputs = super().run(feeds, name)
        else:
            key = (entry.sha256, array_digest(feeds))
            outputs = self._answers.get(key) or super().run(feeds, name)
            self._answers[key] = outputs
        self.recorded.append((name, dict(feeds), outputs))
        return outputs


def array_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays."""
    digest = sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update((array.astype(str) if array.dtype == object else array).tobytes())
    return digest.hexdigest()


def tune_malloc(keep_bytes: int = KEPT_BYTES) -> None:
    """Let the process reuse freed memory; to be called before threads are started.

    glibc returns each large block to the system and requests it again for the next picture or
    training step, page by page, which is slow. Up to `keep_bytes` are reused instead. Other C
    libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGEST), (_TRIM, keep_bytes)):
        mallopt(option, value)


def map_threads(
    items: Sequence[ItemT], make_worker: Callable[[], Callable[[ItemT], T]]
) -> Iterator[T]:
    """Apply a worker to every item on several threads; the results come in order of the items.

    There are as many workers as available processors, and no worker is called by two threads at a
    time: each may hold a network of its own. An interrupt waits for few further items.
    """
    threads = min(cpus.available_cpus(), len(items))
    if not threads:
        return
    idle: SimpleQueue[Callable[[ItemT], T]] = SimpleQueue()
    for _ in range(threads):
        idle.put(make_worker())

    def work(item: ItemT) -> T:
        worker = idle.get()
        try:
            return worker(item)
        finally:
            idle.put(worker)

    step = threads * _ITEMS_AHEAD
    with ThreadPoolExecutor(threads, thread_name_prefix="mien-map") as pool:
        for start in range(0, len(items), step):
            yield from pool.map(work, items[start : start + step])


def version() -> str:
    """Version of ONNX Runtime."""
    return metadata.version("onnxruntime")


def load(folder: Path) -> Model:
    """Verify the bundle in `folder` and open it.

    Raises:
        BundleError: the bundle is damaged, or ONNX Runtime cannot load it.
    """
    return Model(bundle.read(folder))


def _open(model: Path | bytes) -> "onnxruntime.InferenceSession":
    # Read by the library at import: its Linux wheels report usage unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a family without a common public base
        reason = str(error).splitlines()[0][:200]
        name = "a converted network" if isinstance(model, bytes) else model
        raise BundleError(f"{name} cannot be opened by ONNX Runtime: {reason}") from error
