"""Smaller forms of an ONNX file: `int8` and `fp16`; the only importer of ONNX Runtime's converters.

Knows graphs and nothing of tasks, bundles or accuracy. What follows the last layer with weights
(boxes and scores joined into one table) stays in float: one scale for pixels and probabilities
leaves nothing of the probabilities (docs/source/decisions/0015-variants.md has the numbers).
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mien.config import Form

if TYPE_CHECKING:
    import onnx

Feeds = Mapping[str, NDArray[Any]]

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators whose weights make a file large, and that ONNX Runtime computes in 8 bits."""
_BETWEEN = ("Add", "AveragePool", "MaxPool", "Mul", "Sigmoid")
"""What stands between layers and is computed in 8 bits: without it every layer converts twice.
Operators that only move numbers (Concat, Slice) gain nothing by it."""
_LIBRARIES = ("onnx", "onnxruntime")


def libraries() -> dict[str, str]:
    """Versions of what makes the files: other ones may make others."""
    return {name: version(name) for name in _LIBRARIES}


def has_layers(path: Path) -> bool:
    """Whether the file holds layers that can be made smaller; trees and vector machines do not."""
    import onnx

    graph = onnx.load(path).graph
    return any(node.op_type in LAYERS and not node.domain for node in graph.node)


def convert(source: Path, target: Path, form: Form, feeds: Iterable[Feeds]) -> int:
    """Write `source` in a smaller form; what goes in and what comes out stays float32.

    Args:
        feeds: what the file is really given, to find the range of each value; for `int8` only.

    Returns:
        How many nodes stay in float because they follow the last layer.
    """
    # Read by the library at import: its Linux wheels report usage unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        after = _fold(source, folded)
        if form == "int8":
            _to_int8(folded, target, feeds, after)
        else:
            _to_fp16(folded, target, after)
    return len(after)


def _fold(source: Path, target: Path) -> list[str]:
    """Compute constants, name every node, infer shapes; return what follows the last layer."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(source, target, skip_symbolic_shape=True)
    model = onnx.load(target)
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{place}"
    onnx.save(model, target)
    return _after_the_last_layer(model.graph)


def _after_the_last_layer(graph: "onnx.GraphProto") -> list[str]:
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    leads = set()  # names of nodes from which a layer can still be reached
    for node in reversed(graph.node):  # a graph lists its nodes in an order of computation
        following = [each for name in node.output for each in readers[name]]
        if any(each.op_type in LAYERS or each.name in leads for each in following):
            leads.add(node.name)
    return [
        node.name for node in graph.node if node.op_type not in LAYERS and node.name not in leads
    ]


def _to_int8(
    source: Path,
    target: Path,
    feeds: Iterable[Feeds],
    after: list[str],
    between: tuple[str, ...] = _BETWEEN,
    reduce_range: bool = True,
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        source,
        target,
        _Reader(iter(feeds)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*LAYERS, *between],
        nodes_to_exclude=after,
        per_channel=True,
        # Weights in 7 bits. Processors without VNNI add two products of an unsigned activation
        # and a signed weight in 16 bits: 2 x 255 x 127 saturates there, 2 x 255 x 64 fits.
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def _to_fp16(source: Path, target: Path, after: list[str]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(source), keep_io_types=True, node_block_list=after)
    onnx.save(model, target)


class _Reader:
    """What the calibration asks for its data; it knows it by the name of the method."""

    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        found = next(self._feeds, None)
        return dict(found) if found is not None else None

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return iter(self.get_next, None)
