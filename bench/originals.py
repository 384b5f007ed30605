"""The models behind the champions before their export: what the obvious stack would serve.

The detector's torch weights lie beside the trained bundles (`work/`). The classifier's estimator
is not kept by a training; it is fitted anew from the same prepared data with the same settings and
seed, which gives the same one. Both are looked up by what the champion's bundle tells of itself.
"""

import json
import pickle
import shutil
from pathlib import Path

from bench.rivals.champions import folder
from mien import config
from mien.errors import MienError
from mien.model import bundle
from mien.model.bundle import Manifest
from mien.storage.workspace import DATA, WORK, Workspace
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.predict import LANDMARKER

WEIGHTS, CLASSIFIER, FACTS = "best.pt", "classifier.pkl", "facts.json"


def write(out: Path) -> None:
    """Leave weights, classifier, hand landmarker and facts in `out`, unless they are there.

    Raises:
        MienError: the training's work folder or its prepared data are gone.
    """
    if (out / FACTS).is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    emotion, gesture = (bundle.read(folder(task)) for task in ("emotion", "gesture"))
    work = _trained("emotion", emotion.manifest) / WORK / emotion.manifest.candidate / "work"
    shutil.copyfile(work / WEIGHTS, out / WEIGHTS)
    shutil.copyfile(gesture.folder / LANDMARKER, out / LANDMARKER)
    (out / CLASSIFIER).write_bytes(pickle.dumps(_fitted(gesture.manifest)))
    facts = {
        "size": emotion.manifest.candidate,
        "side": emotion.manifest.preprocessing["input_size"],
        "emotions": emotion.manifest.labels,
        "gestures": gesture.manifest.labels,
        "floor": emotion.manifest.preprocessing["min_confidence"],
    }
    (out / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _fitted(manifest: Manifest) -> tuple[object, tuple[int, ...]]:
    """The estimator, and the places of its classes among the labels."""
    from mien.tasks.gesture import train

    origin, home = manifest.lineage.config, Workspace(config.settings().home)
    name = (_trained("gesture", manifest) / DATA).read_text(encoding="utf-8").strip()
    params = config.parse(Params, origin["params"], "the bundle's lineage")
    found = train.train_classifier(
        manifest.candidate, home.processed("gesture") / name, params, int(origin["seed"])
    )
    return found.estimator, found.present


def _trained(task: str, manifest: Manifest) -> Path:
    """The folder of the training that gave these very ONNX bytes."""
    home = Workspace(config.settings().home)
    wanted = manifest.files["model.onnx"].sha256
    for found in sorted(home.trained(task).glob(f"*/{manifest.candidate}")):
        if bundle.read(found).manifest.files["model.onnx"].sha256 == wanted:
            return found.parent
    raise MienError(
        f"There is no training in {home.trained(task)} that gave the champion of {task}; expected "
        "its work folder beside it. Run the bench in the workspace that trained the champion."
    )
