"""What an evaluation leaves in a bundle: the reference for monitoring, the card, the figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.model import bundle
from mien.model.evaluation import BundleMetrics, MajorityComparison, Scores
from mien.observability import drift
from mien.observability.drift import DriftRow
from mien.reporting import figures, scores
from mien.reporting.details import reliability_bins
from mien.reporting.scores import ScoredPrediction

from .measuring import Measured

CARD = "card.md"
"""In a bundle, and for the choice in the task's reports."""


def reference(
    answers: Sequence[ScoredPrediction], labels: Sequence[str], training: Mapping[str, Any]
) -> dict[str, Any]:
    """What monitoring compares live traffic with: distributions of the validation split, and
    counts and completeness of the training data."""
    rows = [DriftRow(each.predicted, each.confidence, each.input_stats) for each in answers]
    return {**drift.make_reference(rows, labels), "training": training}


def card(manifest: bundle.Manifest, metrics: BundleMetrics) -> str:
    """The model card: what the model is, how it was measured, where it comes from."""
    test, origin = metrics.test, manifest.lineage
    rows = "\n".join(
        f"| {row.candidate} | {row.val.macro_f1:.4f} | {row.test.macro_f1:.4f} | "
        f"{row.test.accuracy:.4f} | {row.bundle_mb:.2f} | {row.fault or 'kept'} |"
        for row in metrics.leaderboard
    )
    training = json.dumps(origin.training, indent=1, sort_keys=True)
    return (
        f"# {manifest.task}: {manifest.candidate}\n\n"
        f"Answers with one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}.\n\n"
        f"trained_on: {origin.trained_on or 'unknown'}; the scores are on data of the same kind. "
        "Labels are expressions and gestures as people perceived them.\n\n"
        f"On the test split ({test.examples} examples): accuracy {test.accuracy:.4f}, "
        f"macro-F1 {test.macro_f1:.4f}, nothing found in {test.miss_rate:.2%}, "
        f"expected calibration error {test.calibration_error:.4f} "
        f"({metrics.raw_calibration_error:.4f} before calibration). "
        f"{_leak_free(test, metrics.test_leak_free)}{_majority(metrics.majority)}\n\n"
        f"{_unsure(manifest, test)}"
        "| candidate | val macro-F1 | test macro-F1 | test accuracy | MB | limits |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\n"
        f"Code {origin.code.commit} (uncommitted changes: {origin.code.dirty}), "
        f"data {origin.data_fingerprint}, config {origin.config_sha256}, seed {origin.seed}.\n\n"
        f"Measured on {metrics.processor}.\n\n"
        f"Training:\n\n```json\n{training}\n```\n"
    )


def draw(measured: Measured, folder: Path) -> None:
    """Confusion, F1 by class, reliability and the training's history as pictures."""
    labels = measured.bundle.manifest.labels
    pairs = [(each.truth, each.predicted) for each in measured.answers["test"]]
    matrix = scores.confusion(pairs, labels)
    figures.confusion(matrix, labels, folder / "confusion.png")
    figures.classes(scores.per_class(matrix)["f1"], labels, folder / "classes.png")
    before, after = (
        reliability_bins(each.get("test", ())) for each in (measured.uncalibrated, measured.answers)
    )
    figures.reliability(before, after, folder / "reliability.png")
    steps = json.loads((measured.bundle.folder / "history.json").read_text())
    if steps:
        figures.history(steps, folder / "history.png")


def _unsure(manifest: bundle.Manifest, test: Scores) -> str:
    if manifest.decision is None:
        return "Its confidence is not calibrated, and it never answers `unsure`.\n\n"
    return (
        f"Unsure: {manifest.decision.sentence}; on test {test.coverage:.1%} are answered with "
        f"{test.risk:.1%} wrong.\n\n"
    )


def _majority(majority: MajorityComparison | None) -> str:
    if majority is None or majority.has_learnt:
        return ""
    return f"\n\n**It has learnt nothing measurable**: {majority.sentence}."


def _leak_free(test: Scores, free: Scores | None) -> str:
    if free is None:
        return "The data were not checked for copies across splits."
    leaked = test.examples - free.examples
    if not free.examples:
        return "Every one of them has a copy, exact or near, in the training split."
    if not leaked:
        return "None of them has a copy, exact or near, in the training split."
    return (
        f"{leaked} of them have a copy, exact or near, in the training split; without these: "
        f"accuracy {free.accuracy:.4f}, macro-F1 {free.macro_f1:.4f}."
    )
