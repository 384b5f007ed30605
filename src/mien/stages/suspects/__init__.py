"""Which labels of a version are probably wrong, and a new version with corrected ones.

    version -> task.inspect + task.label_features -> out-of-fold scores -> ranking
               reports/<task>/suspects_<version>.csv, suspects_<version>.html
    version + corrected CSV -> task.repair -> new version

The old version stays as it was, and every sample stays in its split.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.reporting import console
from mien.stages import Run
from mien.storage.files import atomic_write
from mien.storage.versions import OPEN, Version
from mien.task import Inspection, RepairPlan, Sample

from . import label_quality, page, ranking
from .ranking import Suspect


@dataclass(frozen=True)
class Suspects:
    """All labels that could be judged, the most suspect first, and the files that list them."""

    ranked: tuple[Suspect, ...]
    unjudged: int
    """Labelled samples without features, or of a label with too few samples."""
    csv: Path
    page: Path


def suspects(run: Run, version: Version) -> Suspects:
    """Rank the labels of a version; write the ranking and a page of the most suspect ones.

    Raises:
        DataError: the task has no features for it, the data cannot be read, fewer than two labels
            can be judged, or the ranking of before was changed.
    """
    if run.task.data.label_features is None:
        raise DataError(
            f"The task {run.task.name} cannot rank its labels: expected label_features in its "
            "TaskData, found none. Add a function that turns samples into numbers."
        )
    csv = run.reports / f"suspects_{version.number}.csv"
    html = csv.with_suffix(".html")
    with run.store.unpacked(version) as raw:
        inspection = run.task.data.inspect(raw, run.data_params, run.cache)
        labelled = [each for each in inspection.samples if each.labels]
        features = run.task.data.label_features(labelled)
        ranked = rank(labelled, features, run.config.seed)
        text = ranking.to_csv(ranked)
        _require_unchanged(csv, text)
        title = f"{run.task.name}, version {version.number} ({version.short})"
        skeleton = run.task.inference.skeleton
        rendered = page.render(title, csv.name, ranked, inspection.samples, skeleton)
    for path, content in ((csv, text), (html, rendered)):
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return Suspects(tuple(ranked), len(labelled) - len(ranked), csv, html)


def rank(samples: Sequence[Sample], features: NDArray[np.float32], seed: int) -> list[Suspect]:
    """Judge the first label of each sample that has features; the most suspect one first.

    Raises:
        DataError: fewer than two labels have enough samples.
    """
    usable = [bool(np.isfinite(row).all()) for row in features]
    counts = Counter(each.labels[0] for each, fine in zip(samples, usable, strict=True) if fine)
    judged = sorted(name for name, n in counts.items() if n >= label_quality.MIN_SAMPLES)
    if len(judged) < 2:
        raise DataError(
            f"expected two labels with {label_quality.MIN_SAMPLES} samples each, found "
            f"{len(judged)}. Add samples."
        )
    indices = [i for i, each in enumerate(samples) if usable[i] and each.labels[0] in judged]
    chosen = [samples[index] for index in indices]
    classes = np.array([judged.index(each.labels[0]) for each in chosen], dtype=np.int64)
    groups = [each.person or each.digest for each in chosen]
    scores = label_quality.out_of_fold_scores(features[indices], classes, groups, seed)
    quality = label_quality.self_confidence(scores, classes)
    others = scores.copy()
    others[np.arange(len(classes)), classes] = -1
    suggested = [judged[best] for best in others.argmax(axis=1)]
    margin = label_quality.normalized_margin(scores, classes)
    return [
        Suspect(
            chosen[index].name,
            chosen[index].split or "",
            chosen[index].labels[0],
            suggested[index],
            float(quality[index]),
        )
        for index in np.lexsort((margin, quality))
    ]


def relabel(run: Run, version: Version, corrections: Path) -> Version:
    """Make a new version with the labels of a corrected ranking, and print what changed.

    Raises:
        DataError: the file names samples or labels that the version lacks, no label differs, or
            the task could not write these labels.
    """
    store, task, params = run.store, run.task, run.data_params
    labels = ranking.read_labels(corrections)
    with (
        store.unpacked(version) as raw,
        TemporaryDirectory(prefix=f"{OPEN}relabel.", dir=store.folder) as temporary,
    ):
        before = task.data.inspect(raw, params, run.cache)
        changes = ranking.changes(before, labels, task.default_labels, corrections)
        out = Path(temporary)
        plan = RepairPlan(relabel={name: new for name, (_, new) in changes.items()}, repair=False)
        task.data.repair(raw, out, plan, params, run.cache)
        _require_relabelled(task.name, before, task.data.inspect(out, params, run.cache), plan)
        pairs = Counter(changes.values())
        relabelled = store.add_folder(out, f"relabelled: {len(changes):,} samples", version)
    rows = [[old, new, f"{count:,}"] for (old, new), count in pairs.most_common()]
    console.table("Corrected labels", ["from", "to", "samples"], rows)
    console.result(
        f"version {relabelled.number} ({relabelled.short}) is version {version.number}, "
        f"{relabelled.reason}"
    )
    console.result(f"See what changed: mien data diff {task.name} {version.number}")
    return relabelled


def _require_unchanged(csv: Path, text: str) -> None:
    """Do not write over corrections."""
    if csv.is_file() and csv.read_text(encoding="utf-8", errors="replace") != text:
        raise DataError(
            f"{csv}: expected the ranking of this version, found another content, perhaps your "
            "corrections. Apply them with `mien data relabel`, or move the file away."
        )


def _require_relabelled(task: str, before: Inspection, after: Inspection, plan: RepairPlan) -> None:
    """The copy holds the same contents in the same splits, with the new labels."""
    expected = Counter(
        _state(each, (plan.relabel[each.name], *each.labels[1:]))
        if each.name in plan.relabel
        else _state(each, each.labels)
        for each in before.samples
    )
    found = Counter(_state(each, each.labels) for each in after.samples)
    if expected != found:
        raise DataError(
            f"The task {task} cannot write these labels: {(expected - found).total():,} samples "
            "would have another label, split, person or content than expected. Nothing was stored. "
            "Correct the labels in the source."
        )


def _state(sample: Sample, labels: tuple[str, ...]) -> tuple[object, ...]:
    return sample.digest, tuple(sorted(labels)), sample.split, sample.person
