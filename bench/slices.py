"""Accuracy by slice on real data: faces of AffectNet and hands of photos.

The models are those of `bench estimate`, so the first of the two benches trains the one of faces.
"""

import tempfile
from itertools import chain
from pathlib import Path

from bench import emotion, estimate, page
from mien import tasks
from mien.config import RunConfig
from mien.model import runtime
from mien.reporting import slices
from mien.stages import Run
from mien.stages.data import fetch, prepare
from mien.stages.evaluate.measuring import predict_split
from mien.storage.workspace import Workspace
from mien.task import SPLITS


def main() -> None:
    """Train what is not there, and write the slices of both."""
    test = emotion.train(estimate.CANDIDATE).scores
    parts = [
        "As [`mien evaluate`](../training.md#slices) measures it.",
        "## emotion",
        f"{estimate.CANDIDATE} of `bench emotion` on the test split of `affectnet_yolo.zip` as "
        "shipped, cut at the thirds of its training data. Each box is the whole picture, so there "
        "are no slices by the size and the brightness of the face. "
        f"All {test.test.examples}: accuracy {test.test.accuracy:.3f}.",
        slices.table(test.slices),
        "## gesture",
        *_hands(page.real_data() / "gesture"),
    ]
    page.write("slices", "Accuracy by slice", parts)


def _hands(folder: Path) -> list[str]:
    """Hands of photos, which the model was not trained on and which say more of each hand."""
    task = tasks.load("gesture")
    with tempfile.TemporaryDirectory() as name:
        home = Workspace(Path(name))
        champion = estimate.gesture_champion(folder, home)
        photos = RunConfig(
            name="slices", task="gesture", source=str(folder / "landmarks_photos.csv")
        )
        run = Run.resolve(photos, home)
        ready = prepare(run, fetch(run)[0]).folder
        examples = chain.from_iterable(task.data.examples(ready, split) for split in SPLITS)
        with runtime.load(champion) as model:
            answers = predict_split(task, model, examples, "hands of photos")
    definitions = slices.define(each.attributes for each in answers)
    right = sum(each.predicted == each.truth for each in answers)
    return [
        "An SVM trained on `landmarks_iti.csv`, on all rows of `landmarks_photos.csv`: other "
        "photos, cut at their own thirds. "
        f"All {len(answers):,}: accuracy {right / len(answers):.3f}.",
        slices.table(slices.measure(answers, definitions)),
    ]


if __name__ == "__main__":
    main()
