"""Validation metrics of each training phase, computed after every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import boxes

from . import networks
from .augmentation import crop_faces
from .decode import detect
from .letterbox import Letterbox
from .losses import pretrain_logits
from .training_setup import TrainingSetup

MIN_IOU = 0.5
"""Intersection over union from which a detection counts as on a labelled face."""


@torch.no_grad()
def pretrain_accuracy(setup: TrainingSetup, model: nn.ModuleDict) -> float:
    """Fraction of validation images whose emotion the pretraining head predicts."""
    model.eval()
    crop_size = setup.recipe.pretrain_crop_size
    label = setup.val.boxes[:, 0, 0].long()
    predicted = []
    for pixels, labelled in zip(_chunks(setup.val.pixels), _chunks(setup.val.boxes), strict=True):
        inputs = setup.to_network_input(pixels)
        if crop_size:
            inputs = crop_faces(inputs, labelled, crop_size, None)
        predicted.append(pretrain_logits(setup, model, inputs).argmax(1).cpu())
    correct = (torch.cat(predicted) == label) & (label >= 0)
    return float(correct.sum() / (label >= 0).sum().clamp(min=1))


def detector_metrics(setup: TrainingSetup, network: nn.Module) -> dict[str, float]:
    """Means over the validation images that show a face.

    Returns:
        `val_accuracy`: the best detection is on a labelled face and has its emotion; `val_iou`: its
        largest intersection over union with a labelled face; `val_confidence`: its score.
    """
    rows: list[tuple[float, float, float]] = []
    for index, output in enumerate(_network_outputs(setup, network)):
        labelled = setup.val.boxes[index].numpy()
        labelled = labelled[labelled[:, 0] >= 0]
        if len(labelled):
            rows.append(_score_best_detection(setup, output, labelled))
    accuracy, mean_iou, confidence = np.array(rows or [(0.0, 0.0, 0.0)]).mean(0)
    return {
        "val_accuracy": float(accuracy),
        "val_iou": float(mean_iou),
        "val_confidence": float(confidence),
    }


def _chunks(tensor: Tensor, size: int = 64) -> Iterator[Tensor]:
    for start in range(0, len(tensor), size):
        yield tensor[start : start + size]


@torch.no_grad()
def _network_outputs(setup: TrainingSetup, network: nn.Module) -> Iterator[NDArray[np.float32]]:
    for pixels in _chunks(setup.val.pixels):
        inputs = setup.to_network_input(pixels)
        yield from networks.predict(network, setup.family.output_format, inputs).cpu().numpy()


def _score_best_detection(
    setup: TrainingSetup, output: NDArray[np.float32], labelled: NDArray[np.float32]
) -> tuple[float, float, float]:
    side = setup.recipe.image_size
    boxes_xyxy, scores = detect(output, setup.spec, Letterbox(1.0, 0, 0, side, side))
    if not len(boxes_xyxy):
        return 0.0, 0.0, 0.0
    ious = boxes.iou(boxes_xyxy[0], labelled[:, 1:])
    nearest = int(ious.argmax())
    correct = ious[nearest] >= MIN_IOU and scores[0].argmax() == labelled[nearest, 0]
    return float(correct), float(ious[nearest]), float(scores[0].max())
