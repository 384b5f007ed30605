"""What is lost when the server is killed, stopped or held, when the clock jumps, the model
hangs or raises, or the registry is away. Real `mien serve` processes, but for the clock and the
model that hangs for good.

The made-up tasks answer in a moment, so that a second has many requests.
"""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien.storage.files import atomic_write
from mien.storage.workspace import Workspace
from prometheus import RECIPE, binary

from .load import POINT, Load, form, get, post
from .server_process import FOLDER, Server, receive, serve, serve_hanging

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
Value = Callable[..., float | None]
QUESTION = post("/predict/shape", POINT)
DAY = 86400.0


def slow(body: bytes = POINT) -> bytes:
    """A question that a drill makes a second longer."""
    return post("/predict/shape", body, X_Mien_Fault="slow")


def feedback(trace_id: str) -> bytes:
    return post("/feedback", f'{{"trace_id": "{trace_id}", "label": "star"}}'.encode())


def recorded(path: Path) -> set[str]:
    """The answers in a prediction log that no server has open, which must be whole."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        rows = [row[0] for row in database.execute("select trace_id from predictions")]
    assert len(rows) == len(set(rows))
    return set(rows)


@pytest.mark.long
def test_a_kill_loses_no_answer_that_was_received(workspace: Workspace, picture: Draw) -> None:
    """Lost: requests that had no answer yet, and nothing else. Three kills under load, each with a
    restart on the same file: every answer that a client has got can be judged, and the prediction
    log is whole."""
    questions, received = [QUESTION, form("/predict/colour", picture())], []
    for _ in range(3):
        with (
            serve(workspace.home, FOLDER) as server,
            Load(server.port, questions, 6) as load,
        ):
            load.reach(120)
            server.send_signal(signal.SIGKILL)
            server.process.wait()
            load.stop()
        assert {each.status for each in load.records} <= {200, 0}, "an answer, or none"
        received.append([each.trace_id for each in load.fine])
    with serve(workspace.home, FOLDER) as server:
        assert server.metric("mien_prediction_log_rows") >= sum(map(len, received))
        for each in [name for names in received for name in (names[0], *names[-10:])]:
            assert server.request(feedback(each)).status == 200
        server.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
    assert recorded(workspace.prediction_log) >= {name for names in received for name in names}


def test_a_stop_loses_nothing_for_clients_that_look(workspace: Workspace, picture: Draw) -> None:
    """Lost: nothing. Clients that look at /readyz, as load balancers do, and send no more once it
    is not 200 see no failed request; the server ends with status 0."""
    questions = [QUESTION, form("/predict/colour", picture())]
    with (
        serve(workspace.home, FOLDER, MIEN_GRACE_S="5") as server,
        Load(server.port, questions, 8, balanced=True) as load,
    ):
        load.reach(100)
        server.send_signal(signal.SIGTERM)
        code = server.process.wait(PATIENCE)
        load.stop()
    assert load.failed == []
    assert code == 0
    assert recorded(workspace.prediction_log) == {each.trace_id for each in load.records}
    assert "Traceback" not in server.text()


@pytest.mark.long
def test_a_stop_answers_everybody_until_its_grace_is_over(workspace: Workspace) -> None:
    """Lost: requests that are sent after the grace to a server that is going. Before that they are
    answered, keep-alive connections too, with the word that the connection ends."""
    with (
        serve(workspace.home, FOLDER, MIEN_GRACE_S="5") as server,
        Load(server.port, [QUESTION], 6) as load,
    ):
        load.reach(50)
        kept = server.connect(QUESTION)
        assert not receive(kept).closes
        stopped = time.monotonic()
        server.send_signal(signal.SIGTERM)
        until(lambda: server.request(get("/readyz")).status == 503, "/readyz stays 200")
        kept.sendall(QUESTION)
        last, new = receive(kept), server.request(QUESTION)
        code = server.process.wait(PATIENCE)
        load.stop()
    assert (last.status, last.closes, new.status, new.closes) == (200, True, 200, True)
    assert {each.status for each in load.records} <= {200, 0}
    assert [each for each in load.failed if each.sent < stopped + 2] == []
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_what_is_in_work_is_finished(workspace: Workspace, number: signal.Signals) -> None:
    """Lost: nothing of what was in work when a signal came: four questions of a second each for
    two threads, which take longer than the grace."""
    settings = {"MIEN_FAULT_INJECTION": "1", "MIEN_THREADS": "2", "MIEN_GRACE_S": "0.1"}
    with serve(workspace.home, FOLDER, **settings) as server:
        asked = [server.connect(slow()) for _ in range(4)]
        until(lambda: taken(server) == 4, "they are not in work")
        server.send_signal(number)
        answers = [receive(each).status for each in asked]
        code = server.process.wait(PATIENCE)
    assert (answers, code) == ([200] * 4, 0)


@pytest.mark.long
def test_nobody_can_keep_a_server_from_its_end(workspace: Workspace) -> None:
    """Lost: an upload that its client does not finish, which is refused or cut off. Nor do idle
    connections and half heads hold the server up."""
    settings = {"MIEN_BODY_TIMEOUT_S": "5", "MIEN_HEADER_TIMEOUT_S": "5", "MIEN_GRACE_S": "0.1"}
    with serve(workspace.home, FOLDER, **settings) as server:
        for sent in (b"", b"GET /livez HTT", QUESTION[:-5], get("/livez")):
            server.connect(sent)
        until(lambda: taken(server) == 1, "the upload has no place")
        server.send_signal(signal.SIGTERM)
        code = server.process.wait(PATIENCE)
    assert code == 0
    assert "graceful shutdown exceeded" not in server.text(), "what uvicorn says when it gives up"


def test_a_held_server_goes_on_where_it_was(workspace: Workspace) -> None:
    """Lost: nothing. What is sent while the process does not run is answered once it does, and
    every place is free again."""
    with (
        serve(workspace.home, FOLDER) as server,
        Load(server.port, [QUESTION], 6) as load,
    ):
        load.reach(50)
        server.send_signal(signal.SIGSTOP)
        until(lambda: held(server), "it still runs")
        count = len(load.records)
        asked = [server.connect(QUESTION) for _ in range(20)]
        until(lambda: load.waiting == 6, "the clients have not asked")
        server.send_signal(signal.SIGCONT)
        answers = [receive(each).status for each in asked]
        load.reach(50)
        load.stop()
        server.settle()
    assert answers == [200] * 20
    assert load.failed == []
    assert len(load.records) >= count + 50


def taken(server: Server) -> float:
    return server.metric("mien_in_flight_requests", state="current")


def held(server: Server) -> bool:
    return "State:\tT" in Path(f"/proc/{server.pid}/status").read_text()


# The clock.


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "back"])
def test_a_clock_that_jumps_costs_nothing(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, value: Value, jump: float
) -> None:
    """Lost: nothing. Within the process the clock of the day jumps and later jumps back: answers,
    feedback, windows of drift, metrics and deadlines go on."""
    shift, now, nanoseconds = [0.0], time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + shift[0])
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(shift[0] * 1e9))
    of, traces = {"task": "shape", "version": "3"}, []
    monkeypatch.setenv("MIEN_BODY_TIMEOUT_S", "20")
    with serving(("shape",)) as client:
        for shift[0] in (0.0, jump, 0.0):
            for _ in range(5):
                answer = client.post("/predict/shape", content=POINT, headers=JSON)
                assert answer.status_code == 200
                traces.append(answer.json()["trace_id"])
            for trace_id in traces:
                document = {"trace_id": trace_id, "label": "star"}
                assert client.post("/feedback", json=document).status_code == 200
            assert value(client, "mien_drift_window_rows", **of) == len(traces)
            assert value(client, "mien_prediction_log_rows") == len(traces)
            assert value(client, "mien_live_accuracy_samples", **of) == len(traces)
        assert value(client, "mien_prediction_log_dropped_total") == 0
    assert len(set(traces)) == 15


JSON = {"content-type": "application/json"}


@pytest.mark.long
def test_a_real_clock_that_jumps_costs_nothing(workspace: Workspace, tmp_path: Path) -> None:
    """Lost: nothing. A real process whose clock of the day jumps a day forwards, two days back and
    forwards again under load, by Debian's libfaketime."""
    found = binary("libfaketimeMT.so.1")
    if not found:
        pytest.skip(f"NO CLOCK WAS MOVED: needs Debian's libfaketime (`{RECIPE}`)")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    faked = {"LD_PRELOAD": found, "FAKETIME_TIMESTAMP_FILE": str(clock)}
    faked |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    # Else it turns Python's waits for the interpreter lock, of 5 ms, into ones of seconds.
    faked |= {"FAKETIME_FORCE_MONOTONIC_FIX": "0"}
    with (
        serve(workspace.home, FOLDER, **faked) as server,
        Load(server.port, [QUESTION], 4) as load,
    ):
        for jump in ("+0", "+1d", "-1d", "+1d", "+0"):
            with atomic_write(clock) as written:
                written.write_text(f"{jump}\n")
            load.reach(60)
            assert server.request(feedback(load.fine[-1].trace_id)).status == 200
        load.stop()
        server.settle()
        assert server.metric("mien_prediction_log_dropped_total") == 0
        assert server.metric("mien_prediction_log_rows") == len(load.records)
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert load.failed == []
    with closing(sqlite3.connect(workspace.prediction_log)) as database:
        low, high = database.execute(
            "select min(timestamp), max(timestamp) from predictions"
        ).fetchone()
    assert high - low > 1.9 * DAY, "the clock has not jumped"


# A model that hangs or raises.


def test_a_slow_model_is_told_in_time_and_the_others_go_on(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Lost: the answers that came too late: 504. Their threads come back: afterwards the server
    answers as before."""
    settings = {"MIEN_DEADLINE_S": "2", "MIEN_THREADS": "2"}
    with serve_hanging(workspace.home, tmp_path, **settings) as (server, hangs):
        with Load(server.port, [get("/metrics")], 12) as load:
            load.reach(50)  # which has threads of its own, made when they are first needed
        threads = server.status("Threads")
        hangs.touch()
        asked = [server.connect(QUESTION) for _ in range(4)]
        late = [receive(each) for each in asked]
        hangs.unlink()
        until(lambda: server.request(QUESTION).status == 200, "it answers no more")
        with Load(server.port, [QUESTION], 6) as load:
            load.reach(100)
        server.settle()
        until(lambda: server.status("Threads") <= threads, "threads stay behind")
    assert {(each.status, each.json()["type"]) for each in late} == {(504, "/errors/deadline")}
    assert {each.headers["content-type"] for each in late} == {"application/problem+json"}
    assert load.failed == []


def test_a_model_that_raises_costs_its_own_request_alone(workspace: Workspace) -> None:
    """Lost: the answers that the model failed at: 500, without a word of what went wrong inside.
    Every other request is answered."""
    broken = post("/predict/shape", POINT, X_Mien_Fault="error")
    with (
        serve(workspace.home, FOLDER, MIEN_FAULT_INJECTION="1") as server,
        Load(server.port, [QUESTION, broken], 4) as load,
    ):
        load.reach(100)
        load.stop()
        failed = server.request(broken)
        server.settle()
    assert {(each.request, each.status) for each in load.records} == {(0, 200), (1, 500)}
    assert failed.json()["type"] == "/errors/internal"
    assert b"Traceback" not in failed.body
    assert b"drill" not in failed.body


@pytest.fixture
def hanging(workspace: Workspace, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server of one thread whose model of `shape` hangs as long as a file is there."""
    settings = {"MIEN_DEADLINE_S": "1", "MIEN_MAX_IN_FLIGHT": "4", "MIEN_GRACE_S": "0.1"}
    with serve_hanging(workspace.home, tmp_path, **settings) as found:
        yield found


@pytest.mark.long
def test_a_model_that_hangs_for_long_does_not_take_the_server_with_it(
    hanging: tuple[Server, Path],
) -> None:
    """Lost: the answers of the model that hangs: 504, or 503 where nobody is left to answer. The
    probes answer, and say so when too many threads hang. Once the model works again all is as
    before, and what nobody waits for any more is not computed."""
    server, hangs = hanging
    assert server.request(QUESTION).status == 200
    hangs.touch()
    statuses = [server.request(QUESTION).status for _ in range(3)]
    assert server.request(get("/livez")).status == 200
    with Load(server.port, [QUESTION], 12) as load:
        until(lambda: len(load.records) >= 40, "requests are not refused")
        until(
            lambda: server.request(get("/livez")).status == 503,
            "/livez does not report the threads",
        )
    assert server.request(get("/metrics")).status == 200
    begun = server.metric("mien_queue_wait_seconds_count")
    hangs.unlink()
    until(lambda: server.request(QUESTION).status == 200, "it answers no more")
    again = [server.request(QUESTION).status for _ in range(20)]
    server.settle()
    until(lambda: server.request(get("/livez")).status == 200, "/livez stays 503")
    computed = server.metric("mien_queue_wait_seconds_count") - begun
    assert (statuses, again) == ([504] * 3, [200] * 20)
    assert {each.status for each in load.records} <= {503, 504}
    assert 21 <= computed <= 21 + 8, "it computed what nobody waits for"


@pytest.mark.parametrize("count", [3, pytest.param(12, marks=pytest.mark.long)])
def test_a_model_that_hangs_for_good_does_not_keep_the_server_from_its_end(
    hanging: tuple[Server, Path], count: int
) -> None:
    """Lost: the answers of the model that hangs. However many of its threads hang, the process
    ends at SIGTERM, with status 0."""
    server, hangs = hanging
    hangs.touch()
    assert {server.request(QUESTION).status for _ in range(count)} <= {503, 504}
    server.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0


# What the server does not need once it serves.


def test_a_server_does_not_need_the_registry(workspace: Workspace, picture: Draw) -> None:
    """Lost: nothing. MLflow's database is deleted, and the folder of models moved away and back:
    the models in memory answer, and a new champion is taken afterwards."""
    (workspace.home / "mlflow.db").write_bytes(b"a database")
    models, away = workspace.home / "models", workspace.home / "away"
    questions = [QUESTION, form("/predict/colour", picture())]
    with (
        serve(workspace.home, FOLDER, MIEN_RELOAD_INTERVAL_S="0.05") as server,
        Load(server.port, questions, 4) as load,
    ):
        load.reach(20)
        (workspace.home / "mlflow.db").unlink()
        models.rename(away)
        load.reach(150)
        assert server.request(get("/health")).status == 200
        assert server.request(get("/sample/shape")).status == 200
        away.rename(models)
        load.reach(50)
        workspace.version("shape", 3).rename(workspace.version("shape", 4))
        workspace.write_aliases("shape", {"champion": 4})
        until(lambda: load.records[-1].version == "4", "the new champion is not taken")
        load.stop()
    assert load.failed == []
