"""What Prometheus reads."""

import asyncio
import random
import re
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien.observability import metrics
from mien.observability.metrics import EXPOSED, METRICS, STAGES
from mien.stages.serve import inference, uploads
from mien.stages.serve.errors import PROBLEM_TYPES
from mien.storage import shadow
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
MakeBundle = Callable[..., Any]
Series = Callable[[str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]
Value = Callable[..., float | None]

SHAPE = {"task": "shape", "version": "3"}
ESTIMATED = {f"mien_estimated_accuracy{end}" for end in ("", "_lower", "_upper")}
"""Absent here, as the model is not calibrated; `test_estimated_accuracy.py` has one that is."""


def names(found: Any) -> set[str]:
    return {name for name, _ in found}


def values_of(found: Any, metric: str, label: str) -> dict[str, float]:
    """Values of a metric's series by one of their labels."""
    return {dict(labels)[label]: value for (name, labels), value in found.items() if name == metric}


@pytest.fixture
def busy(
    workspace: Workspace, make_bundle: MakeBundle, picture: Draw, value: Value, serving: Serving
) -> Iterator[TestClient]:
    """A service after one picture, one JSON body, one refused upload, a window full enough for
    drift, and feedback on one answer, which a challenger answered too."""
    make_bundle(workspace.version("shape", 4), reference=None)
    shadow.start(workspace, "shape", 4, 1.0)
    with serving(canary="shape:4=1%") as client:
        yield served(client, picture, value)


def served(client: TestClient, picture: Draw, value: Value) -> TestClient:
    challengers = client.app.state.service.inference.shadow.challengers  # type: ignore[attr-defined]
    until(lambda: challengers, "a challenger, after the canary")
    client.post("/predict/shape", files={"file": picture()})
    client.post("/predict/shape", files={"file": b"text"})
    for _ in range(230):  # few of them by the canary
        client.post("/predict/shape", json={"point": {"values": [0.4, 0.5, 0.6]}})

    def compared() -> bool:
        """Again where the challenger was too busy."""
        answer = client.post("/predict/shape", json={"point": {"values": [0.4, 0.5, 0.6]}})
        sent = {"trace_id": answer.json()["trace_id"], "label": "star"}
        assert client.post("/feedback", json=sent).status_code == 200
        of = {"task": "shape", "version": "4"}
        return value(client, "mien_shadow_accuracy_difference", **of) is not None

    until(compared, "an answer of both models with feedback")
    return client


def test_every_metric_of_the_table_is_told_and_no_other(busy: TestClient, series: Series) -> None:
    """With exactly the labels of the table, but for the `le` of a histogram's buckets."""
    page = busy.get("/metrics").text
    found = series(page)
    exposed = names(found)
    process = {name for name in EXPOSED if name.startswith("process_")}
    assert exposed == set(EXPOSED) - process - ESTIMATED
    assert all(f"\n{name} " in page for name in process)
    for name, labels in found:
        row = EXPOSED[name]
        more = {"le"} if name.endswith("_bucket") else set()
        assert {label for label, _ in labels} == set(row.labels) | more, name


def test_the_page_has_kind_and_meaning_of_each(busy: TestClient) -> None:
    """As the table has them, so that a reader of the page needs no other."""
    page = busy.get("/metrics").text
    for row in METRICS:
        if row.name.startswith("mien_") and row.name not in ESTIMATED:
            assert f"# HELP {row.name} {row.meaning}\n" in page
            assert f"# TYPE {row.name} {row.kind}\n" in page


def test_buckets_are_those_of_the_table(busy: TestClient, series: Series) -> None:
    """A dashboard that reads another bucket would read nothing."""
    found = series(busy.get("/metrics").text)
    for row in METRICS:
        if row.kind == "histogram":
            edges = {float(edge) for edge in values_of(found, f"{row.name}_bucket", "le")}
            assert edges == {*row.buckets, float("inf")}, row.name


def test_what_can_be_counted_begins_at_zero(client: TestClient, series: Series) -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    found = series(client.get("/metrics").text)
    reasons = values_of(found, "mien_rejected_total", "reason")
    assert reasons == dict.fromkeys((kind.slug for kind in PROBLEM_TYPES.values()), 0)
    assert values_of(found, "mien_feedback_total", "result") == {
        "correct": 0,
        "incorrect": 0,
    }
    assert values_of(found, "mien_predictions_total", "label") == dict.fromkeys(
        ("round", "square", "star"), 0
    )
    assert found["mien_prediction_log_dropped_total", ()] == 0
    tasks = {(dict(labels)["task"]) for name, labels in found if name == "mien_feedback_total"}
    assert tasks == {"shape", "colour"}


def test_answers_are_counted_by_task_version_label_and_outcome(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """Two stars and a picture without a subject, which has no confidence to observe."""
    for colour in ((20, 40, 200), (20, 40, 200), (0, 0, 0)):
        client.post("/predict/shape", files={"file": picture(colour)})
    count = "mien_predictions_total"
    assert value(client, count, **SHAPE, label="star", outcome="ok") == 2
    assert value(client, count, **SHAPE, label="none", outcome="no_hand") == 1
    assert value(client, "mien_confidence_count", **SHAPE) == 2
    assert value(client, "mien_confidence_sum", **SHAPE) == pytest.approx(2 * 0.997264)


def test_every_stage_of_an_answer_is_timed(client: TestClient, picture: Draw, value: Value) -> None:
    """One observation each, none below zero, together no more than the whole request."""
    client.post("/predict/shape", files={"file": picture()})
    name = "mien_predict_seconds"
    sums = {stage: value(client, f"{name}_sum", task="shape", stage=stage) for stage in STAGES}
    for stage in STAGES:
        assert value(client, f"{name}_count", task="shape", stage=stage) == 1
    whole = value(client, "mien_request_seconds_sum", route="/predict/shape", status="200") or 0.0
    waited = value(client, "mien_queue_wait_seconds_sum") or 0.0
    read = value(client, "mien_upload_seconds_sum") or 0.0
    parts = [each or 0.0 for each in sums.values()]
    assert min(parts) > 0
    assert min(waited, read) > 0
    assert sum(parts) + waited + read < whole


def test_the_time_of_the_networks_is_told_apart(
    client: TestClient, picture: Draw, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the task does before, while and after it asks its network."""
    served = client.app.state.service.inference.models.find("shape")  # type: ignore[attr-defined]
    clock = [0.0]
    monkeypatch.setattr("mien.model.runtime.perf_counter", lambda: clock[0])
    monkeypatch.setattr(inference.time, "perf_counter", lambda: clock[0])
    run, decode = served.model.run, uploads.decode

    def decoding(*arguments: Any) -> Any:
        clock[0] += 1
        return decode(*arguments)

    def working(feeds: Any) -> Any:
        clock[0] += 2  # the task's own work before the network,
        found = run(feeds)
        clock[0] += 8  # and after it
        return found

    class Slow:
        def run(self, feeds: Any) -> Any:
            clock[0] += 4
            return session.run(feeds)

    session = served.model._sessions["model.onnx"]
    monkeypatch.setitem(served.model._sessions, "model.onnx", Slow())
    monkeypatch.setattr(served.model, "run", working)
    monkeypatch.setattr(uploads, "decode", decoding)
    client.post("/predict/shape", files={"file": picture()})
    sums = {
        stage: value(client, "mien_predict_seconds_sum", task="shape", stage=stage)
        for stage in STAGES
    }
    assert sums == {"decode": 1, "preprocess": 2, "infer": 4, "postprocess": 8}


def test_an_answer_without_network_is_timed_too(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """Black is recognised without the network: all is preprocessing."""
    client.post("/predict/shape", files={"file": picture((0, 0, 0))})
    sums = {
        stage: value(client, "mien_predict_seconds_sum", task="shape", stage=stage)
        for stage in STAGES
    }
    assert (sums["infer"], sums["postprocess"]) == (0, 0)
    assert (sums["preprocess"] or 0) > 0


def test_measures_and_sizes_are_told(client: TestClient, picture: Draw, value: Value) -> None:
    """Of a picture and of a JSON body; a body without a picture is an upload too."""
    sent = client.post("/predict/shape", files={"file": picture()}).request
    client.post("/predict/shape", content=b'{"point": {"values": [0.1, 0.2, 0.3]}}', headers=JSON)
    brightness = {"task": "shape", "stat": "brightness"}
    assert value(client, "mien_input_stat_count", **brightness) == 2
    assert value(client, "mien_input_stat_sum", **brightness) == pytest.approx(260 / 3 / 255 + 0.2)
    assert value(client, "mien_upload_bytes_count") == 2
    assert value(client, "mien_upload_bytes_sum") == int(sent.headers["content-length"]) + 38
    assert value(client, "mien_upload_seconds_count") == 2
    assert value(client, "mien_queue_wait_seconds_count") == 2


JSON = {"content-type": "application/json"}


def test_rejections_are_counted_by_reason(
    client: TestClient, picture: Draw, series: Series
) -> None:
    """By the name of the problem document; answers are none."""
    client.post("/predict/shape", files={"file": picture()})
    client.post("/predict/shape", files={"file": b"text"})
    client.post("/predict/shape", files={"file": b"text"})
    client.post("/predict/shape", json={})
    client.post("/feedback", json={"trace_id": "0" * 32, "label": None})
    client.get("/nothing")
    client.post("/predict/shape", files={"file": picture((255, 0, 0))})
    reasons = values_of(series(client.get("/metrics").text), "mien_rejected_total", "reason")
    assert {reason: count for reason, count in reasons.items() if count} == {
        "unsupported-image-type": 2,
        "malformed-request": 1,
        "other-instance": 1,
        "not-found": 1,
        "internal": 1,
    }


def test_a_probe_that_is_told_not_ready_is_no_rejection(
    serving: Serving, workspace: Workspace, picture: Draw, value: Value
) -> None:
    """It asks all the time; a prediction that is refused counts."""
    (workspace.version("shape", 3) / "model.onnx").write_bytes(b"")
    with serving(("shape",)) as client:
        assert {client.get(path).status_code for path in ("/health", "/readyz")} == {503}
        assert value(client, "mien_rejected_total", reason="not-ready") == 0
        client.post("/predict/shape", files={"file": picture()})
        assert value(client, "mien_rejected_total", reason="not-ready") == 1


def test_requests_are_counted_by_route_template_method_and_status(
    client: TestClient, picture: Draw, value: Value
) -> None:
    """The variable part of a path is not exposed."""
    client.post("/predict/shape", files={"file": picture()})
    client.post("/predict/shape", files={"file": b"text"})
    client.get("/sample/shape")
    client.get("/static/page.css")
    count = "mien_requests_total"
    assert value(client, count, route="/predict/shape", method="POST", status="200") == 1
    assert value(client, count, route="/predict/shape", method="POST", status="415") == 1
    assert value(client, count, route="/sample/{task}", method="GET", status="200") == 1
    assert value(client, count, route="/static/{path:path}", method="GET", status="200") == 1


def test_only_the_request_for_the_metrics_is_in_progress(
    client: TestClient, picture: Draw, series: Series
) -> None:
    """The gauge comes back down after answers, failures and crashes."""
    for content in (picture(), b"text", picture((255, 0, 0))):
        client.post("/predict", files={"file": content})
    found = series(client.get("/metrics").text)
    assert values_of(found, "mien_requests_in_progress", "route") == {"/predict": 0, "/metrics": 1}


def test_a_request_in_work_takes_a_place(
    client: TestClient, picture: Draw, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is answered it is in progress by its route, and holds a place of the queue."""
    entered, leave = threading.Event(), threading.Event()
    original = uploads.decode

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert leave.wait(PATIENCE)
        return original(*arguments)

    monkeypatch.setattr(uploads, "decode", slow)
    asking = threading.Thread(
        target=lambda: client.post("/predict/shape", files={"file": picture()})
    )
    asking.start()
    assert entered.wait(PATIENCE)
    during = value(client, "mien_requests_in_progress", route="/predict/shape")
    taken = value(client, "mien_in_flight_requests", state="current")
    leave.set()
    asking.join()
    assert (during, taken) == (1, 1)
    assert value(client, "mien_requests_in_progress", route="/predict/shape") == 0
    assert value(client, "mien_in_flight_requests", state="current") == 0
    assert value(client, "mien_in_flight_requests", state="limit") == 32


async def ask(app: Any, method: str, path: str) -> None:
    """One request without a client library, of which ten thousand would take a minute."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: dict[str, Any]) -> None:
        pass

    scope = {"type": "http", "path": path, "query_string": b"", "headers": []}
    await app(scope | {"method": method, "raw_path": path.encode()}, receive, send)


def test_ten_thousand_odd_paths_add_no_series(client: TestClient, series: Series) -> None:
    """Whatever is asked for, under whatever method, falls into series that are there already."""
    chance = random.Random(0)
    ways = ("/{}", "/predict/{}", "/sample/{}", "/errors/{}", "/static/{}", "/health/{}")

    async def ask_all(count: int) -> None:
        for number in range(count):
            word = "".join(chance.choices(string.ascii_letters, k=8))
            method = ("GET", "POST", word.upper())[number // len(ways) % 3]
            await ask(client.app, method, ways[number % len(ways)].format(word))

    asyncio.run(ask_all(3 * len(ways)))
    client.get("/metrics")
    before = series(client.get("/metrics").text)
    asyncio.run(ask_all(10_000))
    after = series(client.get("/metrics").text)
    assert set(after) == set(before)
    name = "mien_requests_total"
    total = [sum(v for (n, _), v in page.items() if n == name) for page in (before, after)]
    assert total[1] - total[0] == 10_000 + 1


def test_the_page_is_what_prometheus_reads(client: TestClient) -> None:
    """Its content type, and none of the series that only some readers know."""
    page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert not re.search(r"^\w+_created[ {]", page.text, re.MULTILINE)
    assert value_of(page.text, "process_resident_memory_bytes") > 1e6


def value_of(page: str, metric: str) -> float:
    return float(page.partition(f"\n{metric} ")[2].partition("\n")[0])


def test_two_apps_do_not_share_their_numbers(serving: Serving, picture: Draw, value: Value) -> None:
    """Each has its own registry."""
    with serving() as first, serving() as second:
        first.post("/predict/shape", files={"file": picture()})
        labels = {**SHAPE, "label": "star", "outcome": "ok"}
        assert value(first, "mien_predictions_total", **labels) == 1
        assert value(second, "mien_predictions_total", **labels) == 0


def test_a_metric_that_is_not_in_the_table_cannot_be_made() -> None:
    """Its kind is the one of the table too."""
    from mien.stages.serve.metrics import Metrics

    with pytest.raises(KeyError):
        Metrics()._instrument("mien_unheard_of")
    assert metrics.BY_NAME.keys() == {row.name for row in METRICS}


def test_a_first_burst_of_failures_is_an_increase(client: TestClient, value: Value) -> None:
    """Series of predictions begin at 0: one that begins at 400 shows no increase to Prometheus."""
    for status in ("200", "400", "413", "415", "422", "500", "503"):
        labels = {"route": "/predict/shape", "method": "POST", "status": status}
        assert value(client, "mien_requests_total", **labels) == 0
    served = {"task": "shape", "version": "3", "label": "star"}
    assert value(client, "mien_predictions_total", **served, outcome="unsure") == 0


def test_a_share_of_all_is_told_apart_from_less() -> None:
    """Quantiles are drawn between a bucket's edges: one that ends at 1 must begin close by."""
    edges = metrics.BY_NAME["mien_input_stat"].buckets
    assert edges[edges.index(1.0) - 1] > 0.99
