"""Promises of `model.runtime`: whose time a prediction took, and what threads share."""

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from waiting import PATIENCE

from mien.errors import BundleError, ScoreError
from mien.model import bundle, cpus, runtime
from mien.model.runtime import Model


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(runtime, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    """A bundle without any network."""
    (tmp_path / "note.md").write_text("a file")
    bundle.write(tmp_path, bundle.describe("t", ("a", "b"), "c", {}))
    with runtime.load(tmp_path) as opened:
        yield opened


def _faults(script: str) -> int:
    """How many pages a process fetches for ten blocks of 28 MB, one after the other."""
    script = f"""
import ctypes
from resource import RUSAGE_SELF, getrusage
from mien.model import runtime
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page would count as one
{script}
def photo(): bytearray(b"x") * 28_000_000
photo()
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(10): photo()
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_memory_of_a_large_photo_is_kept_for_the_next() -> None:
    """Else each one would fetch thousands of pages again."""
    assert _faults("") > 10 * _faults("runtime.tune_malloc()") + 1000


def test_times_are_those_of_the_networks_alone(clock: list[float]) -> None:
    """When the first was asked, and how long all of them took together."""
    with runtime.collect_timings() as times:
        clock[0] += 1
        for seconds in (2, 3):
            with runtime.inference_timer():
                clock[0] += seconds
            clock[0] += 10
    assert (times.started_at, times.inference_s) == (101, 5)


def test_without_a_network_there_is_no_first() -> None:
    """A prediction may be made without any."""
    with runtime.collect_timings() as times:
        pass
    assert (times.started_at, times.inference_s) == (None, 0)


def test_a_network_that_fails_is_timed_and_the_next_request_begins_anew(
    clock: list[float],
) -> None:
    """Nothing is carried from one request of a thread to its next."""

    def fail() -> None:
        clock[0] += 4
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        runtime.collect_timings() as broken,
        runtime.inference_timer(),
    ):
        fail()
    with runtime.inference_timer():
        clock[0] += 50
    with runtime.collect_timings() as times:
        pass
    assert (broken.inference_s, times.inference_s, times.started_at) == (4, 0, None)


def test_threads_do_not_measure_each_other() -> None:
    """Two requests at once: what one asks is not the other's time."""
    both, found = threading.Barrier(2, timeout=PATIENCE), {}

    def work(name: str, asks: bool) -> None:
        with runtime.collect_timings() as times:
            both.wait()
            if asks:
                with runtime.inference_timer():
                    both.wait()
            else:
                both.wait()
        found[name] = times

    threads = [threading.Thread(target=work, args=each) for each in (("a", True), ("b", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["a"].inference_s > 0
    assert (found["b"].started_at, found["b"].inference_s) == (None, 0)


def test_what_is_shared_is_made_once(model: Model) -> None:
    """Under each name."""
    shared = [model.cached("shared", object) for _ in range(3)]
    assert len(set(map(id, shared))) == 1
    assert model.cached("other", object) is not shared[0]


def test_a_network_that_is_not_there_is_told(model: Model) -> None:
    """With what to do."""
    with pytest.raises(BundleError, match="train the bundle again"):
        model.run({})
    assert model.path("nothing.md") is None
    assert model.path("note.md") is not None


_STARTED = """
import os, sys
from pathlib import Path
import numpy, onnxruntime
from mien.model import runtime

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

model = runtime.load(Path(sys.argv[1]))
pixels = numpy.zeros((1, 3, 64, 64), numpy.float32)
before = threads()
own = runtime.Session(Path(sys.argv[1], "model.onnx"))
own.run({"images": pixels})
between = threads()
plain = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
plain.run(None, {"images": pixels})
print(between - before, threads() - between)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_session_starts_no_threads_beside_those_of_its_callers(drawn_detector: Path) -> None:
    """ONNX Runtime 1.32 by itself starts one for each core of the machine, whatever affinity or
    quota allow."""
    command = [sys.executable, "-c", _STARTED, str(drawn_detector)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    own, by_itself = map(int, done.stdout.split())
    assert own == 0
    assert by_itself == (os.cpu_count() or 1) - 1


def test_an_answer_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """Such a model answers nothing, neither in evaluation nor in service."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([helper.make_node("Log", ["x"], ["y"])], "log", [x], [y])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(network.SerializeToString())
    bundle.write(tmp_path, bundle.describe("t", ("a",), "c", {}))
    with runtime.load(tmp_path) as model:
        assert model.run({"x": np.ones((1, 2), np.float32)})[0].tolist() == [[0, 0]]
        with pytest.raises(ScoreError, match="NaN"):
            model.run({"x": -np.ones((1, 2), np.float32)})


def test_every_thread_maps_with_a_worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads work at once, no worker is called by both, and the results keep their order."""
    monkeypatch.setattr(cpus, "available_cpus", lambda: 2)
    both = threading.Barrier(2)

    def make_worker() -> Callable[[int], int]:
        alone = threading.Lock()

        def work(item: int) -> int:
            assert alone.acquire(blocking=False), "a worker is for one thread at a time"
            both.wait(timeout=PATIENCE)
            alone.release()
            return item * item

        return work

    items = list(range(100))
    assert list(runtime.map_threads(items, make_worker)) == [item * item for item in items]


def test_nothing_to_map_makes_no_worker() -> None:
    """A worker may cost a network."""

    def make_worker() -> Callable[[int], int]:
        raise AssertionError("made a worker")

    assert list(runtime.map_threads([], make_worker)) == []
    with pytest.raises(AssertionError, match="made a worker"):
        list(runtime.map_threads([1], make_worker))
