"""What an evaluation leaves in a bundle: the reference for monitoring, the card, the figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.model import bundle
from mien.model.evaluation import BundleMetrics, MajorityComparison, Scores, SliceScores
from mien.observability import drift
from mien.observability.drift import DriftRow
from mien.reporting import figures, model_card, scores, slices
from mien.reporting.details import reliability_bins
from mien.reporting.scores import ScoredPrediction
from mien.task import Task

from .measuring import Measured

_NO_RIGHTS = (
    "Not stated: the config has no `rights`. Who passes the model on must know the licence of the "
    "data, and of the weights that the training started from, below."
)
_RIGHTS_OF_DRAWINGS = (
    "The data are drawings that mien makes, under its own licence, Apache-2.0. The weights that "
    "the training started from, if any, are below with their licences."
)


def reference(
    answers: Sequence[ScoredPrediction], labels: Sequence[str], training: Mapping[str, Any]
) -> dict[str, Any]:
    """What monitoring compares live traffic with: distributions of the validation split, and
    counts and completeness of the training data."""
    rows = [DriftRow(each.predicted, each.confidence, each.input_stats) for each in answers]
    return {**drift.make_reference(rows, labels), "training": training}


def card(
    task: Task[Any],
    manifest: bundle.Manifest,
    metrics: BundleMetrics,
    counts: Mapping[str, Mapping[str, int]],
    rights: str,
) -> str:
    """The model card: what the model is for, how it was measured, where it comes from.

    Args:
        task: whose uses are stated.
        manifest: of the evaluated bundle.
        metrics: of the same.
        counts: of the prepared data, by split and label.
        rights: as the config states them.
    """
    origin = manifest.lineage
    is_drawn = origin.trained_on == "synthetic"
    training = json.dumps(origin.training, indent=1, sort_keys=True)
    sections = {
        "Data": (
            f"trained_on: {origin.trained_on or 'unknown'}; the scores are on data of the same "
            f"kind. Version {origin.data_fingerprint}: {_counts(counts)}."
        ),
        "Rights": rights or (_RIGHTS_OF_DRAWINGS if is_drawn else _NO_RIGHTS),
        "Measured": _measured(manifest, metrics),
        "Limits": _limits(manifest, metrics),
        "Where it comes from": (
            f"Code {origin.code.commit} (uncommitted changes: {origin.code.dirty}), "
            f"config {origin.config_sha256}, seed {origin.seed}. "
            f"Measured on {metrics.processor}.\n\n"
            f"Training:\n\n```json\n{training}\n```"
        ),
    }
    answers = f"Answers with one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}."
    return model_card.render(task, manifest.candidate, answers, sections)


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{sum(labels.values()):,} in {split}" for split, labels in counts.items())


def _measured(manifest: bundle.Manifest, metrics: BundleMetrics) -> str:
    test = metrics.test
    rows = "\n".join(
        f"| {row.candidate} | {row.val.macro_f1:.4f} | {row.test.macro_f1:.4f} | "
        f"{row.test.accuracy:.4f} | {row.bundle_mb:.2f} | {row.fault or 'kept'} |"
        for row in metrics.leaderboard
    )
    return (
        f"On the test split ({test.examples} examples): accuracy {test.accuracy:.4f}, "
        f"macro-F1 {test.macro_f1:.4f}, nothing found in {test.miss_rate:.2%}, "
        f"expected calibration error {test.calibration_error:.4f} "
        f"({metrics.raw_calibration_error:.4f} before calibration). "
        f"{_leak_free(test, metrics.test_leak_free)}{_majority(metrics.majority)}\n\n"
        f"{_unsure(manifest, test)}"
        "| candidate | val macro-F1 | test macro-F1 | test accuracy | MB | limits |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\n"
        f"{_slices(metrics.slices)}"
    )


def _slices(measured: Sequence[SliceScores]) -> str:
    if not measured:
        return "Slices: none; nothing that is known of the training examples divides them."
    return (
        "Slices of the test split, defined by the training data: the thirds of a number, the "
        "frequent values of a word. subject_brightness is the brightness of the region of the "
        "subject, such as a face: it depends on light, camera and skin, and is no measure of a "
        f"skin tone.\n\n{slices.table(measured)}"
    )


def _limits(manifest: bundle.Manifest, metrics: BundleMetrics) -> str:
    few = sum(each.accuracy is None for each in metrics.slices)
    more = f" Of {few} of its slices the test split has too few examples." if few else ""
    synthetic = manifest.lineage.trained_on == "synthetic"
    drawn = " It knows drawings only, and is often wrong on photos." if synthetic else ""
    return model_card.GROUPS + more + drawn


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
