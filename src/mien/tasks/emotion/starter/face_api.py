"""The expression network of face-api: fetched with npm, converted to ONNX by numpy.

The layers and the constants are those of the package's own source
(src/faceFeatureExtractor/FaceFeatureExtractor.ts, denseBlock.ts, src/faceExpressionNet).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mien.config import Schema
from mien.errors import WeightsError, expectation
from mien.mediapipe.pretrained_weights import DOWNLOAD_TIMEOUT_S, PretrainedWeights
from mien.model.onnx_graph import OnnxGraph
from mien.task import Fit

from . import npm
from .crops import CropSpec
from .files import cached, face_detector_origin

PACKAGE = "@vladmandic/face-api@1.7.15"
MANIFEST = "face_expression_model-weights_manifest.json"
SHARD = "face_expression_model.bin"
LABELS = ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise")
"""The package's order of outputs, under AffectNet's names; it does not know contempt."""
SPEC = CropSpec(
    network="model.onnx",
    input_size=112,
    channels="rgb",
    mean=(122.782, 117.001, 104.298),
    divisor=255.0,
)
BLOCKS, CONVOLUTIONS = 4, 4
WEIGHTS = PretrainedWeights(
    title="face-api expression network",
    wheel_paths={MANIFEST: f"package/model/{MANIFEST}", SHARD: f"package/model/{SHARD}"},
    sha256={
        MANIFEST: "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
        SHARD: "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
    },
    offline_advice=(
        f"Run `npm pack {PACKAGE}` on a machine with a network, and copy the two files of its "
        "package/model into mien's cache folder."
    ),
)
Weights = Mapping[str, NDArray[np.float32]]


class _Quantization(Schema):
    dtype: Literal["uint8"]
    scale: float
    min: float


class _Tensor(Schema):
    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32"]
    quantization: _Quantization | None = None


class _Group(Schema):
    weights: tuple[_Tensor, ...]
    paths: tuple[str, ...]


def fit(out: Path, timeout_s: float) -> Fit:
    """Leave the converted network and the face detector in `out`.

    Raises:
        UnreachableError: npm or the registry is out of reach.
        WeightsError: the package holds other bytes than expected.
    """
    weights = load(timeout_s)
    detector = face_detector_origin(out, timeout_s)
    (out / SPEC.network).write_bytes(to_onnx(weights))
    return Fit(
        preprocessing=SPEC.as_dict(),
        history=(),
        labels=LABELS,
        lineage={**origin(), "limits": "does not know contempt", "face_detector": detector},
    )


def load(timeout_s: float = DOWNLOAD_TIMEOUT_S) -> Weights:
    """The tensors of the package, from the cache or fetched into it; errors as those of `fit`."""
    files = cached(WEIGHTS, lambda: _download(timeout_s))
    return read_weights(files[MANIFEST], files[SHARD])


def origin() -> dict[str, Any]:
    """Where the network comes from, for the lineage of what is made of it."""
    return {
        "package": f"npm {PACKAGE}",
        "licence": "MIT, as the package states",
        "sha256": dict(WEIGHTS.sha256),
        "training_data": (
            "unknown; the package's TUTORIAL.md says: trained on a variety of images from "
            "publicly available datasets as well as images scraped from the web"
        ),
    }


def read_weights(manifest: bytes, shard: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of a weights manifest of TensorFlow.js, by name; uint8 values are scaled.

    Raises:
        WeightsError: the manifest is of another form, or does not cover the shard's bytes.
    """
    try:
        groups = TypeAdapter(list[_Group]).validate_json(manifest)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise WeightsError(f"{MANIFEST}: {place}: {expectation(fault)}. {_REMEDY}") from None
    tensors, offset = {}, 0
    for tensor in [each for group in groups for each in group.weights]:
        stored = np.dtype(np.uint8 if tensor.quantization else "<f4")
        count = math.prod(tensor.shape)
        if offset + count * stored.itemsize > len(shard):
            raise WeightsError(f"{SHARD}: expected more bytes, found {len(shard)}. {_REMEDY}")
        values = np.frombuffer(shard, stored, count, offset).astype(np.float32)
        if tensor.quantization:
            scale, least = tensor.quantization.scale, tensor.quantization.min
            values = values * np.float32(scale) + np.float32(least)
        tensors[tensor.name] = values.reshape(tensor.shape)
        offset += count * stored.itemsize
    if offset != len(shard):
        raise WeightsError(f"{SHARD}: expected {offset} bytes, found {len(shard)}. {_REMEDY}")
    return tensors


def to_onnx(weights: Weights) -> bytes:
    """The network as ONNX: images (n, 3, side, side) -> probabilities (n, labels).

    Raises:
        WeightsError: a tensor is missing.
    """
    graph = _ExpressionGraph(weights)
    features = "images"
    try:
        for block in range(BLOCKS):
            features = graph.dense_block(features, f"dense{block}", first=block == 0)
        logits = graph.classifier(features)
    except KeyError as error:
        raise WeightsError(
            f"{MANIFEST}: expected a tensor {error}, found none. {_REMEDY}"
        ) from None
    graph.add("Softmax", [logits], "probabilities", axis=1)
    side, labels = SPEC.input_size, weights["fc/bias"].size
    inputs = {"images": ("n", 3, side, side)}
    return graph.to_bytes("expressions", inputs, {"probabilities": ("n", labels)})


class _ExpressionGraph(OnnxGraph):
    """The ONNX graph; tensors of TensorFlow are turned into the order of ONNX."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights = weights

    def dense_block(self, features: str, name: str, *, first: bool) -> str:
        """Each convolution sees the sum of the outputs of all earlier ones."""
        convolution = f"{name}/conv0"
        if first:
            kernel = self._weight(f"{convolution}/filters", (3, 2, 0, 1))
            inputs = [features, kernel, self._weight(f"{convolution}/bias")]
            outputs = self.add("Conv", inputs, convolution, strides=[2, 2], auto_pad=_SAME)
        else:
            outputs = self._separable(features, convolution, 2)
        summed = features = self.add("Relu", [outputs], f"{convolution}/relu")
        for index in range(1, CONVOLUTIONS):
            outputs = self._separable(features, f"{name}/conv{index}", 1)
            summed = self.add("Add", [summed, outputs], f"{name}/sum{index}")
            features = self.add("Relu", [summed], f"{name}/relu{index}")
        return features

    def classifier(self, features: str) -> str:
        pooled = self.add("GlobalAveragePool", [features], "pooled")
        flat = self.add("Flatten", [pooled], "flat")
        inputs = [flat, self._weight("fc/weights"), self._weight("fc/bias")]
        return self.add("Gemm", inputs, "logits")

    def _separable(self, features: str, name: str, stride: int) -> str:
        kernel = self._weight(f"{name}/depthwise_filter", (2, 3, 0, 1))
        groups = self._weights[f"{name}/depthwise_filter"].shape[2]
        strides = [stride, stride]
        by_channel = self.add(
            "Conv",
            [features, kernel],
            f"{name}/by_channel",
            group=groups,
            strides=strides,
            auto_pad=_SAME,
        )
        mixing = self._weight(f"{name}/pointwise_filter", (3, 2, 0, 1))
        return self.add("Conv", [by_channel, mixing, self._weight(f"{name}/bias")], name)

    def _weight(self, name: str, axes: tuple[int, ...] | None = None) -> str:
        values = self._weights[name]
        return self.store(values if axes is None else values.transpose(axes), name)


def _download(timeout_s: float) -> dict[str, bytes]:
    with TemporaryDirectory(prefix="mien-npm-") as folder:
        tarball = npm.pack(PACKAGE, Path(folder), timeout_s)
        return WEIGHTS.verify(npm.read(tarball, WEIGHTS.wheel_paths), tarball)


_SAME = "SAME_UPPER"
"""TensorFlow's "same": where padding is odd, the end gets more."""
_REMEDY = f"Fetch {PACKAGE} again."
