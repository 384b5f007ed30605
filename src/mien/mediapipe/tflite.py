"""Reads a TensorFlow Lite file: its tensors, and its operators with their options.

The layout is that of tensorflow/lite/schema/schema.fbs, a FlatBuffers schema; the numbers of
fields, types and operators are the schema's. Only what `tflite_to_onnx.py` converts is named.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}
_OPERATORS = {
    **{0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE"},
    **{9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 19: "RELU", 22: "RESHAPE"},
    **{23: "RESIZE_BILINEAR", 25: "SOFTMAX", 34: "PAD", 40: "MEAN", 54: "PRELU"},
}


class Table:
    """A table of FlatBuffers: fields by their number in the schema."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self._buffer, self._position = buffer, position
        self._fields = position - self._unpack("i", position)
        self._fields_size = self._unpack("H", self._fields)

    def number(self, field: int, code: str, default: int = 0) -> int:
        """A number; `code` is its type as in `struct`."""
        offset = self._offset(field)
        return self._unpack(code, self._position + offset) if offset else default

    def table(self, field: int) -> "Table | None":
        """Another table; None where it is absent."""
        position = self._target(field)
        return None if position is None else Table(self._buffer, position)

    def tables(self, field: int) -> Iterator["Table"]:
        """The tables of a list."""
        start = self._target(field)
        for index in range(0 if start is None else self._unpack("I", start)):
            entry = (start or 0) + 4 + 4 * index
            yield Table(self._buffer, entry + self._unpack("I", entry))

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """The numbers of a list; none where it is absent."""
        start = self._target(field)
        if start is None:
            return np.empty(0, dtype)
        return np.frombuffer(self._buffer, dtype, self._unpack("I", start), start + 4)

    def _offset(self, field: int) -> int:
        entry = 4 + 2 * field
        return self._unpack("H", self._fields + entry) if entry < self._fields_size else 0

    def _target(self, field: int) -> int | None:
        offset = self._offset(field)
        position = self._position + offset
        return position + self._unpack("I", position) if offset else None

    def _unpack(self, code: str, position: int) -> int:
        return int(struct.unpack_from(f"<{code}", self._buffer, position)[0])


@dataclass(frozen=True)
class Tensor:
    """A tensor of a network."""

    shape: tuple[int, ...]
    constant: NDArray[Any] | None
    """Its values as stored; None where the network computes them."""


@dataclass(frozen=True)
class Operator:
    """One step of a network. Tensors are named by their index."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Table | None


@dataclass(frozen=True)
class TfliteNetwork:
    """A network with one input; the operators are in the order of their computation."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    outputs: tuple[int, ...]


def read(content: bytes) -> TfliteNetwork:
    """Read the content of a .tflite file whose bytes are those of a known one."""
    model = Table(content, struct.unpack_from("<I", content)[0])
    codes = [max(each.number(0, "b"), each.number(3, "i")) for each in model.tables(1)]
    buffers = list(model.tables(4))
    graph = next(model.tables(2))
    return TfliteNetwork(
        tensors=tuple(_tensor(each, buffers) for each in graph.tables(0)),
        operators=tuple(
            Operator(
                kind=_OPERATORS[codes[each.number(0, "I")]],
                inputs=tuple(each.array(1, "<i4").tolist()),
                output=int(each.array(2, "<i4")[0]),
                options=each.table(4),
            )
            for each in graph.tables(3)
        ),
        input=int(graph.array(1, "<i4")[0]),
        outputs=tuple(graph.array(2, "<i4").tolist()),
    )


def _tensor(table: Table, buffers: list[Table]) -> Tensor:
    shape = tuple(table.array(0, "<i4").tolist())
    stored = buffers[table.number(2, "I")].array(0, "u1")
    if not len(stored):
        return Tensor(shape, None)
    values = stored.view(_DTYPES[table.number(1, "b")]).reshape(shape)
    return Tensor(shape, _scaled(values, table.table(4)))


def _scaled(values: NDArray[Any], quantization: Table | None) -> NDArray[Any]:
    """Weights of 8 bits as float32; other values as they are."""
    if values.dtype != np.int8 or quantization is None:
        return values
    scales, zero_points = quantization.array(2, "<f4"), quantization.array(3, "<i8")
    axes = [1] * values.ndim
    axes[quantization.number(6, "i")] = len(scales)
    scaled: NDArray[np.float32] = (
        (values.astype(np.float32) - zero_points.astype(np.float32).reshape(axes))
        * scales.reshape(axes)
    ).astype(np.float32)
    return scaled
