"""A gesture run that is over in seconds: few rows, one candidate, no pictures."""

import csv
from pathlib import Path

from mien.tasks.gesture.sample import landmark_rows
from mien.tasks.gesture.table import COLUMNS

NAME = "tiny"
CANDIDATE = "logistic_regression"
_ROWS = 8
"""Of each label: enough for all splits and for two folds."""
_CONFIG = """
task: gesture
source: {source}
params:
  candidates: [{candidate}]
  accept_images: false
  cv_folds: 2
"""


def write(folder: Path) -> Path:
    """Write `hands.csv` and a config of it; return the config."""
    hands, labels = landmark_rows(_ROWS, 3)
    with (folder / "hands.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*COLUMNS, "label"])
        for hand, label in zip(hands, labels, strict=True):
            writer.writerow([*hand.ravel().tolist(), label])
    path = folder / f"{NAME}.yaml"
    path.write_text(_CONFIG.format(source=folder / "hands.csv", candidate=CANDIDATE))
    return path
