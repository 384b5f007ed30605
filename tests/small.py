"""Small models for tests that need trained ones: the real stages on a few drawn examples.

No limit of their policy can refuse them, so that a slow or busy machine trains the same champions.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_bundle import golden_bundle

from mien import pipeline, tasks
from mien.config import Policy, RunConfig
from mien.model import bundle, golden
from mien.storage.workspace import CHAMPION, Workspace

_AUGMENTATION = ("rotate_degrees", "scale", "translate", "color_jitter", "grayscale_prob", "cutout")
ANY = Policy(max_bundle_mb=1e6, max_cpu_cost=1e9, max_risk=1)
"""Refuses nothing."""
GESTURE = RunConfig(
    name="small",
    task="gesture",
    params={"candidates": ["logistic_regression"], "cv_folds": 2},
    policy=ANY,
)
EMOTION = RunConfig(
    name="small",
    task="emotion",
    params={
        "candidates": ["yolox-nano"],
        "epochs": 10,
        "pretrain_epochs": 0,
        "image_size": 64,
        "batch_size": 16,
        "threads": 1,
        "lr": 0.012,
        "warmup_epochs": 1,
        "ema_decay": 0,
        "vote_loss_weight": 0,
        "augmentation": dict.fromkeys(_AUGMENTATION, 0),
    },
    policy=ANY,
)
HANDS = 40
"""Rows of each gesture."""
FACES = {"train": 96, "valid": 24, "test": 24}
SIDE, CELLS = 64, 8


def champion(workspace: Workspace, name: str) -> Path:
    """The bundle that is served of a task."""
    return workspace.version(name, workspace.aliases(name)[CHAMPION])


def require(*names: str) -> None:
    """Skip where a task's folder was deleted."""
    for name in names:
        if name not in tasks.names():
            pytest.skip(f"there is no task {name}")


def train_gesture(home: Path) -> None:
    """A champion that names gestures, in pictures too."""
    from mien.tasks.gesture.sample import write_sample

    write_sample(home / "drawn" / "gesture", 0, HANDS)
    _train(GESTURE, home)


def fit_gesture(folder: Path, scratch: Path) -> None:
    """A bundle that names gestures, in pictures too: fitted without checks, evaluation and
    tracking, for tests of what a bundle answers and of how it is served."""
    from mien.tasks.gesture.sample import write_sample

    task, params = tasks.load("gesture"), tasks.load("gesture").training.Params(**GESTURE.params)
    raw, ready, work = (scratch / name for name in ("raw", "ready", "work"))
    for each in (raw, ready, work):
        each.mkdir(parents=True)
    write_sample(raw, 0, HANDS)
    task.data.prepare(raw, ready, params, scratch / "cache")
    fit = task.training.fit("logistic_regression", ready, work, params, 0, lambda *_: None)
    folder.mkdir(parents=True)
    bundle.copy_networks(work, folder)
    manifest = bundle.describe(
        task.name, task.default_labels, "logistic_regression", fit.preprocessing
    )
    golden.write(folder, manifest, task.inference.drawn_predictions())


def train_emotion(home: Path, faces: Path) -> None:
    """A champion that finds drawn faces, and has an idea of what they show."""
    shutil.copytree(faces, home / "drawn" / "emotion")
    _train(EMOTION, home)


def _train(run: RunConfig, home: Path) -> None:
    run = run.model_copy(update={"source": str(home / "drawn" / run.task)})
    done = pipeline.run(run, Workspace(home), force="test").registered
    assert done.alias == CHAMPION, done


def draw_detector(folder: Path, seed: int = 0) -> None:
    """A bundle of the emotion task that nobody trained: weights by the seed, in the output format
    of yolov9-t. It finds something in whatever is not of one colour."""
    from mien.tasks.emotion.networks import family
    from mien.tasks.emotion.params import LABELS

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(_network(len(LABELS), seed))
    spec = family("yolov9-t").spec(SIDE)
    golden_bundle(
        folder,
        bundle.describe("emotion", LABELS, "drawn", spec.as_dict()),
    )


def _network(labels: int, seed: int) -> bytes:
    """images [N, 3, 64, 64] -> output [N, 4 + labels, 64]: a fixed box for each cell of a grid, and
    scores by a convolution of its pixels."""
    from onnx import TensorProto, checker, helper, numpy_helper

    step, cells = SIDE // CELLS, CELLS * CELLS
    kernels = np.random.default_rng(seed).normal(size=(labels, 3, step, step))
    kernels -= kernels.mean(axis=(2, 3), keepdims=True)  # one colour gives no score
    corners = np.stack(np.meshgrid(*[np.arange(CELLS) * step] * 2)).reshape(2, -1)
    weights = {
        "kernels": kernels,
        "bias": np.full(labels, -4.0),
        "zeros": np.zeros((4, 3, step, step)),
        "boxes": np.concatenate([corners - step, corners + 2 * step])[None],
    }
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    tensors += [
        numpy_helper.from_array(np.array([0, count, cells], np.int64), name)
        for name, count in (("four", 4), ("labels", labels))
    ]
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "kernels", "bias"], ["logits"], strides=[step, step]),
        node("Reshape", ["logits", "labels"], ["rows"]),
        node("Sigmoid", ["rows"], ["scores"]),
        node("Conv", ["images", "zeros"], ["nothing"], strides=[step, step]),
        node("Reshape", ["nothing", "four"], ["none"]),
        node("Add", ["none", "boxes"], ["corners"]),
        node("Concat", ["corners", "scores"], ["output"], axis=1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 4 + labels, cells])
    graph = helper.make_graph(nodes, "drawn", [images], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
