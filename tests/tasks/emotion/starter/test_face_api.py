"""Promises of the converter: the same numbers as the package's layers, and no other bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from mien.errors import UnreachableError, WeightsError
from mien.tasks.emotion.starter import face_api
from mien.tasks.emotion.starter.face_api import MANIFEST, SHARD, read_weights, to_onnx

from . import package

Floats = NDArray[Any]


def test_the_converted_network_computes_what_the_layers_say() -> None:
    """Against the same layers written in numpy from the package's source, on random weights."""
    drawn = package.draw()
    images = np.random.default_rng(1).normal(0, 0.5, (2, 3, 112, 112)).astype(np.float32)
    session = onnxruntime.InferenceSession(to_onnx(drawn.tensors))
    actual = session.run(None, {"images": images})[0]
    expected = np.stack([probabilities(drawn.tensors, each.transpose(1, 2, 0)) for each in images])
    assert np.abs(actual - expected).max() < 1e-5
    assert np.ptp(expected, axis=1).min() > 0.02  # weights that decide something


def test_tensors_are_read_as_stored() -> None:
    """float32 as it is, uint8 by scale and minimum; every byte belongs to one tensor."""
    drawn = package.draw()
    tensors = read_weights(drawn.manifest, drawn.shard)
    assert tensors.keys() == drawn.tensors.keys()
    for name, values in drawn.tensors.items():
        assert np.array_equal(tensors[name], values), name


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_a_shard_of_another_length_is_refused(more: bytes) -> None:
    """One byte less, or one more."""
    drawn = package.draw()
    shard = drawn.shard + more if more else drawn.shard[:-1]
    with pytest.raises(WeightsError, match=rf"{SHARD}: expected .* found {len(shard)}"):
        read_weights(drawn.manifest, shard)


def test_a_manifest_of_another_form_is_refused() -> None:
    """Another type of numbers, no JSON, or a missing tensor: the message names what it is."""
    drawn = package.draw()
    other = drawn.manifest.replace(b'"dtype": "uint8"', b'"dtype": "int4"', 1)
    with pytest.raises(WeightsError, match=r"quantization.dtype: expected 'uint8', found 'int4'"):
        read_weights(other, drawn.shard)
    with pytest.raises(WeightsError, match=MANIFEST):
        read_weights(b"<html>", drawn.shard)
    tensors = {name: each for name, each in drawn.tensors.items() if name != "dense2/conv1/bias"}
    with pytest.raises(WeightsError, match="expected a tensor 'dense2/conv1/bias', found none"):
        to_onnx(tensors)


def test_only_the_pinned_bytes_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detector: bytes
) -> None:
    """Files in the cache are verified each time; the message names file and hashes."""
    drawn = package.draw()
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    monkeypatch.setattr(face_api, "WEIGHTS", drawn.weights)
    (tmp_path / "face_detection_short_range.tflite").write_bytes(detector)
    for name, content in drawn.files.items():
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    fit = face_api.fit(out, timeout_s=1)
    assert (out / "model.onnx").read_bytes() == to_onnx(drawn.tensors)
    assert fit.labels == face_api.LABELS
    assert json.loads(json.dumps(fit.lineage))["sha256"] == drawn.weights.sha256
    (tmp_path / SHARD).write_bytes(drawn.shard[:-1] + b"!")
    with pytest.raises(WeightsError, match=rf"{SHARD}: expected SHA-256 .* found .* Delete"):
        face_api.fit(out, timeout_s=1)


def test_the_real_package_is_converted(tmp_path: Path, detector: bytes) -> None:
    """Its bytes have the pinned hashes, and its probabilities sum to one; needs npm's registry or
    mien's cache."""
    try:
        face_api.fit(tmp_path, timeout_s=60)
    except UnreachableError as error:
        pytest.skip(f"face-api's network is not here: {error}")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    scores = session.run(None, {"images": np.zeros((1, 3, 112, 112), np.float32)})[0]
    assert scores.shape == (1, len(face_api.LABELS))
    assert abs(float(scores.sum()) - 1) < 1e-5


def probabilities(tensors: dict[str, Floats], image: Floats) -> Floats:
    """The network on one image (side, side, 3), in float64, as its TypeScript source reads."""
    features = image.astype(np.float64)
    for block in range(4):
        name = f"dense{block}"
        if block == 0:
            kernel = tensors["dense0/conv0/filters"]
            first = np.einsum("hwijc,ijco->hwo", windows(features, 2), kernel)
            first += tensors["dense0/conv0/bias"]
        else:
            first = separable(tensors, features, f"{name}/conv0", 2)
        first = relu(first)
        second = separable(tensors, first, f"{name}/conv1", 1)
        third = separable(tensors, relu(first + second), f"{name}/conv2", 1)
        fourth = separable(tensors, relu(first + second + third), f"{name}/conv3", 1)
        features = relu(first + second + third + fourth)
    logits = features.mean(axis=(0, 1)) @ tensors["fc/weights"] + tensors["fc/bias"]
    powers = np.exp(logits - logits.max())
    result: Floats = powers / powers.sum()
    return result


def separable(tensors: dict[str, Floats], features: Floats, name: str, stride: int) -> Floats:
    by_channel = np.einsum(
        "hwijc,ijc->hwc", windows(features, stride), tensors[f"{name}/depthwise_filter"][..., 0]
    )
    mixed = by_channel @ tensors[f"{name}/pointwise_filter"][0, 0] + tensors[f"{name}/bias"]
    return np.asarray(mixed)


def windows(features: Floats, stride: int) -> Floats:
    """Every 3 x 3 window (h, w, 3, 3, channels) with TensorFlow's padding "same"."""
    height, width = features.shape[:2]
    total = [max((-(-side // stride) - 1) * stride + 3 - side, 0) for side in (height, width)]
    padding = [(each // 2, each - each // 2) for each in total]
    padded = np.pad(features, [*padding, (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return views[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def relu(values: Floats) -> Floats:
    return np.maximum(values, 0)
