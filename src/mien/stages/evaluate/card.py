"""What an evaluation leaves in a bundle: the reference for monitoring, the card, the figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.model import bundle
from mien.observability import drift
from mien.observability.drift import Row
from mien.reporting import figures, scores
from mien.reporting.scores import Answer
from mien.task import DataReport

from .measuring import LEAK_FREE, Measured


def reference(
    answers: Sequence[Answer], labels: Sequence[str], report: DataReport
) -> dict[str, Any]:
    """What monitoring compares live traffic with: distributions of the validation split, and
    what the training data was."""
    rows = [Row(each.said, each.confidence, each.input_stats) for each in answers]
    passed = {each.name: 1 - each.count / max(each.total, 1) for each in report.checks}
    training = {"examples": report.counts, "completeness": passed}
    return {**drift.reference(rows, labels), "training": training}


def card(manifest: bundle.Manifest) -> str:
    """The bundle in words: what it is, how it was measured, where it comes from."""
    test, code_of = manifest.metrics["test"], manifest.lineage.get("code", {})
    rows = "\n".join(
        f"| {row['candidate']} | {row['val']['macro_f1']:.4f} | {row['test']['macro_f1']:.4f} | "
        f"{row['test']['accuracy']:.4f} | {row['bundle_mb']:.2f} | {row['fault'] or 'kept'} |"
        for row in manifest.metrics["leaderboard"]
    )
    training = json.dumps(manifest.lineage.get("training", {}), indent=1, sort_keys=True)
    return (
        f"# {manifest.task}: {manifest.candidate}\n\n"
        f"Answers with one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}.\n\n"
        f"On the test split ({test['examples']:.0f} examples): accuracy {test['accuracy']:.4f}, "
        f"macro-F1 {test['macro_f1']:.4f}, nothing found in {test['miss_rate']:.2%}, "
        f"expected calibration error {test['calibration_error']:.4f}. {_free(manifest)}\n\n"
        "| candidate | val macro-F1 | test macro-F1 | test accuracy | MB | limits |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\n"
        f"Code {code_of.get('commit')} (uncommitted changes: {code_of.get('dirty')}), "
        f"data {manifest.lineage.get('data_fingerprint')}, "
        f"config {manifest.lineage.get('config_sha256')}, seed {manifest.lineage.get('seed')}.\n\n"
        f"Training:\n\n```json\n{training}\n```\n"
    )


def draw(measured: Measured, folder: Path) -> None:
    """Confusion, F1 by class, reliability and the training's history as pictures."""
    labels = measured.bundle.manifest.labels
    pairs = [(each.truth, each.said) for each in measured.answers["test"]]
    matrix = scores.confusion(pairs, labels)
    figures.confusion(matrix, labels, folder / "confusion.png")
    figures.classes(scores.per_class(matrix)["f1"], labels, folder / "classes.png")
    figures.reliability(scores.reliability(measured.answers["test"]), folder / "reliability.png")
    steps = json.loads((measured.bundle.folder / "history.json").read_text())
    if steps:
        figures.history(steps, folder / "history.png")


def _free(manifest: bundle.Manifest) -> str:
    test, free = manifest.metrics["test"], manifest.metrics.get(LEAK_FREE)
    if free is None:
        return "The data were not checked for copies across splits."
    leaked = test["examples"] - free["examples"]
    if not free["examples"]:
        return "Every one of them has a copy, exact or near, in the training split."
    if not leaked:
        return "None of them has a copy, exact or near, in the training split."
    return (
        f"{leaked:.0f} of them have a copy, exact or near, in the training split; without these: "
        f"accuracy {free['accuracy']:.4f}, macro-F1 {free['macro_f1']:.4f}."
    )
