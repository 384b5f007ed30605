"""Promises of the evaluate stage that need no training: the reference, and what takes part."""

import json
from pathlib import Path

import pytest

from mien import drift
from mien.drift import Row
from mien.scores import Answer
from mien.stages import evaluate
from mien.task import Check, DataReport

REPORT = DataReport(
    counts={"train": {"a": 70, "b": 20}, "val": {"a": 101, "b": 0}, "test": {"a": 9, "b": 3}},
    checks=(Check("blurred", 5, 100, "hard to see"), Check("empty", 0, 0, "there were none")),
)


def answers(count: int = 101) -> list[Answer]:
    """Rising brightness and confidence, and one picture in which nothing was found."""
    found = [
        Answer("a", "a", place / 100, "ok", (), None, {"brightness": place / 100}, 0.0)
        for place in range(count)
    ]
    return [*found, Answer("b", None, 0.0, "no_face", (), None, {}, 0.0)]


def test_the_reference_counts_what_was_said_in_bins() -> None:
    """Monitoring compares traffic with these numbers: of what was said, not of what is true."""
    found = evaluate.reference(answers(), ("a", "b"), REPORT)
    quantities = found["quantities"]
    assert found["rows"] == 102
    assert quantities["label"] == {"values": ["a", "b", "none"], "counts": [101, 0, 1]}
    deciles = pytest.approx([place / 10 for place in range(1, 10)])
    assert quantities["confidence"]["edges"] == quantities["brightness"]["edges"] == deciles
    assert sum(quantities["brightness"]["counts"]) == 101
    assert set(found["thresholds"]["1000"]) == {"label", "confidence", "brightness"}


def test_the_reference_tells_what_the_training_data_was() -> None:
    """Counts by split and label, and the share that passed each check; of nothing, all passed."""
    training = evaluate.reference(answers(), ("a", "b"), REPORT)["training"]
    assert training["examples"] == REPORT.counts
    assert training["completeness"] == {"blurred": 0.95, "empty": 1.0}


def test_the_reference_is_read_back_as_it_was(tmp_path: Path) -> None:
    """What a server compares with is what evaluation counted."""
    made = evaluate.reference(answers(), ("a", "b"), REPORT)
    evaluate._write_json(tmp_path / "reference.json", made)
    read = json.loads((tmp_path / "reference.json").read_text(encoding="utf-8"))
    live = [Row(each.said, each.confidence, each.measures) for each in answers(300)]
    assert drift.compare(live, read) == drift.compare(live, made)
    assert drift.shares(read)["a"] == pytest.approx(101 / 102)
