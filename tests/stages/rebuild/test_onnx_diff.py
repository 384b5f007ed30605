"""`stages/rebuild/onnx_diff.py` names the first difference of two ONNX files."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from mien.stages.rebuild.onnx_diff import first_difference


def write(path: Path, weights: list[float], op: str = "Add", leaf: float = 1.0) -> Path:
    """Two constants, a node that uses one with the input, and a node with a list of numbers."""
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.float32), "first"),
        numpy_helper.from_array(np.array(weights, np.float32), "second"),
    ]
    nodes = [
        helper.make_node(op, ["x", "first"], ["a"], name="joining"),
        helper.make_node("Trees", ["a"], ["y"], domain="own", leaves=[0.5, leaf]),
    ]
    kind = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    save(helper.make_model(helper.make_graph(nodes, "g", [kind], [out], constants)), path)
    return path


@pytest.mark.parametrize(
    ("weights", "op", "leaf", "expected"),
    [
        ([3, 4.5], "Add", 1.0, "the first constant is second: 1 of 2 values, by up to 0.5"),
        ([3, 4, 5], "Add", 1.0, "second: float32 (2,) recorded, float32 (3,) here"),
        ([3, 4], "Mul", 1.0, "node 0 is Add recorded, Mul here"),
        ([3, 4], "Add", 1.25, "Trees number 1: leaves, 1 of 2 values, by up to 0.25"),
        ([3, 4], "Add", 1.0, "graphs and constants are equal"),
    ],
)
def test_the_first_difference_is_named(
    tmp_path: Path, weights: list[float], op: str, leaf: float, expected: str
) -> None:
    """A constant or a node by its name, and the size of the difference."""
    old = write(tmp_path / "old.onnx", [3, 4])
    new = write(tmp_path / "new.onnx", weights, op, leaf)
    assert expected in first_difference(old, new)
