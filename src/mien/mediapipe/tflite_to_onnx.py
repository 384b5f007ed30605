"""Converts MediaPipe's TensorFlow Lite networks to ONNX, for ONNX Runtime.

The converted network computes what the original does, to float32's precision. Weights of 16 bits
stay so in the file; ONNX Runtime widens them when it opens it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.model.onnx_graph import OnnxGraph

from . import tflite
from .tflite import Operator

INPUT = "images"
_SAME = 0
"""Padding of TensorFlow: so much that strides divide the input; where it is odd, the end gets
more. The other one is no padding."""
_NO_ACTIVATION, _RELU, _RELU6 = 0, 1, 3
"""Activations that are part of another operator."""


@lru_cache(maxsize=2)
def to_onnx(content: bytes, *, any_count: bool = False) -> bytes:
    """Convert a .tflite file: images (n, channels, height, width) -> its outputs, in their order.

    Args:
        content: the file.
        any_count: whether it is to take several images at once, or one.
    """
    network = tflite.read(content)
    graph = _ConvertedGraph(network)
    for operator in network.operators:
        graph.convert(operator)
    names = [f"output_{index}" for index in range(len(network.outputs))]
    for name, output in zip(names, network.outputs, strict=True):
        graph.add("Identity", [graph.names[output]], name)
    shape = ["n" if any_count else 1, graph.channels(network.input), *graph.size(network.input)]
    outputs = {
        name: graph.free_shape(output) for name, output in zip(names, network.outputs, strict=True)
    }
    return graph.to_bytes("mediapipe", {INPUT: shape}, outputs)


class _ConvertedGraph(OnnxGraph):
    """The ONNX graph. Pictures are (n, channels, height, width) in it."""

    def __init__(self, network: tflite.TfliteNetwork) -> None:
        super().__init__()
        self.names = {network.input: INPUT}
        """Names of what is computed, by the number of the tensor."""
        self._shapes = [tensor.shape for tensor in network.tensors]
        self._constants = {
            number: tensor.constant
            for number, tensor in enumerate(network.tensors)
            if tensor.constant is not None
        }

    def convert(self, operator: Operator) -> None:
        """Add the nodes of one operator."""
        if operator.kind == "DEQUANTIZE":  # of weights in 16 bits
            self._constants[operator.output] = self._constants[operator.inputs[0]]
        else:
            self.names[operator.output] = _CONVERSIONS[operator.kind](self, operator)

    def store(self, values: NDArray[Any], name: str = "") -> str:
        """Add a constant; one of 16 bits is widened by a node."""
        from onnx import TensorProto

        name = super().store(values, name)
        if values.dtype != np.float16:
            return name
        return self.add("Cast", [name], f"{name}_float32", to=TensorProto.FLOAT)

    def inputs(self, operator: Operator) -> list[str]:
        """Names of the inputs that are computed."""
        return [self.names[each] for each in operator.inputs if each in self.names]

    def constant(self, operator: Operator, index: int) -> NDArray[Any]:
        """The constant that is input `index`."""
        return self._constants[operator.inputs[index]]

    def free_shape(self, tensor: int) -> list[None]:
        """The rank of a tensor: sizes are for ONNX Runtime to infer."""
        return [None] * len(self._shapes[tensor])

    def size(self, tensor: int) -> tuple[int, int]:
        """Height and width of a picture."""
        _, height, width, _ = self._shapes[tensor]
        return height, width

    def channels(self, tensor: int) -> int:
        """Channels of a picture, or numbers of one detection in a list."""
        return self._shapes[tensor][-1]

    def activate(self, value: str, operator: Operator, field: int) -> str:
        """Add the activation that is part of an operator: field `field` of its options."""
        activation = operator.options.number(field, "b") if operator.options else _NO_ACTIVATION
        if activation == _RELU6:
            bounds = [self.store(np.array(bound, np.float32)) for bound in (0, 6)]
            return self.add("Clip", [value, *bounds])
        if activation == _RELU:
            return self.add("Relu", [value])
        if activation != _NO_ACTIVATION:
            raise ValueError(f"unknown activation {activation} of {operator.kind}")
        return value


def _convolution(graph: _ConvertedGraph, operator: Operator) -> str:
    """Of a depthwise one, each channel has a kernel of its own."""
    by_channel = operator.kind == "DEPTHWISE_CONV_2D"
    kernel = graph.constant(operator, 1).transpose((3, 0, 1, 2) if by_channel else (0, 3, 1, 2))
    constants = [graph.store(kernel), graph.store(graph.constant(operator, 2))]
    convolved = graph.add(
        "Conv",
        [*graph.inputs(operator), *constants],
        group=len(kernel) if by_channel else 1,
        kernel_shape=list(kernel.shape[2:]),
        **_steps(operator),
    )
    return graph.activate(convolved, operator, 4 if by_channel else 3)


def _max_pool(graph: _ConvertedGraph, operator: Operator) -> str:
    assert operator.options
    sides = [operator.options.number(field, "i") for field in (4, 3)]
    return graph.add("MaxPool", graph.inputs(operator), kernel_shape=sides, **_steps(operator))


def _steps(operator: Operator) -> dict[str, Any]:
    """Strides and padding of a convolution or a pooling."""
    assert operator.options
    strides = [operator.options.number(field, "i") for field in (2, 1)]
    padding = operator.options.number(0, "b")
    return {"strides": strides, "auto_pad": "SAME_UPPER" if padding == _SAME else "VALID"}


def _prelu(graph: _ConvertedGraph, operator: Operator) -> str:
    """x where it is positive, else a * x: computed as x + (1 - a) * relu(-x).

    ONNX Runtime computes convolutions in a layout in which it has no PRelu, and would change the
    layout twice for each. Both products are convolutions of 1 x 1, which stay in it and take the
    activation and the sum with them.
    """
    (x,) = graph.inputs(operator)
    slopes = graph.constant(operator, 1).reshape(-1, 1, 1, 1).astype(np.float32)

    def scale(value: str, factors: NDArray[np.float32]) -> str:
        inputs = [value, graph.store(factors)]
        return graph.add("Conv", inputs, group=len(factors), kernel_shape=[1, 1])

    negative = graph.add("Relu", [scale(x, -np.ones_like(slopes))])
    return graph.add("Add", [scale(negative, 1 - slopes), x])


def _pad_channels(graph: _ConvertedGraph, operator: Operator) -> str:
    """Further channels of zeros: a convolution, which stays in the layout as in `_prelu`."""
    paddings = graph.constant(operator, 1)
    added = int(paddings[3, 1])
    if paddings.sum() != added:
        raise ValueError(f"expected a padding of channels at their end, found {paddings.tolist()}")
    channels = graph.channels(operator.inputs[0])
    kernel = np.eye(channels + added, channels, dtype=np.float16)[:, :, None, None]
    return graph.add("Conv", [*graph.inputs(operator), graph.store(kernel)], kernel_shape=[1, 1])


def _resize(graph: _ConvertedGraph, operator: Operator) -> str:
    assert operator.options
    before, after = (graph.size(each) for each in (operator.inputs[0], operator.output))
    factors = np.array([1, 1, *np.divide(after, before)], np.float32)
    if not operator.options.number(3, "b"):
        raise ValueError("expected a resizing with half_pixel_centers, found another one")
    return graph.add(
        "Resize",
        [*graph.inputs(operator), "", graph.store(factors)],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _reshape(graph: _ConvertedGraph, operator: Operator) -> str:
    """A picture of detections as a list of them."""
    by_cell = graph.add("Transpose", graph.inputs(operator), perm=[0, 2, 3, 1])
    shape = np.array([0, -1, graph.channels(operator.output)], np.int64)
    return graph.add("Reshape", [by_cell, graph.store(shape)])


def _fully_connected(graph: _ConvertedGraph, operator: Operator) -> str:
    constants = [graph.store(graph.constant(operator, index)) for index in (1, 2)]
    return graph.add("Gemm", [*graph.inputs(operator), *constants], transB=1)


def _mean(graph: _ConvertedGraph, operator: Operator) -> str:
    """The mean of each channel of a picture."""
    return graph.add("Flatten", [graph.add("GlobalAveragePool", graph.inputs(operator))])


def _add(graph: _ConvertedGraph, operator: Operator) -> str:
    return graph.activate(graph.add("Add", graph.inputs(operator)), operator, 0)


def _plain(kind: str, **attributes: Any) -> Callable[[_ConvertedGraph, Operator], str]:
    return lambda graph, operator: graph.add(kind, graph.inputs(operator), **attributes)


_CONVERSIONS: Mapping[str, Callable[[_ConvertedGraph, Operator], str]] = {
    "ADD": _add,
    "CONCATENATION": _plain("Concat", axis=1),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _plain("Sigmoid"),
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "PAD": _pad_channels,
    "PRELU": _prelu,
    "RELU": _plain("Relu"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "SOFTMAX": _plain("Softmax", axis=1),
}
