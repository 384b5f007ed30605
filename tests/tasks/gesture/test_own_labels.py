"""Labels of one's own, from a table to a served model: nothing expects HaGRID's eighteen."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from mien import pipeline
from mien.config import RunConfig, Settings
from mien.model import bundle
from mien.model.evaluation import Evaluation
from mien.observability.drift import NO_LABEL
from mien.stages.batch import batch
from mien.stages.data import read_report
from mien.stages.serve import app, models
from mien.storage.workspace import Workspace, read_latest

from .tables import hands, relabelled, table

OWN = ("thumb", "wave")
RUN = RunConfig(
    name="own",
    task="gesture",
    params={"candidates": ["logistic_regression"], "accept_images": False},
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """A champion of two labels, trained on a table by the whole pipeline."""
    home = tmp_path_factory.mktemp("own")
    shutil.copy(mlflow_database, home)
    rows = hands(("fist", "palm"), 24)
    table(home / "hands.csv", relabelled(rows, fist="thumb", palm="wave"))
    run = RUN.model_copy(update={"source": str(home / "hands.csv")})
    done = pipeline.run(run, Workspace(home), force="test").registered
    assert done.alias == "champion", done.reason
    return home


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    """The service of that champion."""
    sources = models.resolve_sources(Workspace(home), ["gesture"], [])
    loaded = threading.Event()
    service = app.create(Workspace(home), sources, Settings(), lambda _: loaded.set())
    with TestClient(service) as client:
        assert loaded.wait(60)
        yield client


def test_the_bundle_has_the_labels_of_the_data(home: Path) -> None:
    """And so have the report on the data, the reference for drift and the model card."""
    workspace = Workspace(home)
    opened = bundle.read(workspace.version("gesture", 1))
    assert opened.manifest.labels == OWN
    ready = read_latest(workspace.processed("gesture"), "own", "")
    assert [tuple(each) for each in read_report(ready).counts.values()] == [OWN] * 3
    assert f'"{NO_LABEL}"' in (opened.folder / "reference.json").read_text(encoding="utf-8")
    assert "one of 2 labels: thumb, wave" in (opened.folder / "card.md").read_text()
    evaluated = read_latest(workspace.evaluated("gesture"), "own", "")
    (row,) = Evaluation.read(evaluated).candidates
    assert row.majority is not None
    assert (row.majority.share, row.majority.has_learnt) == (pytest.approx(0.5, abs=0.1), True)


def test_the_service_predicts_documents_and_learns_them(client: TestClient) -> None:
    """Health, the page's list of labels, the OpenAPI document, answers, feedback and metrics."""
    (model,) = client.get("/health").json()["models"]
    assert model["labels"] == list(OWN)
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["GestureDetection"]["properties"]["label"]["enum"] == list(OWN)
    assert schemas["GesturePrediction"]["properties"]["gesture"]["anyOf"][0]["enum"] == list(OWN)
    assert schemas["GesturePrediction"]["example"]["gesture"] == "thumb"
    points = dict(relabelled(hands(("fist", "palm"), 1), fist="thumb", palm="wave"))
    for label in OWN:
        answer = client.post("/predict/gesture", json={"landmarks": points[label].tolist()}).json()
        assert answer["gesture"] == label
        assert set(answer["detections"][0]["scores"]) == set(OWN)
    sent = {"trace_id": answer["trace_id"], "label": "thumb"}
    assert client.post("/feedback", json=sent).json()["correct"] is False
    refused = client.post("/feedback", json={**sent, "label": "like"})
    assert refused.status_code == 422
    assert "(thumb, wave)" in refused.json()["detail"]
    text = client.get("/metrics").text
    assert 'label="wave"' in text
    assert 'label="fist"' not in text


def test_a_model_of_shuffled_labels_has_learnt_nothing(
    tmp_path: Path, mlflow_database: Path
) -> None:
    """It is registered, and the reason says why it is not champion."""
    shutil.copy(mlflow_database, tmp_path)
    rows = hands(("fist", "palm"), 24)
    labels = np.random.default_rng(0).permutation([label for label, _ in rows]).tolist()
    shuffled = [(label, points) for label, (_, points) in zip(labels, rows, strict=True)]
    table(tmp_path / "hands.csv", shuffled)
    run = RUN.model_copy(update={"source": str(tmp_path / "hands.csv")})
    done = pipeline.run(run, Workspace(tmp_path)).registered
    assert done.alias == "challenger"
    assert "it has learnt nothing measurable" in done.reason
    assert "--force REASON" in done.reason


def test_a_batch_has_a_column_for_each(home: Path, tmp_path: Path) -> None:
    """A table of any form, with the labels as columns of scores."""
    table(tmp_path / "new.csv", hands(("fist",), 3), header=None, delimiter=";")
    batch(tmp_path / "new.csv", tmp_path / "out.csv", Workspace(home), threads=1)
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert [name for name in lines[0].split(",") if name.startswith("score_")] == [
        "score_thumb",
        "score_wave",
    ]
    assert [line.split(",")[1] for line in lines[1:]] == ["thumb"] * 3
