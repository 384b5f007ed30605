"""The addresses: what they answer when all is well."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mien import tasks
from mien.model import bundle
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve import response as response_json
from mien.stages.serve.inference import InferencePipeline, InferenceService
from mien.stages.serve.metrics import LogFormatter
from mien.stages.serve.uploads import Upload
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]


def test_an_answer_has_its_keys_in_the_promised_order(client: TestClient, picture: Draw) -> None:
    """The task's name and the confidence come first, the rest in the order of the papers."""
    answer = client.post("/predict/shape", files={"file": ("hand.png", picture())}).json()
    assert list(answer) == [
        *("shape", "confidence", "outcome", "unsure_reason", "detections", "model", "trace_id")
    ]
    assert answer["shape"] == "star"
    assert answer["model"] == {"name": "mien-shape", "version": "3"}
    assert list(answer["detections"][0]) == ["label", "confidence", "box", "scores", "handedness"]


def test_a_confidence_is_the_model_s_own_to_six_decimals(client: TestClient, picture: Draw) -> None:
    """Blue 200, green 40, red 20 through softmax(10 x / 255): computed by hand."""
    answer = client.post("/predict/shape", files={"file": ("a.png", picture())}).json()
    assert answer["confidence"] == pytest.approx(0.997264, abs=1e-6)
    assert sum(answer["detections"][0]["scores"].values()) == pytest.approx(1, abs=2e-6)
    assert answer["detections"][0]["box"] == [1.0, 2.0, 3.0, 4.0]


def test_a_picture_without_a_subject_is_no_error(client: TestClient, picture: Draw) -> None:
    """200, null, confidence 0 and the outcome."""
    response = client.post("/predict/shape", files={"file": ("a.png", picture((0, 0, 0)))})
    answer = response.json()
    assert response.status_code == 200
    assert (answer["shape"], answer["confidence"], answer["detections"]) == (None, 0, [])
    assert answer["outcome"] == "no_hand"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("/predict", "shape"),
        ("/predict?task=colour", "colour"),
        ("/predict?task=shape", "shape"),
        ("/predict/colour", "colour"),
    ],
)
def test_the_address_picks_the_task(
    client: TestClient, picture: Draw, address: str, key: str
) -> None:
    """Without a name it is the first task that the server was started with."""
    answer = client.post(address, files={"file": ("a.png", picture())}).json()
    assert next(iter(answer)) == key


def test_a_slash_too_many_changes_nothing(client: TestClient, picture: Draw) -> None:
    """No redirect, which would lose the upload; it counts for the same route."""
    for path in ("/predict/", "/predict/shape/"):
        assert client.post(path, files={"file": picture()}).status_code == 200
    for path in ("/livez/", "/metrics/", "/docs/", "/sample/shape/"):
        assert client.get(path).status_code == 200, path
    assert str(client.get("/docs/").url).endswith("/docs"), "addresses in the page are relative"
    for path in ("/livez//", "/static/"):
        assert client.get(path).status_code == 404, path
    assert 'route="/predict/shape"' in client.get("/metrics").text
    assert 'route="/predict/shape/"' not in client.get("/metrics").text


def test_json_is_taken_where_the_task_has_a_body(client: TestClient) -> None:
    """Numbers in place of a picture: there is no box then."""
    answer = client.post("/predict/shape", json={"point": {"values": [2, 0, 0]}}).json()
    assert answer["shape"] == "round"
    assert answer["detections"][0]["box"] is None


def test_answers_follow_the_schema_that_openapi_shows(client: TestClient, picture: Draw) -> None:
    """With a subject and without one, and the example of the description too."""
    schema = response_json.schema(tasks.load("shape"))
    for colour in ((20, 40, 200), (0, 0, 0)):
        answer = client.post("/predict/shape", files={"file": ("a.png", picture(colour))})
        schema.model_validate_json(answer.content)
    schema.model_validate_json(json.dumps(schema.model_json_schema()["example"]))


def test_openapi_describes_every_task(client: TestClient) -> None:
    """Each task has its own path; only the one with a body takes JSON; every reference holds."""
    document = client.get("/openapi.json").json()
    shape = document["paths"]["/predict/shape"]["post"]
    colour = document["paths"]["/predict/colour"]["post"]
    assert set(shape["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert set(colour["requestBody"]["content"]) == {"multipart/form-data"}
    assert "curl -F file=@" in shape["description"]
    assert {"200", "400", "404", "408", "413", "415", "422", "500", "503"} <= set(
        shape["responses"]
    )
    known = document["components"]["schemas"]
    assert {"ShapeBody", "ShapePoint", "ShapePrediction", "ColourPrediction", "Problem"} <= set(
        known
    )
    used = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used <= set(known)


def test_every_answer_is_recorded(
    client: TestClient, picture: Draw, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the answer's trace_id, with what monitoring watches, and without the file's name."""
    caplog.set_level(logging.INFO)
    started = time.time()
    response = client.post("/predict", files={"file": ("passport-of-ann.png", picture())})
    client.get("/metrics")  # brings what waits beside the prediction log into it
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        event = prediction_log.find(response.json()["trace_id"])
    assert event is not None
    assert event.trace_id == response.headers["x-trace-id"]
    assert (event.task, event.version, event.label) == ("shape", "3", "star")
    assert (event.outcome, event.confidence) == ("ok", pytest.approx(0.997264, abs=1e-6))
    assert event.digest == client.get("/health").json()["models"][0]["digest"]
    assert event.input_stats == pytest.approx({"brightness": 260 / 3 / 255})
    assert 0 < event.latency_s < 30
    assert started <= event.timestamp <= time.time()
    kept = b"".join(path.read_bytes() for path in workspace.home.glob("predictions.db*"))
    assert response.json()["trace_id"].encode() in kept
    assert b"passport" not in kept
    assert "passport" not in caplog.text


def test_a_service_made_of_another_records_in_its_own_prediction_log(
    client: TestClient, tmp_path: Path
) -> None:
    """And not in that of the one whose answers came first."""
    service: InferenceService = client.app.state.service.inference  # type: ignore[attr-defined]
    served, upload = service.models.find("shape"), Upload(b"{}")
    service.handler(served, upload)
    with closing(PredictionLog(tmp_path / "own.db")) as prediction_log:
        answering = replace(service, prediction_log=prediction_log).handler(served, upload).handle
        assert isinstance(answering, InferencePipeline)
        assert answering.prediction_log is prediction_log


def digest(workspace: Workspace) -> str:
    """By which the prediction log knows the champion."""
    return bundle.read(workspace.version("shape", 3)).digest


def test_an_answer_without_a_subject_is_recorded_too(
    client: TestClient, picture: Draw, workspace: Workspace
) -> None:
    """With no label, confidence 0 and the outcome; a refused picture leaves no row."""
    reply = client.post("/predict", files={"file": picture((0, 0, 0))}).json()
    client.post("/predict", files={"file": b"text"})
    client.get("/metrics")
    with closing(PredictionLog(workspace.prediction_log)) as prediction_log:
        (event,) = prediction_log.recent(digest(workspace), 10)
    assert event.trace_id == reply["trace_id"]
    assert (event.label, event.confidence, event.outcome) == (None, 0, "no_hand")


def test_every_request_has_its_line_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Route template and status, never the address that was asked for."""
    caplog.set_level(logging.INFO)
    response = client.get("/secret-address")
    (line,) = [record.message for record in caplog.records if record.name == "mien.requests"]
    reply = json.loads(line)
    assert reply.pop("seconds") >= 0
    assert datetime.fromisoformat(reply.pop("time")).utcoffset() == timedelta(0)
    assert reply == {
        "trace_id": response.headers["x-trace-id"],
        "route": "unmatched",
        "method": "GET",
        "status": 404,
    }


def test_every_other_line_of_the_log_has_its_time_and_level() -> None:
    """UTC, before the text; also where a record has a traceback."""
    record = logging.LogRecord("any", logging.WARNING, "", 0, "The disk is %s.", ("full",), None)
    moment, level, text = LogFormatter().format(record).split(" ", 2)
    assert datetime.fromisoformat(moment).timestamp() == pytest.approx(record.created, abs=1e-3)
    assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)
    assert (level, text) == ("WARNING", "The disk is full.")


def test_health_names_every_model(client: TestClient) -> None:
    """200 with name, version, candidate, digest and hash of the model of each."""
    response = client.get("/health")
    first, second = response.json()["models"]
    assert response.status_code == 200
    assert (first["name"], first["version"], first["candidate"]) == ("mien-shape", "3", "only")
    assert (second["task"], second["state"], len(second["digest"])) == ("colour", "ready", 64)
    assert len({first["model_sha256"], second["model_sha256"], first["digest"]}) == 3


@pytest.mark.parametrize(
    "path", ["/health", "/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json"]
)
def test_get_and_head_are_answered(client: TestClient, path: str) -> None:
    """HEAD says of an address what GET says."""
    assert client.get(path).status_code == 200
    assert client.head(path).status_code == 200


def test_every_request_has_another_trace_id(client: TestClient) -> None:
    """32 hexadecimal digits, as tracing systems have them."""
    names = {client.get("/livez").headers["x-trace-id"] for _ in range(50)}
    assert len(names) == 50
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in names)


def test_the_sample_is_a_picture_that_the_task_can_judge(client: TestClient) -> None:
    """What GET /sample gives, POST /predict takes."""
    sample = client.get("/sample/shape")
    assert sample.headers["content-type"] == "image/png"
    assert client.post("/predict", files={"file": sample.content}).json()["outcome"] == "ok"
