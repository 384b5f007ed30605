"""Promises of the smaller forms of an ONNX file, on a small network with a detector's ending."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.config import FORMS, Form
from mien.model import variants
from mien.model.runtime import Session

SIDE, CHANNELS = 16, 32


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions, then pixels (up to hundreds) and probabilities (0..1) in one table."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32) / 5
    second = rng.normal(size=(8, CHANNELS, 3, 3)).astype(np.float32) / 17
    tensors = {"first": first, "second": second, "pixels": np.array([500], np.float32)}
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["gate"]),
        helper.make_node("Mul", ["a", "gate"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], "last", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["c"], ["d", "e"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["d", "pixels"], ["boxes"]),
        helper.make_node("Sigmoid", ["e"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output"], axis=1),
    ]
    shape, kind = ["batch", 3, SIDE, SIDE], TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output", kind, ["batch", 8, SIDE, SIDE])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def pictures(count: int = 16) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The same pictures every time."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield {"images": rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)}


@pytest.mark.parametrize("form", FORMS)
def test_a_variant_is_smaller_and_answers_alike(form: Form, network: Path, tmp_path: Path) -> None:
    """Through the session that serves, float32 in and out, and for any number of pictures."""
    made = tmp_path / "model.onnx"
    assert variants.convert(network, made, form, pictures()) > 0
    assert made.stat().st_size < network.stat().st_size * 0.75
    images = np.concatenate([feeds["images"] for feeds in pictures(4)])
    (expected,), (found,) = (Session(path).run({"images": images}) for path in (network, made))
    assert found.dtype == np.float32
    assert np.abs(found - expected)[:, :4].max() < 0.05 * np.abs(expected[:, :4]).max()
    assert np.abs(found - expected)[:, 4:].max() < 0.03
    assert len(np.unique(found[:, 4:])) > 100


def test_what_follows_the_last_layer_stays_in_float(network: Path, tmp_path: Path) -> None:
    """One scale for pixels and probabilities would leave nothing of the probabilities."""
    made = tmp_path / "model.onnx"
    assert variants.convert(network, made, "int8", pictures()) == 4
    graph = onnx.load(made).graph
    from_node = {name: node for node in graph.node for name in node.output}
    end = from_node["output"]
    assert end.op_type == "Concat"
    assert {from_node[name].op_type for name in end.input} == {"Mul", "Sigmoid"}
    read = [name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.input]
    assert not {"boxes", "scores", "output"} & set(read)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_file_gives_the_same_bytes(form: Form, network: Path, tmp_path: Path) -> None:
    """So a variant can be made again anywhere and compared by its checksum."""
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    for path in (one, two):
        variants.convert(network, path, form, pictures())
    assert one.read_bytes() == two.read_bytes()


def test_a_file_without_layers_is_known(network: Path, tmp_path: Path) -> None:
    """Trees, vector machines and the operators around them have nothing to make smaller."""
    kind = TensorProto.FLOAT
    nodes = [
        helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0]),
        helper.make_node("Sigmoid", ["y"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(name, kind, [None, 1]) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "classifier", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    assert not variants.has_layers(tmp_path / "model.onnx")
    assert variants.has_layers(network)
