"""How many labels that were flipped at random are among the first suspects of `mien data suspects`.

`python3 tasks.py bench suspects` flips labels of real landmarks and ranks them by each method in
one run. Of real faces it counts which of the first suspects are copies of a face with another
label, and what was judged by eye of them: `suspects_by_eye.csv` has the verdicts of one look at the
first fifty faces, by one reader, who saw the given label.
"""

import csv
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import page
from mien.config import RunConfig
from mien.reporting.scores import wilson
from mien.stages import Run
from mien.stages.check.context import CheckContext, build_context
from mien.stages.data import fetch
from mien.stages.suspects import label_quality, rank
from mien.storage.workspace import Workspace
from mien.task import Sample

SEEDS = (0, 1, 2)
ROWS, FLIPPED, FIRST = 6000, 300, 400
TARGET = 0.9
FIRST_FACES = 50
BY_EYE = Path(__file__).with_name("suspects_by_eye.csv")
VERDICTS = ("wrong", "unclear", "right")


def main() -> None:
    """Rank both data sets, and write the page."""
    data = page.real_data()
    hands, faces = data / "gesture" / "landmarks_iti.csv", data / "emotion" / "affectnet_yolo.zip"
    with tempfile.TemporaryDirectory() as folder:
        parts = [*_hands(str(hands), Path(folder)), *_faces(str(faces), Path(folder))]
    page.write("suspects", "Wrong labels", parts)


def _hands(source: str, home: Path) -> list[str]:
    _, samples, features_of_all = _read("gesture", source, home)
    labels = sorted({each.labels[0] for each in samples})
    rows, lowest = [], dict.fromkeys(label_quality.METHODS, FLIPPED)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        indices = rng.choice(len(samples), ROWS, replace=False)
        chosen, features = [samples[index] for index in indices], features_of_all[indices]
        flipped = np.zeros(ROWS, bool)
        flipped[rng.choice(ROWS, FLIPPED, replace=False)] = True
        true = np.array([labels.index(each.labels[0]) for each in chosen])
        shift = rng.integers(1, len(labels), ROWS)
        given = np.where(flipped, (true + shift) % len(labels), true)
        groups = [each.person or each.digest for each in chosen]
        scores = label_quality.out_of_fold_scores(features, given, groups, seed)
        row: dict[str, object] = {"seed": seed}
        for name, method in label_quality.METHODS.items():
            first = np.argsort(method(scores, given), kind="stable")[:FIRST]
            hits = int(flipped[first].sum())
            lowest[name] = min(lowest[name], hits)
            row[name] = f"{hits} ({hits / FLIPPED:.1%})"
        guessed = scores.argmax(axis=1)[flipped] == true[flipped]
        row["true label of the flipped ones has the best score"] = f"{guessed.mean():.1%}"
        rows.append(row)
    met = {name: "met" if hits >= TARGET * FLIPPED else "missed" for name, hits in lowest.items()}
    verdicts = ", ".join(f"{name} {verdict}" for name, verdict in met.items())
    return [
        f"## {FLIPPED} flipped labels of {ROWS:,} hands",
        f"Rows of `landmarks_iti.csv`, drawn by the seed; {FLIPPED} of them got another of "
        f"{len(labels)} labels at random. How many of the flipped ones are among the first {FIRST} "
        f"suspects; the target is {TARGET:.0%} with each seed. All methods rank the same "
        "out-of-fold scores; `mien data suspects` ranks by self-confidence.",
        page.table(rows),
        f"Target, at the lowest of the seeds: {verdicts}.",
    ]


def _faces(source: str, home: Path) -> list[str]:
    context, samples, features = _read("emotion", source, home)
    first = [each.name for each in rank(samples, features, 0)[:FIRST_FACES]]
    rows = []
    for kind, clusters in (
        ("exact duplicates", context.duplicates),
        ("near duplicates", context.near_duplicates),
    ):
        conflicting = {
            context.samples[index].name
            for cluster in clusters
            if len({context.samples[index].labels[:1] for index in cluster}) > 1
            for index in cluster
        }
        rows.append(
            {
                "with another label": kind,
                f"of the first {FIRST_FACES}": len(conflicting.intersection(first)),
                f"of all {len(samples):,}": len(conflicting),
            }
        )
    return [
        "## Faces of AffectNet",
        "Suspects by the features of the task emotion that have a copy with another label, so that "
        "one of the two labels is wrong. No photo of the set may be published.",
        page.table(rows),
        _by_eye(first),
    ]


def _by_eye(first: Sequence[str]) -> str:
    """How many of the first suspects have which verdict."""
    with BY_EYE.open(newline="", encoding="utf-8") as stream:
        verdicts = {row["name"]: row["verdict"] for row in csv.DictReader(stream)}
    counts = Counter(verdicts[name] for name in first if name in verdicts)
    judged = counts.total()
    rows = []
    for verdict in VERDICTS:
        low, high = wilson(counts[verdict], judged)
        share = f"{counts[verdict] / judged:.0%} ({low:.0%} to {high:.0%})"
        rows.append({"given label": verdict, "faces": counts[verdict], "share": share})
    return (
        f"By eye, one reader who saw the given label: {judged} of the first {len(first)} suspects. "
        "These are opinions on faces, from a table in the repository, and no result of this "
        f"command.\n\n{page.table(rows)}"
    )


def _read(
    task: str, source: str, home: Path
) -> tuple[CheckContext, list[Sample], NDArray[np.float32]]:
    """What the checks see, the labelled samples, and their features."""
    config = RunConfig(name="bench", task=task, source=source)
    run = Run.resolve(config, Workspace(home))
    version, _ = fetch(run)
    assert run.task.data.label_features is not None
    with run.store.unpacked(version) as raw:
        context = build_context(run.task, raw, run.data_params, run.cache)
        samples = [each for each in context.samples if each.labels]
        return context, samples, run.task.data.label_features(samples)


if __name__ == "__main__":
    main()
