"""Confidence, `unsure` and hands without a gesture, on real data.

The emotion model is that of `bench emotion`, whose workspace is kept below build/: without one it
is skipped, and said so. Gestures are trained here, and once more for each gesture that is left out.
"""

import tempfile
from pathlib import Path

import numpy as np

from bench import page
from bench.emotion import FAILED
from mien import config, pipeline, tasks
from mien.config import CheckConfig, Policy, RunConfig
from mien.errors import MienError
from mien.model import runtime
from mien.model.evaluation import CandidateScores, Evaluation
from mien.model.runtime import Model
from mien.storage.workspace import DATA, Workspace, read_latest
from mien.task import Prediction
from mien.tasks.gesture import data, landmarks
from mien.tasks.gesture.rejection_training import fit_rejection

TARGET = 0.05
"""Expected calibration error that is aimed at."""
MAX_LOST = Policy().max_rejected
"""Share of the validation hands of the other gestures that a threshold may cost."""


def main() -> None:
    """Train the gesture model, score both champions, and leave out one gesture after the other."""
    source = page.real_data() / "gesture"
    with tempfile.TemporaryDirectory() as folder:
        home = Workspace(Path(folder))
        run = tasks.run_config("gesture")
        run = run.model_copy(update={"source": str(source / "landmarks_iti.csv")})
        pipeline.run(run, home, "bench")
        parts = [*_calibration("gesture", run, home), "## Hands that show no gesture"]
        with runtime.load(home.version("gesture", home.aliases("gesture")["champion"])) as model:
            parts.append(_photos(model, source / "photos"))
        parts.append(_left_out(_processed(run, home), run.seed))
        drawn = _sample(Path(folder) / "sample", source / "photos")
        parts += ["## The model of drawn hands", drawn]
    parts += _emotion()
    page.write("calibration", "Confidence and unsure", parts)


def _processed(run: RunConfig, home: Workspace) -> Path:
    trained = read_latest(home.trained(run.task), run.name, "")
    return home.processed(run.task) / (trained / DATA).read_text(encoding="utf-8").strip()


def _emotion() -> list[str]:
    home = Workspace(config.settings().home / "build" / "bench-emotion")
    run = tasks.run_config("emotion")
    source = page.real_data() / "emotion" / "affectnet_yolo.zip"
    levels = dict.fromkeys(FAILED, CheckConfig(level="warn"))
    run = run.model_copy(update={"source": str(source), "checks": levels})
    try:
        read_latest(home.trained("emotion"), run.name, "")
    except MienError:
        return [
            "## emotion",
            "NOT MEASURED: train the model with `python3 tasks.py bench emotion`.",
        ]
    pipeline.run(run, home, "bench")
    return _calibration("emotion", run, home)


def _calibration(task: str, run: RunConfig, home: Workspace) -> list[str]:
    """Calibration error and what each limit on wrong answers costs, of a task's choice."""
    evaluation = Evaluation.read(read_latest(home.evaluated(task), run.name, ""))
    row = evaluation.chosen
    if row is None:
        return [f"## {task}", "No candidate keeps the limits of the policy."]
    return [
        f"## {task}",
        page.table([_errors(each) for each in evaluation.candidates]),
        f"The choice is {row.candidate}: {row.decision.sentence}.",
        page.table(
            [
                {
                    "wrong at most": f"{each.max_risk:.0%}",
                    "threshold": each.min_confidence if each.min_confidence is not None else "none",
                    "val answered": each.val_coverage,
                    "val wrong": each.val_risk,
                    "test answered": each.test_coverage,
                    "test wrong": each.test_risk,
                }
                for each in row.risk_coverage
            ]
        ),
    ]


def _errors(row: CandidateScores) -> dict[str, object]:
    return {
        "candidate": row.candidate,
        "test accuracy": row.test.accuracy,
        "calibration error before": row.raw_calibration_error,
        "after": row.test.calibration_error,
        f"at most {TARGET}": "yes" if row.test.calibration_error <= TARGET else "NO",
        "answered on test": row.test.coverage,
        "wrong among these": row.test.risk,
    }


def _photos(model: Model, folder: Path) -> str:
    """Photos without a gesture, and the photos with one, through the function that serves."""
    task = tasks.load("gesture")
    counts: dict[str, list[str]] = {}
    lost = right = 0
    for path in sorted(folder.rglob("*.jpg")):
        prediction: Prediction = task.inference.predict(task.inference.open(path), model)
        truth = path.parent.name
        kind = "without a gesture" if truth == "no_gesture" else "with a gesture"
        counts.setdefault(kind, []).append(prediction.outcome)
        if prediction.best and prediction.best.label == truth:
            right += 1
            lost += prediction.outcome == "unsure"
    rows = [
        {
            "photos": kind,
            "number": len(each),
            **{name: each.count(name) for name in ("ok", "unsure", "no_hand")},
            "not `ok`": 1 - each.count("ok") / len(each),
        }
        for kind, each in counts.items()
    ]
    return (
        f"{page.table(rows)}\n\nOf {right} photos whose best hand is named right, {lost} "
        f"({lost / max(1, right):.1%}) are `unsure`."
    )


def _sample(folder: Path, photos: Path) -> str:
    """The model that the demo trains and `mien pull gesture` makes, on the photos of people."""
    home = Workspace(folder)
    pipeline.run(tasks.run_config("sample_gesture"), home, "bench")
    with runtime.load(home.version("gesture", home.aliases("gesture")["champion"])) as model:
        return _photos(model, photos)


def _left_out(ready: Path, seed: int) -> str:
    """Each gesture left out of the training: how many of its hands are rejected, all splits."""
    splits = {name: data.read_split(ready, name) for name in ("train", "val", "test")}
    rows = []
    for label in data.read_labels(ready):
        others, unseen = {}, []
        for name, table in splits.items():
            features, own = landmarks.normalize(table.landmarks), np.array(table.labels) == label
            others[name], names = features[~own], np.array(table.labels)[~own]
            unseen.append(features[own])
            if name == "train":
                classes = np.unique(names, return_inverse=True)[1].astype(np.int64)
        model = fit_rejection(others["train"], classes, seed)
        threshold = float(np.quantile(model.novelty(others["val"]), 1 - MAX_LOST))
        rejected = model.novelty(np.concatenate(unseen)) > threshold
        lost = model.novelty(others["test"]) > threshold
        rows.append((label, len(rejected), rejected.mean(), lost.mean()))
    means = [float(np.mean([row[index] for row in rows])) for index in (2, 3)]
    cells: list[dict[str, object]] = [
        {"left out": label, "hands": count, "rejected": hit, "lost of the others (test)": cost}
        for label, count, hit, cost in rows
    ]
    cells.append({"left out": "mean", "rejected": means[0], "lost of the others (test)": means[1]})
    return (
        "One gesture after the other is left out of the training of the rejection model; its "
        f"threshold costs {MAX_LOST:.1%} of the validation hands of the others.\n\n"
        f"{page.table(cells)}"
    )


if __name__ == "__main__":
    main()
