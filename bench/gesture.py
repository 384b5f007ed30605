"""The gesture task on real rows and photos, trained on real rows and on the project's sample."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import requests

from bench import page
from mien import config, pipeline, tasks
from mien.config import RunConfig
from mien.model import bundle
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace

TABLES = ("landmarks_photos.csv", "landmarks_crops12.csv", "landmarks_iti.csv")
NO_GESTURE = "no_gesture"


def main() -> None:
    """Train twice, score on the other tables, and send every photo through the server."""
    data = page.real_data() / "gesture"
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for source, name in ((str(data / "landmarks_iti.csv"), "iti"), ("sample", "sample")):
            home = Workspace(Path(folder) / name)
            run = tasks.run_config("gesture")
            run = run.model_copy(update={"source": source})
            report = pipeline.run(run, home, "bench")
            title = "landmarks_iti.csv" if name == "iti" else "the project's own sample"
            parts += [
                f"## Trained on {title}",
                _seconds(report),
                _score_on_tables(run, home, data, name),
            ]
            if name == "iti":
                parts += ["Photos, sent to the server as files:", photos(home, data)]
    page.write("gesture", "Gestures on real data", parts)


def photos(home: Workspace, data: Path) -> str:
    """Send every photo to the server: accuracy, fraction without a hand, latency."""
    files = sorted(path for path in (data / "photos").rglob("*") if path.is_file())
    settings = config.settings().model_copy(update={"port": 0})
    outcomes: Counter[str] = Counter()
    correct, seconds, without_gesture = [], [], Counter[str]()
    with serve.running(home, ["gesture"], [], settings) as address:
        for path in files:
            truth = path.parent.name
            with path.open("rb") as stream:
                response = requests.post(
                    f"{address}/predict/gesture", files={"file": stream}, timeout=60
                )
            response.raise_for_status()
            prediction = response.json()
            if truth == NO_GESTURE:
                without_gesture[prediction["outcome"]] += 1
                continue
            outcomes[prediction["outcome"]] += 1
            correct.append(prediction["gesture"] == truth)
            seconds.append(response.elapsed.total_seconds())
    count = len(correct)
    row = {
        "photos that show a gesture": count,
        "accuracy": float(np.mean(correct)),
        "no hand": float(outcomes["no_hand"] / count),
        "accuracy where a hand is detected": float(np.sum(correct) / (count - outcomes["no_hand"])),
        "p50 ms": float(np.percentile(seconds, 50) * 1000),
        "p95 ms": float(np.percentile(seconds, 95) * 1000),
        "photos without gesture": f"{sum(without_gesture.values())}: {dict(without_gesture)}",
    }
    return page.table([row])


def _score_on_tables(run: RunConfig, home: Workspace, data: Path, trained_on: str) -> str:
    rows: dict[str, dict[str, object]] = {}
    for name in TABLES:
        if trained_on in name:
            continue
        params = {**run.params, "convention": "auto"}
        if name == "landmarks_crops12.csv":
            params["aspect_ratio"] = 1.0  # the crops' proportions were never published
        other_run = run.model_copy(update={"source": str(data / name), "params": params})
        for candidate, score in pipeline.score_elsewhere(other_run, home).items():
            row = rows.setdefault(candidate, {"candidate": candidate})
            row[f"accuracy on {name}"] = score["accuracy"]
            row[f"macro-F1 on {name}"] = score["macro_f1"]
    champion = home.version("gesture", home.aliases("gesture")["champion"])
    own = bundle.read(champion).manifest
    for row in rows.values():
        row["champion"] = "yes" if row["candidate"] == own.candidate else ""
    return page.table(list(rows.values()))


def _seconds(report: pipeline.RunReport) -> str:
    return "Seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in report.seconds.items()) + "."


if __name__ == "__main__":
    main()
