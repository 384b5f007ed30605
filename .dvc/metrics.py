"""What `dvc metrics` shows of a run: the choice of its newest evaluation, and its scores.

    python .dvc/metrics.py TASK RUN

Written anew each time: an evaluation that was there already is not published again.
"""

import json
import sys
from pathlib import Path

SCORES = ("accuracy", "macro_f1", "map50_95", "calibration_error")


def main(task: str, run: str) -> None:
    """Write reports/TASK/metrics.json in the current folder, the root of the workspace."""
    evaluated = Path("models", task, "evaluated")
    folder = evaluated / (evaluated / f"{run}.latest").read_text(encoding="utf-8").strip()
    told = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    row = next(each for each in told["candidates"] if each["candidate"] == told["choice"])
    found = {
        "choice": told["choice"],
        **{
            split: {name: row[split][name] for name in SCORES if name in row[split]}
            for split in ("val", "test")
        },
        "cpu_cost": row["cpu_cost"]["median"],
        "bundle_mb": row["bundle_mb"],
    }
    path = Path("reports", task, "metrics.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link into DVC's cache
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
