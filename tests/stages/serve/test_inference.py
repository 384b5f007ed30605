"""Questions that waited together, and whether that pays."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE

from mien.images import Limits
from mien.model.runtime import Model
from mien.stages.serve import batching, uploads
from mien.stages.serve.inference import InferencePipeline, InferenceRequest, InferenceResult
from mien.stages.serve.uploads import Upload
from mien.task import Detection, Prediction, Request

Serving = Callable[..., AbstractContextManager[TestClient]]
GOOD = b'{"point": {"values": [0.1, 0.2, %s]}}'
REQUEST = Request(image=np.zeros((2, 2, 3), np.uint8))


@pytest.fixture
def together(serving: Serving) -> Any:
    """Handle bodies in one batch; gives the results, and the size of each model call."""
    asked: list[int] = []

    def many(requests: Sequence[Request], model: Model) -> list[Prediction]:
        asked.append(len(requests))
        return [one(request, model) for request in requests]

    with serving() as client:
        service = client.app.state.service.inference  # type: ignore[attr-defined]
        served = service.models.find("shape")
        one = served.task.inference.predict
        inference = replace(served.task.inference, detect_many=many, batching=True)
        served = replace(served, task=replace(served.task, inference=inference))
        answering = InferencePipeline(Limits(), service.prediction_log)

        def answer(*bodies: bytes) -> tuple[list[Any], list[int]]:
            questions = [
                InferenceRequest(served, Upload(body), f"{number:032x}", 0.0, 0.0)
                for number, body in enumerate(bodies)
            ]
            return answering(questions), asked

        yield answer


def test_each_question_gets_its_own_answer(together: Any) -> None:
    """In their order, of one call, recorded under its own trace_id."""
    answers, asked = together(GOOD % b"0.1", GOOD % b"0.9", GOOD % b"0.5")
    alone = [together(GOOD % value)[0][0] for value in (b"0.1", b"0.9", b"0.5")]
    assert asked == [3, 1, 1, 1], "together, then each alone"
    assert [each.prediction for each in answers] == [each.prediction for each in alone]
    assert [each.record.trace_id[-1] for each in answers] == ["0", "1", "2"]


def test_one_that_cannot_be_answered_keeps_no_other_from_its_answer(together: Any) -> None:
    """Whether it is no question at all, or the task breaks on it."""
    answers, _ = together(GOOD % b"0.1", b"{", GOOD % b"-1", GOOD % b"0.5")
    assert [isinstance(each, InferenceResult) for each in answers] == [True, False, False, True]


def test_what_breaks_the_task_is_found_among_the_others(together: Any) -> None:
    """Red as landmarks breaks the made-up task: the others are asked again, each alone."""
    red = b'{"point": {"values": [1.0, 0.0, 0.0]}}'
    answers, asked = together(GOOD % b"0.1", red, GOOD % b"0.5")
    assert [type(each).__name__ for each in answers] == [
        "InferenceResult",
        "ZeroDivisionError",
        "InferenceResult",
    ]
    assert asked == [3, 1, 1, 1], "together, then each alone"


def test_a_picture_for_which_there_is_no_memory_is_told_so(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and when to try again; it is no failure of the client's."""

    def no_room(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(uploads, "decode", no_room)
    headers = {"content-type": "application/json"}
    with serving() as client:
        response = client.post("/predict/shape", content=GOOD % b"0.4", headers=headers)
    assert (response.status_code, response.json()["type"]) == (503, "/errors/out-of-memory")
    assert int(response.headers["retry-after"]) >= 1


def test_questions_that_wait_are_answered_together_where_it_pays(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread is busy with the first; the others come behind it and share a call."""
    sizes: list[int] = []
    ask = InferencePipeline.__call__
    busy, release = threading.Event(), threading.Event()

    def watch(self: InferencePipeline, questions: Sequence[InferenceRequest]) -> Any:
        sizes.append(len(questions))
        busy.set()
        assert release.wait(PATIENCE)
        return ask(self, questions)

    monkeypatch.setattr(batching, "batching_helps", lambda *_: True)
    monkeypatch.setattr(InferencePipeline, "__call__", watch)
    headers = {"content-type": "application/json"}
    with serving(threads=1, max_batch_size=4) as client:
        service = client.app.state.service.inference  # type: ignore[attr-defined]

        def post() -> None:
            sent = client.post("/predict/shape", content=GOOD % b"0.4", headers=headers)
            assert sent.status_code == 200

        clients = [threading.Thread(target=post) for _ in range(6)]
        clients[0].start()
        assert busy.wait(PATIENCE)
        for each in clients[1:]:
            each.start()
        while len(service.workers._queue) < 5:
            assert any(each.is_alive() for each in clients)
        release.set()
        for each in clients:
            each.join()
    assert sizes == [1, 4, 1]


def test_few_large_pictures_are_answered_together(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them waits until all are decoded."""
    monkeypatch.setattr(batching, "batching_helps", lambda *_: True)
    with serving(threads=1, max_batch_size=4) as client:
        service = client.app.state.service.inference  # type: ignore[attr-defined]
        served = service.models.find("shape")
        small, large = (
            service.handler(served, Upload(bytes(size), b"edge"))
            for size in (1000, batching.LARGE_UPLOAD_BYTES + 1)
        )
    assert (small.max_batch_size, large.max_batch_size) == (4, batching.LARGE_UPLOAD_BATCH)


def answer(confidence: float) -> Prediction:
    return Prediction("ok", (Detection("star", confidence, None, {"star": confidence}),))


def slow(times: dict[int, float], clock: list[float]) -> Any:
    """A task that takes so long for one request, and for eight."""

    def one(*_: Any) -> Prediction:
        clock[0] += times[1]
        return answer(0.9)

    def many(requests: Sequence[Request], _: Any) -> list[Prediction]:
        clock[0] += times[8]
        return [answer(0.9)] * len(requests)

    inference = SimpleNamespace(predict=one, predict_many=many, batching=True)
    return SimpleNamespace(inference=inference)


@pytest.mark.parametrize(
    ("one", "eight", "pays"),
    [(0.001, 0.002, True), (0.001, 0.0081, False), (0.001, 0.0070, False), (0.02, 0.02, False)],
)
def test_it_pays_by_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, one: float, eight: float, pays: bool
) -> None:
    """Clearly faster together; long ones are not tried, they gain little and delay the start."""
    clock = [0.0]
    monkeypatch.setattr(batching, "perf_counter", lambda: clock[0])
    task = slow({1: one, 8: eight}, clock)
    assert batching.batching_helps(task, None, REQUEST, 8) == pays  # type: ignore[arg-type]


def test_a_network_that_answers_otherwise_in_company_is_asked_one_at_a_time() -> None:
    """However fast it is: nobody's answer may depend on who asked beside him."""
    task = slow({1: 0.001, 8: 0.001}, [0.0])
    task.inference.predict_many = lambda requests, _: [answer(0.8)] * len(requests)
    assert batching.batch_time_ratio(task, None, REQUEST, 8) == 1.0  # type: ignore[arg-type]


def test_a_network_for_one_picture_at_a_time_is_asked_one_at_a_time() -> None:
    """It cannot take eight, and fails in its own way."""

    def fail(*_: Any) -> Any:
        raise ValueError("index: 0 Got: 8 Expected: 1")

    task = slow({1: 0.0, 8: 0.0}, [0.0])
    task.inference.predict_many = fail
    assert batching.batch_time_ratio(task, None, REQUEST, 8) == 1.0  # type: ignore[arg-type]
    task.inference.batching = False
    assert batching.batch_time_ratio(task, None, REQUEST, 8) == 1.0  # type: ignore[arg-type]
