"""Threads that answer: what hangs, what nobody waits for any more, and what is left of them."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien.errors import DeadlineError, OverloadedError
from mien.stages.serve.workers import MAX_HUNG_THREADS, BatchHandler, WorkerPool

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]


def here() -> bool:
    return False


def away() -> bool:
    return True


def desk(work: Callable[[], Any]) -> BatchHandler[None, Any]:
    """Where one question is answered at a time, by what `work` returns."""
    return BatchHandler(lambda _: [work()])


def asked(workers: WorkerPool, work: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The answer; an error comes once the thread at fault is known."""
    begun = threading.Event()

    def begin() -> Any:
        begun.set()
        return work()

    async def ask() -> Any:
        before = len(workers.hung_threads)
        while True:
            try:
                return await workers.run(desk(begin), None, seconds, here)
            except DeadlineError:
                if not begun.is_set():
                    continue  # the machine was too busy to begin it in time
                async with asyncio.timeout(PATIENCE):
                    while len(workers.hung_threads) == before:
                        await asyncio.sleep(0)
                raise

    return asyncio.run(ask())


@pytest.fixture
def release() -> Any:
    """An event for work that hangs; it is set at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_work_is_done_in_a_thread_of_the_pool() -> None:
    """Its result comes back, or what it raises."""
    workers = WorkerPool(1, 1)
    assert asked(workers, lambda: threading.current_thread().name) == "mien-worker"
    with pytest.raises(ZeroDivisionError):
        asked(workers, lambda: 1 / 0)
    assert asked(workers, lambda: 2) == 2
    workers.close()


def test_a_thread_that_hangs_is_replaced(release: threading.Event) -> None:
    """Its request is refused; the next one is answered, by a pool of one thread."""
    workers = WorkerPool(1, 1)
    with pytest.raises(DeadlineError):
        asked(workers, release.wait, 0.01)
    assert len(workers.hung_threads) == 1
    assert asked(workers, lambda: 2) == 2
    release.set()
    workers.close()


def test_what_hangs_is_noticed_though_its_client_left(release: threading.Event) -> None:
    """The ordinary client has less patience than the server; its question hangs all the same."""

    begun = threading.Event()

    def hang() -> None:
        begun.set()
        release.wait()

    def left() -> bool:
        return begun.is_set()

    async def ask(workers: WorkerPool) -> int | None:
        assert await workers.run(desk(hang), None, 2, left) is None
        return await workers.run(desk(lambda: 2), None, PATIENCE, here)

    workers = WorkerPool(1, 2)
    assert asyncio.run(ask(workers)) == 2
    assert len(workers.hung_threads) == 1
    workers.close()


def test_a_busy_thread_is_not_taken_for_one_that_hangs(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that waited long is begun just before its end: it is refused, nothing is lost."""
    now = [0.0]
    monkeypatch.setattr("mien.stages.serve.workers.monotonic", lambda: now[0])

    async def both(workers: WorkerPool) -> None:
        first = asyncio.ensure_future(workers.run(desk(release.wait), None, 30, here))
        await asyncio.sleep(0)
        begun, end = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            end.wait()

        second = asyncio.ensure_future(workers.run(desk(work), None, 10, here))
        await asyncio.sleep(0)
        now[0] += 9.9  # most of its time goes by in the queue
        release.set()
        await first
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        now[0] += 0.2
        with pytest.raises(DeadlineError):
            await second
        assert not workers.hung_threads
        end.set()

    workers = WorkerPool(1, 2)
    asyncio.run(both(workers))
    workers.close()


def test_nothing_of_a_question_stays_with_its_thread() -> None:
    """Neither what was asked nor what came of it: a picture is not kept."""

    class Picture:
        pass

    async def ask(workers: WorkerPool) -> "weakref.ref[Picture]":
        asked = Picture()
        await workers.run(BatchHandler(lambda pictures: [len(pictures)]), asked, 30, here)
        return weakref.ref(asked)

    workers = WorkerPool(1, 1)
    gone = asyncio.run(ask(workers))
    until(lambda: gone() is None, "it is kept")
    workers.close()


def test_what_hangs_ends_when_its_work_does(release: threading.Event) -> None:
    """No thread is left over, and the late result goes nowhere."""
    workers, before = WorkerPool(1, 1), threading.active_count()
    hung: list[threading.Thread] = []

    def hang() -> None:
        hung.append(threading.current_thread())
        release.wait()

    with pytest.raises(DeadlineError):
        asked(workers, hang, 0.01)
    release.set()
    hung[0].join(PATIENCE)
    assert (len(workers.hung_threads), threading.active_count()) == (0, before)
    workers.close()


def test_what_hangs_for_ever_does_not_keep_the_server(release: threading.Event) -> None:
    """Closing waits for the threads that answer, not for those that were given up."""
    workers = WorkerPool(2, 1)
    with pytest.raises(DeadlineError):
        asked(workers, release.wait, 0.01)
    workers.close()
    assert not release.is_set()


def test_a_server_whose_threads_all_hang_says_so(release: threading.Event) -> None:
    """After as many as are replaced; and no longer when they end."""
    workers = WorkerPool(1, 1)
    for _ in range(MAX_HUNG_THREADS + 1):
        assert not workers.needs_restart
        with pytest.raises(DeadlineError):
            asked(workers, release.wait, 0.01)
    assert workers.needs_restart
    release.set()
    assert asked(workers, lambda: 2) == 2
    workers.close()


def test_a_question_that_waits_too_long_is_never_begun(release: threading.Event) -> None:
    """The thread is busy with another one all the time."""
    begun: list[int] = []

    async def both(workers: WorkerPool) -> None:
        first = asyncio.ensure_future(workers.run(desk(release.wait), None, 30, here))
        await asyncio.sleep(0)  # the first one is in the queue before
        with pytest.raises(DeadlineError):
            await workers.run(desk(lambda: begun.append(1)), None, 0.01, here)
        release.set()
        await first

    workers = WorkerPool(1, 2)
    asyncio.run(both(workers))
    workers.close()
    assert (begun, workers.hung_threads) == ([], set())


def test_the_question_of_a_client_that_left_is_never_begun(release: threading.Event) -> None:
    """It waits behind another one, and nobody waits for it."""
    begun: list[int] = []

    async def both(workers: WorkerPool) -> None:
        first = asyncio.ensure_future(workers.run(desk(release.wait), None, 30, here))
        await asyncio.sleep(0)  # the first one is in the queue before
        assert await workers.run(desk(lambda: begun.append(1)), None, 30, away) is None
        release.set()
        await first

    workers = WorkerPool(1, 2)
    asyncio.run(both(workers))
    workers.close()
    assert begun == []


def test_the_queue_has_so_many_places() -> None:
    """They come free again, whatever happened in them."""
    workers = WorkerPool(1, 2)
    with workers.admit(), workers.admit(), pytest.raises(OverloadedError), workers.admit():
        pass
    with pytest.raises(ZeroDivisionError), workers.admit():
        raise ZeroDivisionError
    assert workers.in_flight == 0
    workers.close()


def together(release: threading.Event, most: int, threads: int = 1) -> list[list[int]]:
    """Which of nine questions that came behind a busy thread were answered with which."""
    seen: list[list[int]] = []

    def answer(numbers: Sequence[int]) -> list[int]:
        seen.append(list(numbers))
        return [10 * number for number in numbers]

    async def all_of_them(workers: WorkerPool) -> list[int | None]:
        busy = [workers.run(desk(release.wait), None, 30, here) for _ in range(threads)]
        held = [asyncio.ensure_future(each) for each in busy]
        await asyncio.sleep(0)
        shared = BatchHandler(answer, most)
        waiting = [
            asyncio.ensure_future(workers.run(shared, number, 30, here)) for number in range(9)
        ]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*held)
        return await asyncio.gather(*waiting)

    workers = WorkerPool(threads, 20)
    assert asyncio.run(all_of_them(workers)) == [10 * number for number in range(9)]
    workers.close()
    return seen


def test_questions_of_a_kind_that_wait_are_answered_together(release: threading.Event) -> None:
    """As many as the desk takes, in their order."""
    assert together(release, most=4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_a_desk_that_takes_one_is_asked_one_at_a_time(release: threading.Event) -> None:
    """The ordinary case."""
    assert together(release, most=1) == [[number] for number in range(9)]


def test_no_thread_takes_what_others_could_answer(release: threading.Event) -> None:
    """Of nine that wait for three threads, the first takes three."""
    seen = together(release, most=8, threads=3)
    assert len(min(seen, key=min)) == 3
    assert sorted(number for some in seen for number in some) == list(range(9))


def test_everywhere_is_once_in_each_thread() -> None:
    """And says what went wrong in any of them."""
    workers, seen = WorkerPool(3, 1), list[int]()
    workers.run_on_all_threads(lambda: seen.append(threading.get_ident()))
    assert len(seen) == len(set(seen)) == 3
    with pytest.raises(ZeroDivisionError):
        workers.run_on_all_threads(lambda: 1 / 0)
    workers.close()


def test_a_model_that_hangs_is_told_in_time(
    serving: Serving, picture: Draw, monkeypatch: pytest.MonkeyPatch, release: threading.Event
) -> None:
    """504, and when to try again; the next question is answered, and the server lives."""
    with serving(deadline_s=2, threads=1) as client:
        served = client.app.state.service.inference.models.find("shape")  # type: ignore[attr-defined]
        run = served.model.run

        def hang(feeds: Any) -> Any:
            release.wait()
            return run(feeds)

        monkeypatch.setattr(served.model, "run", hang)
        late = client.post("/predict/shape", files={"file": picture()})
        assert (late.status_code, late.json()["type"]) == (504, "/errors/deadline")
        assert int(late.headers["retry-after"]) >= 1
        monkeypatch.setattr(served.model, "run", run)
        assert client.post("/predict/shape", files={"file": picture()}).status_code == 200
        assert client.get("/livez").status_code == 200


def test_a_server_without_threads_asks_to_be_started_again(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher of /livez does so."""
    with serving() as client:
        workers = client.app.state.service.inference.workers  # type: ignore[attr-defined]
        hung = {threading.Thread() for _ in range(MAX_HUNG_THREADS + 1)}
        monkeypatch.setattr(workers, "hung_threads", hung)
        assert client.get("/livez").status_code == 503


def test_a_pool_says_whether_a_request_would_wait() -> None:
    """Its only thread works, then it is idle again."""
    workers = WorkerPool(1, 1)
    assert workers.has_idle_thread
    assert asked(workers, lambda: workers.has_idle_thread) is False
    assert until(lambda: workers.has_idle_thread)
    workers.close()
