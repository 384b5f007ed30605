"""Promises of `mien.runtime`: whose time a prediction took, and what threads keep and share."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien import bundle, runtime
from mien.errors import BundleError
from mien.runtime import Model


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
    bundle.write(tmp_path, bundle.describe("t", ("a", "b"), "c", {}, metrics={}, lineage={}))
    with runtime.load(tmp_path) as opened:
        yield opened


def test_times_are_those_of_the_networks_alone(clock: list[float]) -> None:
    """When the first was asked, and how long all of them took together."""
    with runtime.timed() as times:
        clock[0] += 1
        for seconds in (2, 3):
            with runtime.inferring():
                clock[0] += seconds
            clock[0] += 10
    assert (times.first, times.inferring) == (101, 5)


def test_without_a_network_there_is_no_first() -> None:
    """A prediction may be made without any."""
    with runtime.timed() as times:
        pass
    assert (times.first, times.inferring) == (None, 0)


def test_a_network_that_fails_is_timed_and_the_next_request_begins_anew(
    clock: list[float],
) -> None:
    """Nothing is carried from one request of a thread to its next."""

    def fail() -> None:
        clock[0] += 4
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), runtime.timed() as broken, runtime.inferring():
        fail()
    with runtime.inferring():
        clock[0] += 50
    with runtime.timed() as times:
        pass
    assert (broken.inferring, times.inferring, times.first) == (4, 0, None)


def test_threads_do_not_measure_each_other() -> None:
    """Two requests at once: what one asks is not the other's time."""
    both, found = threading.Barrier(2, timeout=30), {}

    def work(name: str, asks: bool) -> None:
        with runtime.timed() as times:
            both.wait()
            if asks:
                with runtime.inferring():
                    both.wait()
            else:
                both.wait()
        found[name] = times

    threads = [threading.Thread(target=work, args=each) for each in (("a", True), ("b", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["a"].inferring > 0
    assert (found["b"].first, found["b"].inferring) == (None, 0)


def test_what_is_shared_is_made_once(model: Model) -> None:
    """And each thread has its own of what it keeps, closed with the model."""

    class Kept:
        closed = False

        def close(self) -> None:
            self.closed = True

    shared = [model.once("shared", object) for _ in range(3)]
    assert len(set(map(id, shared))) == 1
    assert model.once("other", object) is not shared[0]
    own = [model.per_thread("kept", Kept) for _ in range(2)]
    thread = threading.Thread(target=lambda: own.append(model.per_thread("kept", Kept)))
    thread.start()
    thread.join()
    assert own[0] is own[1] is not own[2]
    model.close()
    assert [each.closed for each in own] == [True, True, True]


def test_a_network_that_is_not_there_is_told(model: Model) -> None:
    """With what to do."""
    with pytest.raises(BundleError, match="train the bundle again"):
        model.run({})
    assert model.path("nothing.md") is None
    assert model.path("note.md") is not None
