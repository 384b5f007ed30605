"""Public pretrained models that tests make up, and a task that offers them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from mien import tasks
from mien.errors import UnreachableError, WeightsError
from mien.task import Fit, Prediction, Predictor, Task

Starter = Callable[[Path, float], Fit]
ORIGIN = {"package": "npm toy@1.0.0", "licence": "MIT", "sha256": {"toy.bin": "ab" * 32}}


def toy(out: Path, timeout_s: float) -> Fit:
    """A public model: one identity."""
    shape = [1, 2]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", "y")
    )
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "toy", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (out / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return Fit(preprocessing={}, history=(), labels=("fist", "like"), lineage=ORIGIN)


def unreachable(out: Path, timeout_s: float) -> Fit:
    raise UnreachableError("npm: expected it on PATH, found none.")


def altered(out: Path, timeout_s: float) -> Fit:
    raise WeightsError("toy.bin: expected SHA-256 ab, found cd.")


def task_with(**starters: Starter) -> Task[Any]:
    """The task of gestures with these public models."""

    def detect_many(requests: Any, model: Any) -> list[Prediction]:
        for _ in requests:
            model.run({"x": np.ones((1, 2), np.float32)})
        return [Prediction("no_hand") for _ in requests]

    task = tasks.load("gesture")
    picture = task.inference.sample_picture
    inference = Predictor(detect_many=detect_many, sample_picture=picture)
    training = replace(task.training, starters=starters)
    return replace(task, training=training, inference=inference)
