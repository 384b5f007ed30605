"""Feedback on answers: kept, counted, and added to the version that answered."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.testclient import TestClient
from waiting import PATIENCE

from mien.model import bundle
from mien.observability.prediction_log.database import DAY_S
from mien.observability.prediction_log.schema import Feedback
from mien.observability.prediction_log.writer import PredictionLog
from mien.reporting import scores
from mien.stages.serve import collector
from mien.stages.serve.trace_id import new_trace_id
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
StartServer = Callable[..., AbstractContextManager[Any]]
MakeBundle = Callable[..., Any]
Value = Callable[..., float | None]

STAR, ROUND, SQUARE, NOTHING = (20, 40, 200), (200, 40, 20), (20, 200, 40), (0, 0, 0)


def ask(client: TestClient, picture: Draw, colour: tuple[int, int, int] = STAR) -> str:
    """One answer's trace_id."""
    answer = client.post("/predict/shape", files={"file": picture(colour)})
    assert answer.status_code == 200
    return str(answer.json()["trace_id"])


def digest(workspace: Workspace) -> str:
    """By which the prediction log knows the champion."""
    return bundle.read(workspace.version("shape", 3)).digest


def tell(client: TestClient, trace_id: str, label: str | None) -> Any:
    return client.post("/feedback", json={"trace_id": trace_id, "label": label})


def test_feedback_is_kept_and_returned(
    client: TestClient, picture: Draw, workspace: Workspace
) -> None:
    """200 with what was answered, by which version, and whether that was right."""
    trace_id = ask(client, picture)
    response = tell(client, trace_id, "star")
    assert response.status_code == 200
    assert response.json() == {
        "trace_id": trace_id,
        "task": "shape",
        "version": "3",
        "predicted": "star",
        "label": "star",
        "correct": True,
    }
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        assert prediction_log.recent_feedback(digest(workspace), 9) == [Feedback("star", "star")]


def test_later_feedback_replaces_earlier_feedback(
    client: TestClient, picture: Draw, workspace: Workspace, value: Value
) -> None:
    """One label for each answer; the counter counts what was sent."""
    trace_id = ask(client, picture)
    assert [tell(client, trace_id, label).json()["correct"] for label in ("star", "round")] == [
        True,
        False,
    ]
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        assert prediction_log.recent_feedback(digest(workspace), 9) == [Feedback("star", "round")]
    of = {"task": "shape", "version": "3"}
    assert value(client, "mien_live_accuracy_samples", **of) == 1
    assert value(client, "mien_live_accuracy", **of) == 0
    assert value(client, "mien_feedback_total", **of, result="correct") == 1
    assert value(client, "mien_feedback_total", **of, result="incorrect") == 1


@pytest.mark.parametrize(("colour", "right"), [(STAR, False), (NOTHING, True)])
def test_null_says_that_there_is_no_subject(
    client: TestClient, picture: Draw, colour: tuple[int, int, int], right: bool
) -> None:
    """Right where nothing was found."""
    response = tell(client, ask(client, picture, colour), None)
    assert (response.status_code, response.json()["correct"], response.json()["label"]) == (
        200,
        right,
        None,
    )


def test_an_answer_that_nobody_gave_is_404(client: TestClient) -> None:
    """So is one that has been forgotten."""
    response = tell(client, new_trace_id(), "star")
    assert (response.status_code, response.json()["type"]) == (404, "/errors/unknown-prediction")


def test_an_answer_of_another_instance_is_said_to_be_one(
    client: TestClient, picture: Draw, server_process: StartServer, tmp_path: Path
) -> None:
    """Two processes of one service, each with a log of its own: the type of the problem differs."""
    with server_process(MIEN_PREDICTION_LOG=str(tmp_path / "other.db")) as other:
        answer = requests.post(f"{other.address}/predict/shape", files={"file": picture()})
    response = tell(client, answer.json()["trace_id"], "star")
    assert (response.status_code, response.json()["type"]) == (404, "/errors/other-instance")
    assert "another instance" in response.json()["detail"].lower()


def test_an_expired_answer_is_404(serving: Serving, workspace: Workspace, picture: Draw) -> None:
    """Its row may still lie in the file: it is past the promised age."""
    with serving(prediction_log_days=1.0) as client:
        trace_id = ask(client, picture)
        prediction_log = client.app.state.service.inference.prediction_log  # type: ignore[attr-defined]
        prediction_log.size()  # brings what waits into the file
        move = "update predictions set timestamp = timestamp - ?"
        prediction_log._database.execute(move, 0.9 * DAY_S)
        assert tell(client, trace_id, "star").status_code == 200
        prediction_log._database.execute(move, 0.2 * DAY_S)
        assert tell(client, trace_id, "star").status_code == 404


def test_feedback_for_the_answer_of_another_server_is_kept(
    serving: Serving, workspace: Workspace, picture: Draw
) -> None:
    """Two servers share one prediction log, behind a load balancer or with a task each."""
    with serving() as first, serving() as second, serving(("colour",)) as other:
        for client in (first, second):
            for judge in (first, second, other):
                trace_id = ask(client, picture)
                response = tell(judge, trace_id, "round")
                assert (response.status_code, response.json().get("predicted")) == (200, "star")
                unknown = 200 if judge is other else 422
                assert tell(judge, trace_id, "no shape").status_code == unknown
                assert tell(judge, trace_id, "round").status_code == 200
        first.get("/metrics")  # brings the spool into the file
        log = other.app.state.service.inference.prediction_log  # type: ignore[attr-defined]
        assert log.recent_feedback(digest(workspace), 99) == [Feedback("star", "round")] * 6
        assert log.size()[0] == 6


def test_a_label_of_another_task_is_told_the_right_ones(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """422 with the labels, without what was sent; nothing is counted."""
    response = tell(client, ask(client, picture), "happy")
    assert (response.status_code, response.json()["type"]) == (422, "/errors/malformed-request")
    assert "round, square, star" in response.json()["detail"]
    assert "happy" not in response.text
    assert value(client, "mien_live_accuracy_samples", task="shape", version="3") == 0
    assert value(client, "mien_feedback_total", task="shape", version="3", result="incorrect") == 0


ID = "a" * 32
FAULTS: dict[str, tuple[dict[str, Any], int]] = {
    "another key": ({"json": {"trace_id": ID, "label": None, "secret": 1}}, 422),
    "no label": ({"json": {"trace_id": ID}}, 422),
    "no trace_id": ({"json": {"label": None}}, 422),
    "number as label": ({"json": {"trace_id": ID, "label": 1}}, 422),
    "number as trace_id": ({"json": {"trace_id": 4711, "label": None}}, 422),
    "short trace_id": ({"json": {"trace_id": ID[1:], "label": None}}, 422),
    "long trace_id": ({"json": {"trace_id": ID + "\n", "label": None}}, 422),
    "capitals": ({"json": {"trace_id": ID.upper(), "label": None}}, 422),
    "list": ({"json": [ID, None]}, 422),
    "null": ({"content": b"null", "headers": {"content-type": "application/json"}}, 422),
    "empty": ({"content": b"", "headers": {"content-type": "application/json"}}, 422),
    "no text": ({"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 422),
    "deep": ({"content": b"[" * 4000, "headers": {"content-type": "application/json"}}, 422),
    "large": ({"json": {"trace_id": ID, "label": "x" * 4096}}, 413),
    "form": ({"data": {"trace_id": ID, "label": "star"}}, 415),
    "bare text": ({"content": b"star"}, 415),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_only_the_form_that_is_described_is_taken(client: TestClient, name: str) -> None:
    """A problem document for anything else, and nothing of what was sent in it."""
    sent, status = FAULTS[name]
    response = client.post("/feedback", **sent)
    assert response.status_code == status
    assert response.json()["type"].startswith("/errors/")
    assert "picture down" not in response.json()["detail"]
    for secret in ("secret", "4711", "xxxx", ID[1:], ID.upper()):
        assert secret not in response.text.replace(response.json()["trace_id"], "")


def test_the_cap_is_four_kilobytes(client: TestClient) -> None:
    """4096 bytes are read, one more is not."""
    text = b'{"trace_id": "%s", "label": null}' % (b"0" * 32)
    kind = {"content-type": "application/json"}
    fits = client.post("/feedback", content=text.ljust(4096), headers=kind)
    beyond = client.post("/feedback", content=text.ljust(4097), headers=kind)
    assert (fits.status_code, beyond.status_code) == (404, 413)
    assert "4096 bytes" in beyond.json()["detail"]


def test_a_restarted_server_takes_feedback_on_earlier_answers(
    serving: Serving, picture: Draw, value: Value
) -> None:
    """And live accuracy goes on from the earlier feedback."""
    with serving() as client:
        first, second = ask(client, picture), ask(client, picture)
        tell(client, first, "star")
    with serving() as client:
        assert tell(client, second, "round").status_code == 200
        assert value(client, "mien_live_accuracy", task="shape", version="3") == 0.5


def test_live_scores_are_those_worked_out_by_hand(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """Feedback on ten answers: star 5 of 6 right, round 2 of 3, square missed."""
    labelled = (
        [(STAR, "star")] * 5
        + [(ROUND, "star")]
        + [(ROUND, "round")] * 2
        + [(STAR, "round")]
        + [(NOTHING, "square")]
        + [(NOTHING, None)]
    )
    for colour, label in labelled:
        assert tell(client, ask(client, picture, colour), label).status_code == 200
    ask(client, picture)  # without feedback: counts for nothing
    of = {"task": "shape", "version": "3"}
    assert value(client, "mien_live_accuracy_samples", **of) == 10
    assert value(client, "mien_live_accuracy", **of) == 0.7
    # Wilson with z = 1.96: (0.7 + 0.19208 -+ 1.96 sqrt(0.021 + 0.0096040)) / 1.38416.
    assert value(client, "mien_live_accuracy_lower", **of) == pytest.approx(0.396773, abs=1e-5)
    assert value(client, "mien_live_accuracy_upper", **of) == pytest.approx(0.892209, abs=1e-5)
    # F1: star 2*5/(6+6), round 2*2/(3+3), square 0.
    by_hand = (10 / 12 + 4 / 6 + 0) / 3
    assert value(client, "mien_live_macro_f1", **of) == pytest.approx(by_hand)
    assert value(client, "mien_feedback_total", **of, result="correct") == 8
    assert value(client, "mien_feedback_total", **of, result="incorrect") == 3


def test_without_feedback_there_is_no_live_accuracy(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """0 would be a lie; the count says why there is nothing."""
    ask(client, picture)
    of = {"task": "shape", "version": "3"}
    assert value(client, "mien_live_accuracy_samples", **of) == 0
    for name in ("accuracy", "accuracy_lower", "accuracy_upper", "macro_f1"):
        assert value(client, f"mien_live_{name}", **of) is None


def test_live_accuracy_is_that_of_the_latest_feedback(
    client: TestClient, picture: Draw, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was right once and is wrong now is seen to be wrong."""
    monkeypatch.setattr(collector, "LIVE_ACCURACY_WINDOW", 4)
    names = [ask(client, picture) for _ in range(8)]
    for name, label in zip(names, ["star"] * 4 + ["round"] * 4, strict=True):
        tell(client, name, label)
    of = {"task": "shape", "version": "3"}
    assert value(client, "mien_live_accuracy_samples", **of) == 4
    assert value(client, "mien_live_accuracy", **of) == 0


def test_feedback_counts_for_the_version_that_answered(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle, picture: Draw, value: Value
) -> None:
    """Not for the one that has taken its place meanwhile."""
    with serving() as client:
        trace_id = ask(client, picture)
    make_bundle(workspace.version("shape", 4), reference=None)
    workspace.write_aliases("shape", {"champion": 4})
    with serving() as client:
        assert tell(client, trace_id, "round").json()["version"] == "3"
        count = "mien_feedback_total"
        assert value(client, count, task="shape", version="3", result="incorrect") == 1
        assert value(client, count, task="shape", version="4", result="incorrect") == 0
        assert value(client, "mien_live_accuracy_samples", task="shape", version="4") == 0
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        assert prediction_log.recent_feedback(digest(workspace), 9) == [Feedback("star", "round")]


def test_the_interval_is_the_one_that_scores_has() -> None:
    """The numbers above are `scores.wilson`'s."""
    lower, upper = scores.wilson(7, 10)
    assert (lower, upper) == (pytest.approx(0.396773, abs=1e-5), pytest.approx(0.892209, abs=1e-5))


def test_an_answer_survives_the_kill_of_its_server(
    server_process: StartServer, workspace: Workspace, picture: Draw
) -> None:
    """SIGKILL right after the answer: the next server knows it."""
    with server_process() as server:
        url = f"{server.address}/predict/shape"
        trace_id = requests.post(url, files={"file": picture()}, timeout=PATIENCE).json()[
            "trace_id"
        ]
        server.process.send_signal(signal.SIGKILL)
        assert server.process.wait(PATIENCE) == -signal.SIGKILL
    with server_process() as server:
        sent = {"trace_id": trace_id, "label": "round"}
        response = requests.post(f"{server.address}/feedback", json=sent, timeout=PATIENCE)
    assert (response.status_code, response.json()["predicted"]) == (200, "star")
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        assert prediction_log.recent_feedback(digest(workspace), 9) == [Feedback("star", "round")]


def test_a_full_disk_costs_feedback_and_no_answers(
    server_process: StartServer, picture: Draw, series: Callable[..., Any]
) -> None:
    """The kernel refuses files beyond 60 kB: answers are 200 all the same, those that are not
    recorded are counted, and feedback is refused with the reason."""
    with server_process(LARGEST_FILE="60000") as server, requests.Session() as session:
        url, file = f"{server.address}/predict/shape", picture()
        statuses, names = set(), []
        for _ in range(400):
            answer = session.post(url, files={"file": file}, timeout=PATIENCE)
            statuses.add(answer.status_code)
            names.append(answer.json()["trace_id"])
        page = series(session.get(f"{server.address}/metrics", timeout=PATIENCE).text)
        sent = {"trace_id": names[0], "label": "star"}
        response = session.post(f"{server.address}/feedback", json=sent, timeout=PATIENCE)
        health = session.get(f"{server.address}/readyz", timeout=PATIENCE)
    assert statuses == {200}
    dropped = page["mien_prediction_log_dropped_total", ()]
    assert dropped > 0
    assert page["mien_prediction_log_rows", ()] == 400 - dropped
    assert (response.status_code, response.json()["type"]) == (503, "/errors/prediction-log")
    assert int(response.headers["retry-after"]) > 0
    assert health.status_code == 200
    assert "".join(server.lines).count("predictions are not recorded from now on") == 1


def test_a_prediction_log_that_cannot_be_opened_costs_feedback_and_no_answers(
    serving: Serving, picture: Draw, tmp_path: Path, value: Value
) -> None:
    """From the first answer on; drift is watched on all the same."""
    (tmp_path / "file").write_text("not a folder")
    with serving(prediction_log=tmp_path / "file" / "predictions.db") as client:
        trace_id = ask(client, picture)
        assert tell(client, trace_id, "star").status_code == 503
        assert value(client, "mien_prediction_log_dropped_total") == 1
        assert value(client, "mien_prediction_log_rows") is None
        assert value(client, "mien_live_accuracy_samples", task="shape", version="3") is None
        assert value(client, "mien_drift_window_rows", task="shape", version="3") == 1
