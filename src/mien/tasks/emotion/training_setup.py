"""The fixed inputs of one training: network family, hyperparameters and data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import networks
from .detector_spec import DetectorSpec
from .recipe import Recipe
from .split_tensors import SplitTensors


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that does not change during a training."""

    family: networks.DetectorFamily
    recipe: Recipe
    label_count: int
    train: SplitTensors
    val: SplitTensors
    identity: str
    """Digest of all inputs that determine the result; a checkpoint with another one is ignored."""

    @property
    def spec(self) -> DetectorSpec:
        return self.family.spec(self.recipe.image_size)

    @property
    def total_epochs(self) -> int:
        return self.recipe.pretrain_epochs + self.recipe.epochs

    def to_network_input(self, pixels: Tensor) -> Tensor:
        """Do for a batch (n, 3, side, side) what `letterbox.to_nchw` does for one image."""
        ordered = pixels.flip(1) if self.family.channel_order == "bgr" else pixels
        scaled = ordered.float() * self.family.pixel_scale
        return scaled.contiguous(memory_format=torch.channels_last).to(self.recipe.device)
