"""Several servers behind one address: what they share in PostgreSQL, and what stays secret."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import postgresql
import pytest
import requests
from pydantic import SecretStr
from waiting import PATIENCE, until

from mien.observability.drift import MIN_ROWS
from mien.stages.serve import drift_window
from mien.storage.workspace import Workspace

from .load import get
from .server_process import FOLDER, Server, serve

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def replicas(
    postgresql_server: postgresql.Server, workspace: Workspace, tmp_path: Path
) -> Iterator[list[Server]]:
    """Two processes with one workspace and one database."""
    postgresql_server.clear()
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serve(
                    workspace.home,
                    FOLDER,
                    "shape",
                    log=tmp_path / f"{name}.log",
                    MIEN_PREDICTION_LOG=postgresql_server.url,
                )
            )
            for name in ("first", "second")
        ]


def ask(server: Server, content: bytes) -> dict[str, Any]:
    address = f"http://127.0.0.1:{server.port}/predict/shape"
    response = requests.post(address, files={"file": content}, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def tell(server: Server, trace_id: str) -> requests.Response:
    address = f"http://127.0.0.1:{server.port}/feedback"
    return requests.post(address, json={"trace_id": trace_id, "label": "star"}, timeout=PATIENCE)


def tell_in_time(server: Server, trace_id: str) -> requests.Response:
    """Again where the database of a slow machine took longer than the server waits."""
    answers = [tell(server, trace_id)]
    while answers[-1].status_code == 503 and len(answers) < 10:
        answers.append(tell(server, trace_id))
    return answers[-1]


def test_feedback_to_any_replica_finds_the_answer(replicas: list[Server], picture: Any) -> None:
    """At once after the answer, in both directions; live accuracy is the same at both."""
    first, second = replicas
    for own, other in ((first, second), (second, first)):
        response = tell_in_time(other, ask(own, picture())["trace_id"])
        assert (response.status_code, response.json()["correct"]) == (200, True)
    for each in replicas:
        assert each.metric("mien_live_accuracy_samples", task="shape") == 2
        assert each.metric("mien_live_accuracy", task="shape") == 1
        assert each.metric("mien_prediction_log_rows") == 2
    unknown = tell(first, f"{0:032x}")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/errors/other-instance")


def test_drift_is_that_of_all_replicas(
    postgresql_server: postgresql.Server,
    serving: Any,
    picture: Any,
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has half of the answers that drift needs; both know the score of all."""
    monkeypatch.setattr(drift_window, "REFRESH_S", 0.0)
    postgresql_server.clear()
    log = SecretStr(postgresql_server.url)
    with (
        serving(("shape",), prediction_log=log, prediction_log_spool=tmp_path / "a") as first,
        serving(("shape",), prediction_log=log, prediction_log_spool=tmp_path / "b") as second,
    ):
        for _ in range(MIN_ROWS // 2):
            for each in (first, second):
                assert each.post("/predict/shape", files={"file": picture()}).status_code == 200
        first.get("/metrics")  # moves its last records to the database
        of = {"task": "shape", "version": "3"}
        for each in (second, first):
            assert value(each, "mien_drift_window_rows", **of) == MIN_ROWS
        scores = [
            value(each, "mien_drift_score", **of, quantity="label") for each in (first, second)
        ]
        assert scores[0] == scores[1] > 0


def test_answers_go_on_without_the_database(
    replicas: list[Server], picture: Any, postgresql_server: postgresql.Server
) -> None:
    """Feedback is refused meanwhile; afterwards every answer is in the log, once. The password is
    in no page, log line or error."""
    first, second = replicas
    early = ask(first, picture())["trace_id"]
    assert tell_in_time(second, early).status_code == 200
    postgresql_server.kill()
    try:
        during = [ask(each, picture())["trace_id"] for each in replicas for _ in range(10)]
        refused = tell(second, early)
        assert (refused.status_code, refused.json()["type"]) == (503, "/errors/prediction-log")
        names = ("health", "metrics", "status.json", "openapi.json")
        pages = [each.request(get(f"/{name}")) for name in names for each in replicas]
        assert {page.status for page in pages} == {200}
    finally:
        postgresql_server.start()
    until(lambda: postgresql_server.count() == 21)
    until(lambda: tell(first, during[-1]).status_code == 200)
    assert sum(each.metric("mien_prediction_log_dropped_total") for each in replicas) == 0
    logs = "".join(each.text() for each in replicas)
    assert "predictions wait in the spool" in logs
    shown = logs + refused.text + "".join(page.body.decode() for page in pages)
    assert postgresql.PASSWORD not in shown
    assert quote(postgresql.PASSWORD, safe="") not in shown
