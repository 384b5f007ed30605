"""The champions' models before export: what an ordinary stack would serve.

The detector's torch weights are beside the trained bundles (`work/`). A training does not store the
classifier's estimator; it is fitted again from the same prepared data with the same settings and
seed, with the same result. The lineage of the champion's bundle names both.
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

WEIGHTS, CLASSIFIER, SETTINGS = "best.pt", "classifier.pkl", "settings.json"


def write(out: Path) -> None:
    """Write weights, classifier, hand landmarker and settings to `out`, unless they exist.

    Raises:
        MienError: the training's work folder or its prepared data do not exist.
    """
    if (out / SETTINGS).is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    emotion, gesture = (bundle.read(folder(task)) for task in ("emotion", "gesture"))
    work = _trained("emotion", emotion.manifest) / WORK / emotion.manifest.candidate / "work"
    shutil.copyfile(work / WEIGHTS, out / WEIGHTS)
    (out / CLASSIFIER).write_bytes(pickle.dumps(_fitted(gesture.manifest)))
    settings = {
        "size": emotion.manifest.candidate,
        "side": emotion.manifest.preprocessing["input_size"],
        "emotions": emotion.manifest.labels,
        "gestures": gesture.manifest.labels,
        "floor": 0.25,
    }
    (out / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


def _fitted(manifest: Manifest) -> tuple[object, tuple[int, ...]]:
    """The estimator, and the indices of its classes among the labels."""
    from mien.tasks.gesture import train

    origin, home = manifest.lineage.config, Workspace(config.settings().home)
    name = (_trained("gesture", manifest) / DATA).read_text(encoding="utf-8").strip()
    params = config.parse(Params, origin["params"], "the bundle's lineage")
    fitted = train.train_classifier(
        manifest.candidate, home.processed("gesture") / name, params, int(origin["seed"])
    )
    return fitted.estimator, fitted.label_indices


def _trained(task: str, manifest: Manifest) -> Path:
    """The folder of the training that produced these ONNX bytes."""
    home = Workspace(config.settings().home)
    digest = manifest.files["model.onnx"].sha256
    for path in sorted(home.trained(task).glob(f"*/{manifest.candidate}")):
        if bundle.read(path).manifest.files["model.onnx"].sha256 == digest:
            return path.parent
    raise MienError(
        f"{home.trained(task)}: expected the training of the champion of {task}, found none. Run "
        "the bench in the workspace that trained the champion."
    )
