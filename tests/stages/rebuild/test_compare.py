"""`stages/rebuild/compare.py` names the first difference with both values."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from measured import candidate, scores
from onnx import TensorProto, helper, save

from mien.model import bundle, lineage
from mien.model.bundle import Bundle
from mien.model.evaluation import BundleMetrics, Measurements
from mien.stages.rebuild.compare import TOLERANCE, compare_bundles
from mien.stages.rebuild.outcome import COMPARED_STAGES, RebuildStep

ROW = candidate(
    val=scores(0.8, accuracy=0.9, calibration_error=0.125),
    test=scores(0.6, accuracy=0.7, calibration_error=0.25),
)
METRICS = BundleMetrics(
    **{name: getattr(ROW, name) for name in Measurements.model_fields}, leaderboard=(ROW,)
)
PREPROCESSING = {"nms_iou": 0.5, "outlier_model": {"mean": [1.0, 2.0]}}
HISTORY = [{"loss": 2.0, "accuracy": 0.1}, {"loss": 1.0, "accuracy": 0.5}]


def write_network(path: Path, factor: float) -> None:
    """y = factor * x."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])], "g", [x], [y], [constant]
    )
    save(helper.make_model(graph), path)


def write_bundle(folder: Path, prepared: str = "a" * 64, **changes: Any) -> Bundle:
    """A bundle as a training writes it, except for the changes."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    write_network(folder / "hands.onnx", changes.pop("network", 1.0))
    history = changes.pop("history", HISTORY)
    (folder / "history.json").write_text(json.dumps(history))
    (folder / "reference.json").write_text(json.dumps({"label": changes.pop("label", [1, 2])}))
    document = lineage.Lineage(
        prepared_sha256=prepared,
        external_weights={"size": changes.pop("external_weights", None)},
    )
    preprocessing, metrics = (
        changes.pop("preprocessing", PREPROCESSING),
        changes.pop("metrics", METRICS),
    )
    manifest = bundle.describe(
        "t", ("a", "b"), "svm", preprocessing, metrics=metrics, lineage=document
    )
    return bundle.write(folder, manifest)


def compare(tmp_path: Path, exact: bool = True, **changes: Any) -> list[RebuildStep]:
    """All steps of the comparison of a bundle with a changed one."""
    old = write_bundle(tmp_path / "old", changes.pop("before", "a" * 64))
    new = write_bundle(tmp_path / "new", **changes)
    prepared = (tmp_path / "one", tmp_path / "two")
    return list(compare_bundles(old, new, exact, prepared))


def metrics(part: str, **changes: float) -> BundleMetrics:
    changed = getattr(METRICS, part).model_copy(update=changes)
    return METRICS.model_copy(update={part: changed})


CHANGES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}),
    "latency": ({"metrics": metrics("latency", p50_ms=9.0)}, {}),
    "history": (
        {"history": [HISTORY[0], {"loss": 1.0, "accuracy": 0.25}]},
        {"history": "step 2 of 2, accuracy: 0.5 recorded, 0.25 here"},
    ),
    "a step less": ({"history": HISTORY[:1]}, {"history": "2 steps recorded, 1 here"}),
    "preprocessing": (
        {"preprocessing": {**PREPROCESSING, "outlier_model": {"mean": [1.0, 2.5]}}},
        {"preprocessing": "outlier_model.mean[1]: 2.0 recorded, 2.5 here"},
    ),
    "a network": ({"network": 2.0}, {"networks": "hands.onnx is "}),
    "a score": (
        {"metrics": metrics("test", calibration_error=0.5)},
        {"evaluation": "metrics.test.calibration_error: 0.25 recorded, 0.5 here"},
    ),
    "the reference": (
        {"label": [1, 3]},
        {"evaluation": "reference.label[1]: 2 recorded, 3 here"},
    ),
    "weights to start from": (
        {"external_weights": "abc"},
        {"prepared": "external_weights.size: None recorded, abc here"},
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_difference_is_named_by_stage_and_value(tmp_path: Path, kind: str) -> None:
    """Latency and other candidates are not compared."""
    changes, expected = CHANGES[kind]
    steps = compare(tmp_path, **changes)
    assert [step.stage for step in steps] == list(COMPARED_STAGES[1:])
    texts = {step.stage: step.text for step in steps if step.state == "different"}
    assert set(texts) == set(expected)
    for stage, text in expected.items():
        assert texts[stage].startswith(text)


def test_the_first_prepared_file_that_differs_is_named(tmp_path: Path) -> None:
    """If both folders still exist; else the two hashes are given."""
    hashes = []
    for home, text in (("one", "1,2"), ("two", "1,3")):
        folder = tmp_path / home / "key"
        (folder / "val").mkdir(parents=True)
        (folder / "report.json").write_text(home)
        (folder / "train.csv").write_text("same")
        (folder / "val" / "a.txt").write_text(text)
        hashes.append(lineage.folder_hash(folder))
    step = compare(tmp_path, before=hashes[0], prepared=hashes[1])[0]
    assert step.text == (
        f"{hashes[0][:12]} recorded, {hashes[1][:12]} here; the first file is val/a.txt"
    )
    shutil.rmtree(tmp_path / "one")
    for name in ("old", "new"):
        shutil.rmtree(tmp_path / name)
    step = compare(tmp_path, before=hashes[0], prepared=hashes[1])[0]
    assert step.text.endswith("here")


@pytest.mark.parametrize(("off", "state"), [(0.9, "within_tolerance"), (1.1, "different")])
@pytest.mark.parametrize("score", ["accuracy", "macro_f1"])
def test_scores_are_compared_if_bytes_need_not_repeat(
    tmp_path: Path, off: float, state: str, score: str
) -> None:
    """Within the tolerance; other bytes are reported and accepted."""
    value = getattr(METRICS.val, score) - off * TOLERANCE
    steps = compare(
        tmp_path,
        exact=False,
        preprocessing={**PREPROCESSING, "nms_iou": 0.25},
        metrics=metrics("val", **{score: value}),
    )
    expected = ["identical", "identical", "within_tolerance", "identical", state]
    assert [step.state for step in steps] == expected
    assert "nms_iou: 0.5 recorded" in steps[2].text
    assert f"val.{score}" in steps[-1].text


def test_a_missing_score_is_a_difference(tmp_path: Path) -> None:
    """Even if the others are equal."""
    more = METRICS.model_copy(update={"test_leak_free": scores(0.5)})
    old = write_bundle(tmp_path / "old", metrics=more)
    new = write_bundle(tmp_path / "new")
    prepared = (tmp_path / "one", tmp_path / "two")
    assert list(compare_bundles(old, new, False, prepared))[-1].state == "different"
