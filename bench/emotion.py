"""The emotion task trained from scratch on the real set, by the committed config. About 25 minutes.

The workspace is kept below build/, so that an interrupted bench resumes.
"""

import json
import shutil
from pathlib import Path

from bench import page
from mien import config, pipeline
from mien.config import CheckConfig
from mien.model import bundle
from mien.model.evaluation import Evaluation
from mien.storage.workspace import Workspace, read_latest

MARK = 0.475
"""Test accuracy of HOG features with PCA and an SVC on the same split (from the data's notes)."""

FAILED = ("split_leakage", "whole_image_box")
"""Checks that the shipped data set fails; published scores are measured on it as it is."""
EARLIER = (
    "One training with one seed. The same recipe at commit 01145cc, on another processor, gave "
    "accuracy 0.597 and macro-F1 0.595 on test, 0.591 and 0.586 on val. That commit, run again on "
    "the machine of this page, repeats the first six epochs of this training to the last digit: "
    "the difference comes from rounding in another order. The third digit of such a score is "
    "noise, and the second is uncertain."
)
SPLITS = {"val": "val", "test": "test", "test_leak_free": "test, without copies of train"}


def main() -> None:
    """Train, evaluate, and write the scores, the learning curve and what it cost."""
    home = Workspace(config.settings().home / "build" / "bench-emotion")
    run = config.load(page.ROOT / "configs" / "emotion.yaml")
    source = page.real_data() / "emotion" / "affectnet_yolo.zip"
    levels = dict.fromkeys(FAILED, CheckConfig(level="warn"))
    shipped = run.model_copy(update={"source": str(source), "checks": levels})
    report = pipeline.run(shipped, home, "bench")
    folder = read_latest(home.evaluated("emotion"), run.name, "")
    evaluation = Evaluation.read(folder)
    parts = [_scores(evaluation), EARLIER, _cost(report)]
    for row in evaluation.candidates:
        parts.append(_curve(folder / row.candidate, row.candidate))
    page.write("emotion", "Emotions on real data, from scratch on CPU", parts)


def _scores(evaluation: Evaluation) -> str:
    rows: list[dict[str, object]] = []
    for row in evaluation.candidates:
        for split, words in SPLITS.items():
            score = getattr(row, split)
            rows.append(
                {
                    "candidate": row.candidate,
                    "split": words,
                    "images": score.examples,
                    "accuracy": score.accuracy,
                    "macro-F1": score.macro_f1,
                    "mAP50": score.map50,
                    "mAP50-95": score.map50_95,
                    "miss rate": score.miss_rate,
                    "calibration error": score.calibration_error,
                }
            )
    return (
        f"`affectnet_yolo.zip` as shipped, exported ONNX model, best detection of each image. HOG "
        f"features with an SVC reach {MARK} on test. Every shipped box is the whole picture, so "
        "mAP measures the detection of the border and the label, not of the face.\n\n"
        f"{page.table(rows)}"
    )


def _cost(report: pipeline.RunReport) -> str:
    stages = [f"{k} {v:.0f}" for k, v in report.seconds.items() if k not in report.skipped]
    skipped = f" Skipped: {', '.join(report.skipped)}." if report.skipped else ""
    return f"Seconds: {', '.join(stages)}.{skipped}"


def _curve(folder: Path, candidate: str) -> str:
    opened = bundle.read(folder)
    history = json.loads((opened.folder / "history.json").read_text(encoding="utf-8"))
    target = page.ROOT / "reports" / "figures" / f"emotion_{candidate}_history.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(opened.folder / "figures" / "history.png", target)
    every = max(1, len(history) // 15)
    rows = [
        {
            "epoch": number,
            "phase": "pretraining" if step["pretraining"] else "detector",
            "training loss": step["train_loss"],
            "validation accuracy": step["val_accuracy"],
        }
        for number, step in enumerate(history, start=1)
        if number % every == 0 or number == len(history)
    ]
    return f"## Learning curve of {candidate}\n\n{page.table(rows)}"


if __name__ == "__main__":
    main()
