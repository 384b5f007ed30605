"""Pictures of the walk-through of the loop: reports/figures/loop_*.png.

    python3 tasks.py bench loop

Takes minutes: a model is trained on drawn hands, fists that are tilted away are answered, labelled
and learned. Everything lies in a temporary folder.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from playwright.sync_api import expect
from pydantic import SecretStr

from bench.page import ROOT
from mien import pipeline, tasks
from mien.config import RunConfig, Settings
from mien.model import runtime
from mien.pipeline import retraining
from mien.reporting import console, figures
from mien.stages import review
from mien.stages.review import server
from mien.storage.workspace import Workspace
from mien.task import Example, Prediction, Request
from mien.tasks.gesture.params import HAGRID_LABELS, Body
from mien.tasks.gesture.sample import landmark_rows, write_sample

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the browser, and keep samples
import browser
from reviewed import KEY, keep_hands

from mien.observability.review.store import ReviewStore

FIGURES = ROOT / "reports" / "figures"
CHANGED, SHOWN, PER_LABEL = "fist", 6, 40
TILT = (1.5, 0.4, 1.0)


def main() -> None:
    """Train, answer, label, train again, and draw the answers before and after."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        settings = Settings().model_copy(update={"review_key": SecretStr(KEY)})
        drawn, quick = workspace.home / "drawn", {"candidates": ["logistic_regression"]}
        write_sample(drawn, 0, PER_LABEL)
        run = RunConfig(name="loop", task="gesture", source=str(drawn), params=quick)
        pipeline.run(run, workspace, force="bench")
        hands = tilted_hands(80, 1000)
        labels = [CHANGED] * len(hands)
        keep_hands(ReviewStore(workspace.review, KEY), hands, labels, known=HAGRID_LABELS)
        draw_review(workspace, settings)
        done = retraining.retrain("gesture", workspace, settings)
        shown = [*ask(workspace, done.champion), *ask(workspace, done.version)]
        skeleton = tasks.load("gesture").inference.skeleton
        title = [f"tilted fists: version {done.champion} above", f"version {done.version} below"]
        figures.samples(shown, title, FIGURES / "loop_answers.png", skeleton)
        console.result("drawn: reports/figures/loop_answers.png")


def tilted_hands(per_label: int, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Fists that are tilted away from the camera."""
    hands, labels = landmark_rows(per_label, seed)
    fists = hands[[label == CHANGED for label in labels]]
    return fists[:, :1] + (fists - fists[:, :1]) * TILT


def ask(workspace: Workspace, version: int) -> list[tuple[Example, Prediction]]:
    """What a version answers for fists that nobody has reviewed."""
    task = tasks.load("gesture")
    requests = [Request(body=Body(landmarks=each)) for each in tilted_hands(SHOWN, 2000).tolist()]
    with runtime.load(workspace.version("gesture", version)) as model:
        predictions = task.inference.predict_many(requests, model)
    return [
        (Example(each, CHANGED), said) for each, said in zip(requests, predictions, strict=True)
    ]


def draw_review(workspace: Workspace, settings: Settings) -> None:
    """The page of a second reviewer, who has labelled nothing yet."""
    opened = review.session(workspace, settings, "bob")
    with (
        server.listening(opened, 0) as (listener, address),
        browser.running() as chromium,
    ):
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        with browser.visiting(chromium, address, 1000, False) as visit:
            expect(visit.page.locator("#suggestion")).not_to_be_empty()
            visit.page.locator("#review").screenshot(path=FIGURES / "loop_review.png")
        listener.shutdown()
    console.result("drawn: reports/figures/loop_review.png")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
