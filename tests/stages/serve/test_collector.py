"""What is true at the moment of a scrape: models, their scores, training data, the log."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mien.model import bundle
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
MakeBundle = Callable[..., Any]
Series = Callable[[str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]
Value = Callable[..., float | None]

SHAPE = {"task": "shape", "version": "3"}


def values_of(found: Any, metric: str, label: str) -> dict[str, float]:
    """Values of a metric's series by one of their labels."""
    return {dict(labels)[label]: value for (name, labels), value in found.items() if name == metric}


def test_models_are_told_with_their_facts(
    serving: Serving, workspace: Workspace, series: Series, value: Value
) -> None:
    """A loaded model is 1 with its facts; one that failed is 0 and has none."""
    (workspace.version("colour", 1) / "model.onnx").write_bytes(b"")
    with serving() as client:
        digest = client.get("/health").json()["models"][0]["digest"][:12]
        facts = {**SHAPE, "alias": "champion", "candidate": "only", "digest": digest}
        assert value(client, "mien_model_info", **facts) == 1
        assert value(client, "mien_model_loaded", task="shape") == 1
        assert value(client, "mien_model_loaded", task="colour") == 0
        page = client.get("/metrics").text
        assert len(values_of(series(page), "mien_model_info", "task")) == 1
        assert 0 < (value(client, "mien_model_load_seconds", **SHAPE) or 0) < 60
        created = value(client, "mien_model_created_timestamp_seconds", **SHAPE)
        trained_at = bundle.read(workspace.version("shape", 3)).manifest.lineage.trained_at
        assert created == datetime.fromisoformat(trained_at).timestamp(), "not a file's time"


def test_the_scores_of_the_bake_off_are_told(client: TestClient, value: Value) -> None:
    """Of each candidate on both splits; the floor is the lower end for 90 right of 100."""
    for candidate in ("only", "other"):
        of = {**SHAPE, "candidate": candidate}
        assert value(client, "mien_model_score", **of, split="val", score="accuracy") == 0.91
        assert value(client, "mien_model_score", **of, split="test", score="macro_f1") == 0.89
        assert value(client, "mien_model_score", **of, split="val", score="examples") is None
    floor = value(client, "mien_live_accuracy_floor", **SHAPE)
    assert floor == pytest.approx(0.825635, abs=1e-5)


def test_the_training_data_is_told(
    client: TestClient, value: Value, reference: dict[str, Any]
) -> None:
    """Counts, completeness, and how large the share of a label may get."""
    examples = "mien_training_examples"
    assert value(client, examples, **SHAPE, split="train", label="star") == 90
    assert value(client, examples, **SHAPE, split="val", label="round") == 30
    assert value(client, "mien_training_completeness", **SHAPE, check="blurred") == 0.95
    counts = reference["quantities"]["label"]["counts"]
    limit = value(client, "mien_label_share_limit", **SHAPE, label="round")
    assert limit == pytest.approx((1 + counts[0] / 600) / 2)
    assert value(client, "mien_label_share_limit", **SHAPE, label="none") == 0.5


def test_a_version_that_is_no_longer_served_has_no_gauges(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle, series: Series
) -> None:
    """After a change of champion nothing speaks for the old one."""
    with serving():
        pass
    make_bundle(workspace.version("shape", 4))
    workspace.write_aliases("shape", {"champion": 4})
    with serving(("shape",)) as client:
        found = series(client.get("/metrics").text)
    versions = {dict(labels).get("version") for _, labels in found} - {None}
    assert versions == {"4"}


@pytest.mark.parametrize("known", [None, {"format": 1}], ids=["none", "old"])
def test_a_bundle_without_a_reference_answers_and_has_no_drift(
    serving: Serving,
    tmp_path: Path,
    make_bundle: MakeBundle,
    picture: Draw,
    series: Series,
    known: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Monitoring never stands in the way of answers; the log says what is missing."""
    made = make_bundle(tmp_path / "bare", reference=known)
    with serving((), (made.folder,)) as client:
        for _ in range(201):
            answer = client.post("/predict/shape", json={"point": {"values": [1, 2, 3]}})
            assert answer.status_code == 200
        found = series(client.get("/metrics").text)
    assert "its drift is not computed" in caplog.text
    assert values_of(found, "mien_drift_score", "task") == {}
    assert values_of(found, "mien_drift_window_rows", "task") == {"shape": 201}
    assert values_of(found, "mien_model_info", "alias") == {"none": 1}


def test_the_prediction_log_is_told(client: TestClient, workspace: Workspace, value: Value) -> None:
    """Rows, and a size that is near the file's."""
    assert value(client, "mien_prediction_log_rows") == 0
    for _ in range(30):
        client.post("/predict/shape", json={"point": {"values": [1, 2, 3]}})
    assert value(client, "mien_prediction_log_rows") == 30
    size = value(client, "mien_prediction_log_bytes") or 0
    on_disk = sum(path.stat().st_size for path in workspace.home.glob("predictions.db*"))
    assert 4096 <= size <= on_disk
