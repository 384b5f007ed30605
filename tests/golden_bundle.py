"""Bundles that tests make up, complete with golden answers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper

from mien.errors import MienError
from mien.model import bundle, golden
from mien.model.bundle import Bundle, Manifest
from mien.model.runtime import Model


def golden_bundle(folder: Path, manifest: Manifest) -> Bundle:
    """Complete a bundle with the answers of its networks to one made-up input each; without any
    where a network does not open or answer."""
    try:
        return golden.write(folder, manifest, [_run_all])
    except MienError:
        return bundle.write(folder, manifest)


def softmax_network() -> bytes:
    """The bytes of an ONNX file: softmax of ten times three numbers."""
    ten = helper.make_tensor("ten", TensorProto.FLOAT, [1], [10.0])
    nodes = [
        helper.make_node("Mul", ["x", "ten"], ["tenfold"]),
        helper.make_node("Softmax", ["tenfold"], ["scores"], axis=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "shape", [x], [scores], [ten])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _run_all(model: Model) -> None:
    for name in model.bundle.manifest.files:
        if name.endswith(".onnx"):
            model.run(_inputs(model.bundle.folder / name), name)


def _inputs(path: Path) -> dict[str, NDArray[Any]]:
    feeds = {}
    for each in onnx.load(path).graph.input:
        kind = each.type.tensor_type
        shape = [size.dim_value or 1 for size in kind.shape.dim]
        feeds[each.name] = np.full(shape, 0.5, helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return feeds


def falsify(folder: Path) -> None:
    """Have a bundle record other answers than its networks give, as another processor would."""
    manifest = bundle.read(folder).manifest
    with np.load(folder / golden.ARRAYS) as stored:
        arrays = {key: each + 1 if "/out/" in key else each for key, each in stored.items()}
    np.savez(folder / golden.ARRAYS, allow_pickle=False, **arrays)
    bundle.write(folder, manifest)
