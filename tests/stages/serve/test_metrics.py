"""What Prometheus is told."""

import asyncio
import random
import string
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mien.stages.serve.metrics import STAGES
from mien.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]


def series(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every series of mien, as its name and labels, with its value."""

    def read() -> Iterator[tuple[Any, float]]:
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                if sample.name.startswith("mien_"):
                    yield (sample.name, tuple(sorted(sample.labels.items()))), sample.value

    return dict(read())


def value(client: TestClient, metric: str, **labels: str) -> float | None:
    return series(client).get((metric, tuple(sorted(labels.items()))))


def test_answers_are_counted_by_task_label_and_outcome(client: TestClient, picture: Draw) -> None:
    """Two stars and a picture without a subject, which has no confidence to observe."""
    for colour in ((20, 40, 200), (20, 40, 200), (0, 0, 0)):
        client.post("/predict/shape", files={"file": picture(colour)})
    count = "mien_predictions_total"
    assert value(client, count, task="shape", label="star", outcome="ok") == 2
    assert value(client, count, task="shape", label="none", outcome="no_hand") == 1
    assert value(client, "mien_confidence_count", task="shape") == 2
    assert value(client, "mien_confidence_sum", task="shape") == pytest.approx(2 * 0.997264)


def test_every_stage_of_an_answer_is_timed(client: TestClient, picture: Draw) -> None:
    """One observation each, none below zero, together no more than the whole request."""
    client.post("/predict/shape", files={"file": picture()})
    name = "mien_predict_seconds"
    sums = [value(client, f"{name}_sum", task="shape", stage=stage) or 0.0 for stage in STAGES]
    for stage in STAGES:
        assert value(client, f"{name}_count", task="shape", stage=stage) == 1
    whole = value(client, "mien_request_seconds_sum", route="/predict/shape") or 0.0
    assert min(sums) >= 0
    assert 0 < sum(sums) < whole


def test_requests_are_counted_by_route_template_method_and_status(
    client: TestClient, picture: Draw
) -> None:
    """What stands in a path's variable part is not told."""
    client.post("/predict/shape", files={"file": picture()})
    client.post("/predict/shape", files={"file": b"text"})
    client.get("/sample/shape")
    client.get("/static/page.css")
    count = "mien_requests_total"
    assert value(client, count, route="/predict/shape", method="POST", status="200") == 1
    assert value(client, count, route="/predict/shape", method="POST", status="415") == 1
    assert value(client, count, route="/sample/{task}", method="GET", status="200") == 1
    assert value(client, count, route="/static/{path:path}", method="GET", status="200") == 1


def test_models_are_told_with_version_and_digest(serving: Serving, workspace: Workspace) -> None:
    """A loaded model is 1 with its facts; one that failed is 0 and has none."""
    (workspace.version("colour", 1) / "model.onnx").write_bytes(b"")
    with serving() as client:
        digest = client.get("/health").json()["models"][0]["digest"][:12]
        facts = {"task": "shape", "version": "3", "candidate": "only", "digest": digest}
        assert value(client, "mien_model_info", **facts) == 1
        assert value(client, "mien_model_loaded", task="shape") == 1
        assert value(client, "mien_model_loaded", task="colour") == 0
        assert len([name for name, _ in series(client) if name == "mien_model_info"]) == 1


def test_only_the_request_for_the_metrics_is_in_flight(client: TestClient, picture: Draw) -> None:
    """The gauge comes back down after answers, failures and crashes."""
    for content in (picture(), b"text", picture((255, 0, 0))):
        client.post("/predict", files={"file": content})
    assert value(client, "mien_requests_in_flight") == 1


async def ask(app: Any, method: str, path: str) -> None:
    """One request without a client library, of which ten thousand would take a minute."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: dict[str, Any]) -> None:
        pass

    scope = {"type": "http", "path": path, "query_string": b"", "headers": []}
    await app(scope | {"method": method, "raw_path": path.encode()}, receive, send)


def test_ten_thousand_odd_paths_add_no_series(client: TestClient) -> None:
    """Whatever is asked for, under whatever method, falls into series that are there already."""
    chance = random.Random(0)
    ways = ("/{}", "/predict/{}", "/sample/{}", "/errors/{}", "/static/{}", "/health/{}")

    async def ask_all(count: int) -> None:
        for number in range(count):
            word = "".join(chance.choices(string.ascii_letters, k=8))
            method = ("GET", "POST", word.upper())[number // len(ways) % 3]
            await ask(client.app, method, ways[number % len(ways)].format(word))

    asyncio.run(ask_all(3 * len(ways)))
    series(client)
    before = series(client)
    asyncio.run(ask_all(10_000))
    after = series(client)
    assert set(after) == set(before)
    name = "mien_requests_total"
    total = [sum(v for (n, _), v in told.items() if n == name) for told in (before, after)]
    assert total[1] - total[0] == 10_000 + 1


def test_the_process_is_told_too(client: TestClient) -> None:
    """Memory and processor time, for the dashboard."""
    page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert "process_resident_memory_bytes" in page.text
    assert "_created" not in page.text


def test_two_apps_do_not_share_their_numbers(serving: Serving, picture: Draw) -> None:
    """Each has its own registry."""
    with serving() as first, serving() as second:
        first.post("/predict/shape", files={"file": picture()})
        labels = {"task": "shape", "label": "star", "outcome": "ok"}
        assert value(first, "mien_predictions_total", **labels) == 1
        assert value(second, "mien_predictions_total", **labels) is None
