"""The blocks of face-api's expression network in torch, to train them; `starter/` reads them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..starter import face_api
from ..starter.face_api import BLOCKS, CONVOLUTIONS, Weights

STRIDE = 2**BLOCKS
"""Pixels of the input for each cell of the features, across and down."""
_AXES = {
    "filters": (3, 2, 0, 1),
    "depthwise_filter": (2, 3, 0, 1),
    "pointwise_filter": (3, 2, 0, 1),
}
"""Axes of TensorFlow's filters in the order of torch, by the end of a tensor's name."""


class ExpressionBlocks(nn.Module):
    """Four blocks of separable convolutions; each halves the side."""

    def __init__(self, weights: Weights, frozen: int = 0) -> None:
        """Take the blocks of `weights`; the first `frozen` of them keep their values."""
        super().__init__()
        self.frozen = frozen
        blocks = {name: each for name, each in weights.items() if name.startswith("dense")}
        self.tensors = nn.ParameterDict(
            {name: nn.Parameter(_to_torch(name, each)) for name, each in blocks.items()}
        )
        self.register_buffer("mean", torch.tensor(face_api.SPEC.mean)[None, :, None, None])

    @property
    def channels(self) -> int:
        """Of the features."""
        return len(self.tensors[f"dense{BLOCKS - 1}/conv0/bias"])

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (n, channels, side / 16, side / 16) of pixels (n, 3, side, side), RGB 0..255."""
        return self.features((pixels - self.mean) * (1 / face_api.SPEC.divisor))

    def features(self, features: Tensor) -> Tensor:
        """The same of inputs that are scaled already, as `starter.crops.crop_input` does."""
        for block in range(BLOCKS):
            with torch.set_grad_enabled(torch.is_grad_enabled() and block >= self.frozen):
                features = self._dense_block(features, f"dense{block}", first=block == 0)
        return features

    def _dense_block(self, features: Tensor, name: str, *, first: bool) -> Tensor:
        """Each convolution sees the sum of the outputs of all earlier ones."""
        # TensorFlow's "same" for stride 2 and an even side: one row and column at the end.
        padded = functional.pad(features, (0, 1, 0, 1))
        if first:
            kernel, bias = self.tensors[f"{name}/conv0/filters"], self.tensors[f"{name}/conv0/bias"]
            outputs = functional.conv2d(padded, kernel, bias, stride=2)
        else:
            outputs = self._separable(padded, f"{name}/conv0", stride=2)
        features = summed = functional.relu(outputs)
        for index in range(1, CONVOLUTIONS):
            summed = summed + self._separable(features, f"{name}/conv{index}", stride=1)
            features = functional.relu(summed)
        return features

    def _separable(self, features: Tensor, name: str, stride: int) -> Tensor:
        kernel = self.tensors[f"{name}/depthwise_filter"]
        by_channel = functional.conv2d(
            features, kernel, stride=stride, padding=2 - stride, groups=len(kernel)
        )
        mixing, bias = self.tensors[f"{name}/pointwise_filter"], self.tensors[f"{name}/bias"]
        return functional.conv2d(by_channel, mixing, bias)


def _to_torch(name: str, values: NDArray[np.float32]) -> Tensor:
    axes = _AXES.get(name.rpartition("/")[2])
    ordered = values if axes is None else values.transpose(axes)
    return torch.from_numpy(np.array(ordered, order="C"))
