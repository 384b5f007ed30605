"""Converted networks: what the file holds. What they compute is compared with MediaPipe."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mien.errors import WeightsError
from mien.mediapipe import networks, weights
from mien.mediapipe.tflite_to_onnx import to_onnx


@pytest.fixture(scope="module")
def hands() -> weights.HandNetworks:
    """The networks; skips where they can neither be read nor downloaded."""
    try:
        return weights.read_hand_networks()
    except WeightsError as error:
        pytest.skip(f"no hand landmarker: {error}")


def test_a_converted_network_has_no_operator_that_breaks_the_layout(
    hands: weights.HandNetworks,
) -> None:
    """No PRelu and no Pad; padding of channels and slopes are convolutions."""
    kinds = {
        node.op_type for node in onnx.load_from_string(to_onnx(hands.palm_detector)).graph.node
    }
    assert "Conv" in kinds
    assert not kinds & {"PRelu", "Pad", "Max", "Where"}


def test_weights_keep_their_16_bits(hands: weights.HandNetworks) -> None:
    """The file is no larger than the original by more than a few percent, and always the same."""
    converted = to_onnx(hands.landmark_network)
    assert converted == to_onnx(hands.landmark_network)
    assert len(converted) < 1.05 * len(hands.landmark_network)
    kernels = [
        numpy_helper.to_array(each)
        for each in onnx.load_from_string(converted).graph.initializer
        if len(each.dims) == 4
    ]
    assert len(kernels) == 47
    assert all(kernel.dtype == np.float16 for kernel in kernels)


def test_slopes_are_applied_below_zero_alone(hands: weights.HandNetworks) -> None:
    """x + (1 - a) * relu(-x) of the first layer equals PRelu, also where a > 1 or a < 0."""
    model = onnx.load_from_string(to_onnx(hands.palm_detector))
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "Relu")
    scaled = next(node for node in model.graph.node if first.output[0] in node.input)
    slopes = 1 - constants[scaled.input[1]].ravel()
    assert slopes.min() < 0
    assert slopes.max() > 1
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(
        x + (1 - slopes) * np.maximum(-x, 0), np.where(x > 0, x, slopes * x), atol=1e-6
    )


def test_a_network_runs_without_the_batch_axis(hands: weights.HandNetworks) -> None:
    """63 coordinates, presence, side, and 63 coordinates in metres."""
    run = networks.from_tflite(hands.landmark_network)
    outputs = run(np.zeros((3, 224, 224), np.float32))
    assert [output.shape for output in outputs] == [(63,), (1,), (1,), (63,)]
