"""A canary answers its share of the requests, and is rolled back by failures and by feedback."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from waiting import until

from mien.errors import ConfigError
from mien.stages.serve.canary import Canary
from mien.stages.serve.trace_id import new_trace_id
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
MakeBundle = Callable[..., Any]
Value = Callable[..., float | None]


@pytest.fixture(autouse=True)
def second(workspace: Workspace, make_bundle: MakeBundle) -> None:
    """A version 4 of the task."""
    make_bundle(workspace.version("shape", 4), "shape", reference=None)


def canary_of(client: TestClient) -> Canary:
    """The canary, once it is loaded."""
    canary: Canary = client.app.state.service.inference.canary  # type: ignore[attr-defined]
    until(lambda: canary.model, "a canary")
    return canary


def replace_answers(canary: Canary, predict: Callable[[Request], Prediction]) -> None:
    """Let the task of the canary, which the tests made up, answer otherwise."""
    assert canary.model is not None
    task = canary.model.task
    inference = replace(
        task.inference, detect_many=lambda many, _: [predict(each) for each in many]
    )
    canary.model = replace(canary.model, task=replace(task, inference=inference))


def ask(client: TestClient, picture: Draw) -> dict[str, Any]:
    response = client.post("/predict/shape", files={"file": picture()})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def test_the_answer_says_which_version_gave_it(serving: Serving, picture: Draw) -> None:
    """About half of the requests each; the other task has its champion alone."""
    with serving(canary="shape:4=50%") as client:
        canary_of(client)
        versions = [ask(client, picture)["model"]["version"] for _ in range(60)]
        assert 10 <= versions.count("4") <= 50
        assert set(versions) == {"3", "4"}
        assert client.post("/predict/colour", files={"file": picture()}).json()["model"] == {
            "name": "mien-colour",
            "version": "1",
        }


@pytest.mark.parametrize("percent", [1, 5, 100])
def test_the_share_is_that_of_the_requests(serving: Serving, percent: int) -> None:
    """By a hash of the trace_id."""
    with serving(("shape",), canary=f"4={percent}%") as client:
        canary = canary_of(client)
        champion = client.app.state.service.inference.models.find("shape")  # type: ignore[attr-defined]
        hits = sum(canary.choose(champion, new_trace_id()) is not None for _ in range(4000))
        spread = (4000 * percent / 100 * (1 - percent / 100)) ** 0.5
        assert abs(hits - 40 * percent) <= 5 * spread


def test_a_canary_that_fails_costs_no_request(
    serving: Serving, picture: Draw, value: Value, caplog: pytest.LogCaptureFixture
) -> None:
    """The champion answers that request, and all later ones."""

    def fail(_: Request) -> Prediction:
        raise ZeroDivisionError

    of = {"task": "shape", "version": "4"}
    with serving(("shape",), canary="4=100%") as client:
        canary = canary_of(client)
        replace_answers(canary, fail)
        assert value(client, "mien_canary_share", **of) == 1
        assert [ask(client, picture)["model"]["version"] for _ in range(3)] == ["3"] * 3
        assert canary.model is None
        assert value(client, "mien_canary_share", **of) == 0
    assert caplog.text.count("is rolled back: it failed with ZeroDivisionError") == 1


def test_what_the_champion_refuses_too_is_not_held_against_it(
    serving: Serving, picture: Draw
) -> None:
    """Bytes that are no picture, and a picture on which the task itself fails."""
    with serving(("shape",), canary="4=100%") as client:
        canary = canary_of(client)
        assert client.post("/predict/shape", files={"file": b"text"}).status_code == 415
        assert (
            client.post("/predict/shape", files={"file": picture((0, 255, 0))}).status_code == 422
        )
        assert canary.model is not None
        assert ask(client, picture)["model"]["version"] == "4"


def test_feedback_rolls_a_worse_canary_back(
    serving: Serving, picture: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at its first mistake: when the interval of the difference is below 0."""
    answers = {"3": 0, "4": 0}
    with serving(("shape",), canary="4=50%") as client:
        canary = canary_of(client)
        replace_answers(canary, lambda _: Prediction("no_hand"))
        while canary.model is not None and sum(answers.values()) < 300:
            answer = ask(client, picture)
            answers[answer["model"]["version"]] += 1
            sent = {"trace_id": answer["trace_id"], "label": "star"}
            assert client.post("/feedback", json=sent).status_code == 200
        assert canary.model is None
        assert min(answers.values()) >= 5
        assert ask(client, picture)["model"]["version"] == "3"
    assert "the canary, version 4, is rolled back: its accuracy differs by -1.0000" in caplog.text


def test_a_canary_with_other_labels_never_answers(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clients know those of the champion."""
    make_bundle(workspace.version("shape", 5), "shape", labels=("a", "b", "c"), reference=None)
    with serving(("shape",), canary="5=100%") as client:
        until(lambda: "shape has no canary" in caplog.text, "a refusal")
        assert ask(client, picture)["model"]["version"] == "3"


@pytest.mark.parametrize(
    "text", ["4", "4=0%", "4=101%", "shape=5%", "other:4=5%", "4=5%", "shape:9=5%"]
)
def test_a_canary_that_cannot_be_is_refused(serving: Serving, text: str) -> None:
    """At the start, with the form that is expected; several tasks need a name."""
    with pytest.raises(ConfigError, match="--canary: "), serving(canary=text):
        raise AssertionError("it started")
