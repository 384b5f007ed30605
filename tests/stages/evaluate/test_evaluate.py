"""Promises of the evaluate stage: the reference, what takes part, and what is whole when."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import small
from measured import ratio

from mien import tasks
from mien.config import RunConfig
from mien.model import bundle
from mien.model.evaluation import BundleMetrics, Evaluation, Latency, SliceDefinition
from mien.observability import drift
from mien.observability.drift import DriftRow
from mien.reporting.model_card import CARD, SECTIONS
from mien.reporting.scores import ScoredPrediction
from mien.stages import Run, evaluate
from mien.stages.evaluate.card import card
from mien.stages.evaluate.data_quality import DataQuality, read_data_quality
from mien.stages.evaluate.measuring import Measured
from mien.storage.files import write_json
from mien.storage.workspace import DATA_QUALITY, DETAILS, REPORT, Workspace, write_latest

TRAINING = {
    "examples": {"train": {"a": 70, "b": 20}, "val": {"a": 101, "b": 0}, "test": {"a": 9, "b": 3}},
    "completeness": {"blurred": 0.95, "empty": 1.0},
}

BUNDLE = bundle.Bundle(Path(), bundle.describe("letter", ("a", "b"), "svm", {}), "0")
COST = ratio(1.0, 0.1)
LATENCY = Latency(p50_ms=1, p95_ms=2)


def answers(count: int = 101) -> list[ScoredPrediction]:
    """Rising brightness and confidence, and one picture in which nothing was found."""
    found = [
        ScoredPrediction("a", "a", place / 100, "ok", (), None, {"brightness": place / 100}, 0.0)
        for place in range(count)
    ]
    return [*found, ScoredPrediction("b", None, 0.0, "no_face", (), None, {}, 0.0)]


def test_the_reference_counts_what_was_said_in_bins() -> None:
    """Monitoring compares traffic with these numbers: of what was said, not of what is true."""
    found = evaluate.reference(answers(), ("a", "b"), TRAINING)
    quantities = found["quantities"]
    assert found["rows"] == 102
    assert quantities["label"] == {"values": ["a", "b", "none"], "counts": [101, 0, 1]}
    deciles = pytest.approx([place / 10 for place in range(1, 10)])
    assert quantities["confidence"]["edges"] == quantities["brightness"]["edges"] == deciles
    assert sum(quantities["brightness"]["counts"]) == 101
    assert set(found["thresholds"]["1000"]) == {"label", "confidence", "brightness"}


def test_the_reference_tells_what_the_training_data_was() -> None:
    """Counts by split and label, and the share that passed each check."""
    assert evaluate.reference(answers(), ("a", "b"), TRAINING)["training"] == TRAINING


def test_completeness_comes_from_the_check_of_the_same_data(tmp_path: Path) -> None:
    """A check of another version says nothing about these data."""
    workspace = Workspace(tmp_path)
    run = RunConfig(name="r", task="emotion")
    ready, checked = tmp_path / "ready", workspace.checked("emotion") / "1"
    assert read_data_quality(Run.resolve(run, workspace), ready) is None
    for folder in (ready, checked):
        folder.mkdir(parents=True)
    quality = {
        "version": "v",
        "exact": ["test/a"],
        "near": ["val/b"],
        "completeness": {"blurred": 0.9},
    }
    (checked / DATA_QUALITY).write_text(json.dumps(quality))
    write_latest(workspace.checked("emotion"), run.name, "1")
    (ready / REPORT).write_text(json.dumps({"data_fingerprint": "v"}))
    expected = DataQuality(frozenset({"test/a", "val/b"}), {"blurred": 0.9})
    assert read_data_quality(Run.resolve(run, workspace), ready) == expected
    (ready / REPORT).write_text(json.dumps({"data_fingerprint": "w"}))
    assert read_data_quality(Run.resolve(run, workspace), ready) is None


def test_the_reference_is_read_back_as_it_was(tmp_path: Path) -> None:
    """What a server compares with is what evaluation counted."""
    made = evaluate.reference(answers(), ("a", "b"), TRAINING)
    write_json(tmp_path / "reference.json", made)
    read = json.loads((tmp_path / "reference.json").read_text(encoding="utf-8"))
    live = [DriftRow(each.predicted, each.confidence, each.input_stats) for each in answers(300)]
    assert drift.compare(live, read) == drift.compare(live, made)
    assert drift.shares(read)["a"] == pytest.approx(101 / 102)


def test_leaked_examples_are_left_out_of_the_leak_free_scores() -> None:
    """One of three has a copy in train and was right: without it half are right, not two thirds."""
    said = [("a", "a", "1"), ("b", "b", "2"), ("a", "b", "3")]
    test = [
        ScoredPrediction(truth, word, 0.9, "ok", (), None, {}, 0.0, name)
        for truth, word, name in said
    ]
    measured = Measured(BUNDLE, {"val": test, "test": test}, [], LATENCY, COST, frozenset({"2"}))
    found = measured.measurements
    assert found.test.accuracy == pytest.approx(2 / 3)
    assert found.test_leak_free is not None
    assert found.test_leak_free.accuracy == pytest.approx(1 / 2)
    assert found.test_leak_free.examples == 2


def test_unchecked_data_have_no_leak_free_scores() -> None:
    """Nobody looked for copies: nothing is claimed about them."""
    measured = Measured(BUNDLE, {"val": [], "test": answers()}, [], LATENCY, COST, None)
    assert measured.measurements.test_leak_free is None


def test_the_choice_answers_before_the_rest_is_written(
    small_gesture: Workspace, tmp_path: Path
) -> None:
    """The studio serves it from then on: it answers as the final bundle, which follows."""
    shutil.copytree(small_gesture.home, tmp_path / "home")
    policy = small.ANY.model_copy(update={"max_risk": 0.9})  # evaluated anew
    config = small.GESTURE.model_copy(update={"policy": policy})
    seen = []

    def on_choice(folder: Path) -> None:
        choice = Evaluation.read(folder).choice
        assert choice == "logistic_regression"
        assert (folder / DETAILS / f"{choice}.json").is_file()
        offered = bundle.read(folder / choice)
        seen.append(
            (offered.model_sha256, offered.manifest.decision, "card.md" in offered.manifest.files)
        )

    run = Run.resolve(config, Workspace(tmp_path / "home"))
    folder = evaluate.evaluate(run, on_choice).folder
    final = bundle.read(folder / "logistic_regression")
    same = (final.model_sha256, final.manifest.decision)
    assert seen == [(*same, False), (*same, True)]
    assert Evaluation.read(folder).choice == "logistic_regression"


def test_the_card_has_every_section_and_the_slices(small_gesture: Workspace) -> None:
    """Of a real run: uses, data, rights, what was measured, limits."""
    text = (small_gesture.reports("gesture") / CARD).read_text(encoding="utf-8")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [*SECTIONS, "Where it comes from"]
    assert "Article 5(1)(f)" in text
    assert "drawings that mien makes" in text or "Not stated: the config has no `rights`" in text
    assert "Groups such as skin tone, age, gender or disability were not measured" in text


def test_the_slices_of_an_evaluation_are_those_of_its_candidates() -> None:
    """Test and val are cut at the same edges, and the card has the table."""
    dark = [
        ScoredPrediction("a", "b", 0.9, "ok", (), None, {}, 0.0, attributes={"brightness": 0.1})
    ] * 40
    bright = [replace(each, predicted="a", attributes={"brightness": 0.8}) for each in dark]
    cut = SliceDefinition(attribute="brightness", edges=(0.3, 0.6))
    measured = Measured(
        *(BUNDLE, {"val": bright, "test": [*dark, *bright]}, [], LATENCY, COST, None),
        slices=(cut,),
    ).measurements
    assert [(each.name, each.accuracy) for each in measured.slices] == [
        ("low", 0.0), ("middle", None), ("high", 1.0),
    ]  # fmt: skip
    assert [each.examples for each in measured.val_slices] == [0, 0, 40]
    metrics = BundleMetrics(**dict(measured))
    text = card(tasks.load("gesture"), BUNDLE.manifest, metrics, {"train": {"a": 3}}, "CC BY 4.0")
    assert "| brightness | low (up to 0.3) | 40 | 0.000 | 0.000 to 0.088 |" in text
    assert "| brightness | middle (0.3 to 0.6) | 0 |  | too few |" in text
    assert "## Rights\n\nCC BY 4.0\n" in text
    assert "no measure of a skin tone" in text
    assert "Of 1 of its slices the test split has too few examples." in text
