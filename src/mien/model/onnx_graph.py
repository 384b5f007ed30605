"""Writes an ONNX model node by node, for networks that come in another format."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = Sequence[int | str | None]
"""A number of each axis; a name for one that callers choose, None for one that is computed."""


class OnnxGraph:
    """Nodes and constants of a model with float32 inputs and outputs."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def store(self, values: NDArray[Any], name: str = "") -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def to_bytes(
        self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
    ) -> bytes:
        """The checked model; the same nodes and constants give the same bytes."""
        from onnx import TensorProto, checker, helper

        ends = [
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in each]
            for each in (inputs.items(), outputs.items())
        ]
        model = helper.make_model(
            helper.make_graph(self.nodes, name, *ends, self.initializers),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=9,
            producer_name="mien",
        )
        checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content
