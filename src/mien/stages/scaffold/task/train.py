"""Training of the task: a softmax regression by gradient descent, written as ONNX."""

from pathlib import Path

import numpy as np

from mien.model.onnx_graph import OnnxGraph
from mien.task import Fit, Recorder

from .data import examples
from .params import Params
from .predict import features


def candidates(params: Params) -> tuple[str, ...]:
    """Names of the models that a run trains and compares."""
    return ("softmax_regression",)


def fit(candidate: str, ready: Path, out: Path, params: Params, seed: int, record: Recorder) -> Fit:
    """Train on the split `train` and leave `model.onnx` in `out`."""
    rows = list(examples(ready, "train"))
    labels = sorted({str(each.label) for each in rows})
    x = np.stack([features(each.request.image, params.cells) for each in rows])  # type: ignore[arg-type]
    y = np.eye(len(labels))[[labels.index(str(each.label)) for each in rows]]
    mean = x.mean(axis=0)
    weights, bias = np.zeros((x.shape[1], len(labels))), np.zeros(len(labels))
    history = []
    for epoch in range(1, params.epochs + 1):
        logits = (x - mean) @ weights + bias
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        loss = float(-np.log(scores[y == 1]).mean())
        weights -= params.lr * (x - mean).T @ (scores - y) / len(x)
        bias -= params.lr * (scores - y).mean(axis=0)
        history.append({"loss": loss})
        record(epoch, params.epochs, history[-1])
    graph = OnnxGraph()
    centred = graph.add("Sub", ["features", graph.store(mean.astype(np.float32))])
    product = graph.add("MatMul", [centred, graph.store(weights.astype(np.float32))])
    logits_name = graph.add("Add", [product, graph.store(bias.astype(np.float32))])
    graph.add("Softmax", [logits_name], "scores", axis=1)
    content = graph.to_bytes(
        "softmax_regression", {"features": ["n", x.shape[1]]}, {"scores": ["n", len(labels)]}
    )
    (out / "model.onnx").write_bytes(content)
    return Fit({"cells": params.cells}, tuple(history), labels=tuple(labels))
