"""Two ONNX files side by side: the first thing in which they differ, and by how much."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np


def first_difference(old: Path, new: Path) -> str:
    """Name the first constant or node that differs, in the order of the file."""
    import onnx

    then, now = onnx.load(old).graph, onnx.load(new).graph
    found = _constants(then, now) or _nodes(then, now)
    return found or "graphs and constants are the same; names or versions in the file differ"


def _constants(then: Any, now: Any) -> str:
    from onnx import numpy_helper

    for one, two in zip_longest(then.initializer, now.initializer):
        if one is None or two is None or one.name != two.name:
            names = [each.name if each is not None else "none" for each in (one, two)]
            return f"constant {names[0]} recorded, {names[1]} here"
        values = [numpy_helper.to_array(each) for each in (one, two)]
        if text := _apart(values[0], values[1]):
            return f"the first constant is {one.name}: {text}"
    return ""


def _nodes(then: Any, now: Any) -> str:
    for place, (one, two) in enumerate(zip_longest(then.node, now.node)):
        if one is None or two is None or one.op_type != two.op_type:
            kinds = [each.op_type if each is not None else "none" for each in (one, two)]
            return f"node {place} is {kinds[0]} recorded, {kinds[1]} here"
        if one != two:
            name = one.name or f"number {place}"
            return f"the first node is {one.op_type} {name}: {_attribute(one, two)}"
    return ""


def _attribute(one: Any, two: Any) -> str:
    then, now = ({field.name: field for field in node.attribute} for node in (one, two))
    for name in dict.fromkeys([*then, *now]):
        if name not in then or name not in now:
            return f"{name} is there in one alone"
        if then[name] != now[name]:
            for kind in ("floats", "ints"):
                values = [np.array(getattr(each[name], kind)) for each in (then, now)]
                if text := _apart(values[0], values[1]):
                    return f"{name}, {text}"
            return f"{name} is another one"
    return "it is joined otherwise"


def _apart(old: Any, new: Any) -> str:
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype} {old.shape} recorded, {new.dtype} {new.shape} here"
    if old.tobytes() == new.tobytes():
        return ""
    if old.dtype.kind not in "fiu":
        return "other values"
    apart = np.abs(old.astype(np.float64) - new.astype(np.float64))
    return f"{np.count_nonzero(apart)} of {apart.size} values, by up to {apart.max():.3g}"
