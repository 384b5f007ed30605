"""Compares two ONNX files: the first constant or node that differs, and by how much."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np


def first_difference(old: Path, new: Path) -> str:
    """Name the first constant or node that differs, in the order of the file."""
    import onnx

    old_graph, new_graph = onnx.load(old).graph, onnx.load(new).graph
    text = _compare_constants(old_graph, new_graph) or _compare_nodes(old_graph, new_graph)
    return text or "graphs and constants are equal; names or versions in the file differ"


def _compare_constants(old: Any, new: Any) -> str:
    from onnx import numpy_helper

    for left, right in zip_longest(old.initializer, new.initializer):
        if left is None or right is None or left.name != right.name:
            names = [each.name if each is not None else "none" for each in (left, right)]
            return f"constant {names[0]} recorded, {names[1]} here"
        values = [numpy_helper.to_array(each) for each in (left, right)]
        if text := _compare_arrays(values[0], values[1]):
            return f"the first constant is {left.name}: {text}"
    return ""


def _compare_nodes(old: Any, new: Any) -> str:
    for index, (left, right) in enumerate(zip_longest(old.node, new.node)):
        if left is None or right is None or left.op_type != right.op_type:
            types = [each.op_type if each is not None else "none" for each in (left, right)]
            return f"node {index} is {types[0]} recorded, {types[1]} here"
        if left != right:
            name = left.name or f"number {index}"
            return f"the first node is {left.op_type} {name}: {_compare_attributes(left, right)}"
    return ""


def _compare_attributes(left: Any, right: Any) -> str:
    old, new = ({field.name: field for field in node.attribute} for node in (left, right))
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            return f"{name} is only in one of them"
        if old[name] != new[name]:
            for field in ("floats", "ints"):
                values = [np.array(getattr(each[name], field)) for each in (old, new)]
                if text := _compare_arrays(values[0], values[1]):
                    return f"{name}, {text}"
            return f"{name} differs"
    return "its inputs or outputs differ"


def _compare_arrays(old: Any, new: Any) -> str:
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype} {old.shape} recorded, {new.dtype} {new.shape} here"
    if old.tobytes() == new.tobytes():
        return ""
    if old.dtype.kind not in "fiu":
        return "other values"
    difference = np.abs(old.astype(np.float64) - new.astype(np.float64))
    count = np.count_nonzero(difference)
    return f"{count} of {difference.size} values, by up to {difference.max():.3g}"
