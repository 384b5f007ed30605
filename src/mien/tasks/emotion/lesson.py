"""What each phase of a training minimises, and how its result is judged on the validation split.

Knows losses and scores. Does not know how weights are moved, averaged or stored
(`learning.py`), nor how LibreYOLO computes its part of the loss (`networks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from . import networks
from .augment import crop_faces
from .decode import Fit, detect, overlap
from .pictures import Pictures
from .recipe import Recipe

GRID = 3
"""Cells a side to which the primer pools features: a face has three storeys."""


@dataclass(frozen=True)
class Lesson:
    """What stays the same: the network's family, the recipe and the two splits."""

    family: networks.Family
    recipe: Recipe
    label_count: int
    train: Pictures
    val: Pictures
    identity: str
    """Digest of everything that decides the outcome; a checkpoint of another one is not used."""

    @property
    def facts(self) -> dict[str, Any]:
        return self.family.facts(self.recipe.image_size)

    @property
    def total(self) -> int:
        return self.recipe.primer_epochs + self.recipe.epochs


def primer_head(lesson: Lesson, network: nn.Module) -> nn.ModuleList:
    """One linear layer per level of the backbone, zero at first so that all levels start even."""
    side = lesson.recipe.primer_crop or lesson.recipe.image_size
    with torch.no_grad():
        network.eval()
        levels = networks.backbone_features(
            network, lesson.family.layout, torch.zeros(1, 3, side, side)
        )
    head = nn.ModuleList(nn.Linear(f.shape[1] * GRID**2, lesson.label_count) for f in levels)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def to_inputs(pixels: Tensor, lesson: Lesson) -> Tensor:
    """Do to a batch what `decode.planes` does to one picture, and bring it to the device."""
    ordered = pixels.flip(1) if lesson.family.channels == "bgr" else pixels
    inputs = (ordered.float() * lesson.family.scale).contiguous(memory_format=torch.channels_last)
    return inputs.to(lesson.recipe.device)


def primer_loss(
    lesson: Lesson, model: nn.ModuleDict, inputs: Tensor, boxes: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Cross-entropy of the whole picture's emotion, on two pictures laid over each other."""
    recipe = lesson.recipe
    if recipe.primer_crop:
        inputs = crop_faces(inputs, boxes, recipe.primer_crop, generator)
    label = boxes[:, 0, 0].long()
    # Pictures without a face say nothing about emotions.
    usable = label >= 0
    target = functional.one_hot(label.clamp(min=0), lesson.label_count).float()
    if recipe.mixup > 0:
        share = _beta(recipe.mixup, generator)
        inputs = share * inputs + (1 - share) * inputs.flip(0)
        target = share * target + (1 - share) * target.flip(0)
        usable = usable & usable.flip(0)
    target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / lesson.label_count
    logits = _primer_logits(lesson, model, inputs)
    each = functional.cross_entropy(logits, target, reduction="none") * usable
    return {"loss": each.sum() / usable.sum().clamp(min=1)}


def _primer_logits(lesson: Lesson, model: nn.ModuleDict, inputs: Tensor) -> Tensor:
    """Sum what every level says of the picture, pooled to a grid that keeps brows over mouths.

    In trials on AffectNet, the deepest level alone pooled to one cell was still at chance after
    300 to 750 steps, where this had left it.
    """
    network, head = model["network"], cast(nn.ModuleList, model["head"])
    levels = networks.backbone_features(network, lesson.family.layout, inputs)
    logits = inputs.new_zeros(len(inputs), lesson.label_count)
    for layer, level in zip(head, levels, strict=True):
        pooled = functional.adaptive_avg_pool2d(level, GRID).flatten(1) / GRID**2
        logits = logits + layer(pooled)
    return logits


def detector_loss(
    lesson: Lesson, model: nn.ModuleDict, teacher: nn.ModuleDict | None,
    inputs: Tensor, boxes: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """LibreYOLO's own loss, and cross-entropy of what its candidates say together.

    The library's loss judges every candidate by itself, label by label. The added part judges
    the vote that `decode.detect` will take, labels against each other.

    Args:
        teacher: the finished primer, whose opinion of the same picture is mixed into the target.
    """
    network, layout = model["network"], lesson.family.layout
    raw = networks.raw_outputs(network, layout, inputs)
    parts = networks.losses(network, layout, raw, inputs, boxes)
    if lesson.recipe.vote_weight <= 0:
        return parts
    logits, confidence = networks.candidates(raw, layout, lesson.label_count)
    # Removed boxes leave gaps, so the one face may stand in any row.
    label = boxes[:, :, 0].amax(1).clamp(min=0).long()
    target = _soft_target(lesson, teacher, label, inputs, boxes)
    single = (boxes[:, :, 0] >= 0).sum(1) == 1
    vote = _vote_loss(logits, confidence.detach(), target, single)
    return {**parts, "loss": parts["loss"] + lesson.recipe.vote_weight * vote, "vote": vote}


def _soft_target(
    lesson: Lesson, teacher: nn.ModuleDict | None, label: Tensor, inputs: Tensor, boxes: Tensor
) -> Tensor:
    """Return (batch, labels): the smoothed label, mixed with what the teacher sees."""
    recipe, count = lesson.recipe, lesson.label_count
    target = functional.one_hot(label, count) * (1 - recipe.label_smoothing)
    target = target + recipe.label_smoothing / count
    if teacher is None or recipe.teacher_share <= 0:
        return target
    with torch.no_grad():
        if recipe.primer_crop:  # what it has learnt to look at
            inputs = crop_faces(inputs, boxes, recipe.primer_crop, None)
        opinion = _primer_logits(lesson, teacher.eval(), inputs).softmax(1)
    return (1 - recipe.teacher_share) * target + recipe.teacher_share * opinion


def _vote_loss(logits: Tensor, confidence: Tensor, target: Tensor, single: Tensor) -> Tensor:
    """Cross-entropy of the candidates' mean, for pictures with exactly one face."""
    weight = confidence / confidence.sum(1, keepdim=True).clamp(min=1e-9)
    mean = (logits * weight[:, :, None]).sum(1)
    each = functional.cross_entropy(mean, target, reduction="none")
    return (each * single).sum() / single.sum().clamp(min=1)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha) with the checkpointed generator as its source of seeds."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


@torch.no_grad()
def primer_accuracy(lesson: Lesson, average: nn.ModuleDict) -> float:
    """Share of validation pictures whose emotion the primer's head names."""
    average.eval()
    label = lesson.val.boxes[:, 0, 0].long()
    guesses = []
    for pixels, boxes in zip(_chunks(lesson.val.pixels), _chunks(lesson.val.boxes), strict=True):
        inputs = to_inputs(pixels, lesson)
        if lesson.recipe.primer_crop:
            inputs = crop_faces(inputs, boxes, lesson.recipe.primer_crop, None)
        guesses.append(_primer_logits(lesson, average, inputs).argmax(1).cpu())
    right = (torch.cat(guesses) == label) & (label >= 0)
    return float(right.sum() / (label >= 0).sum().clamp(min=1))


def detector_scores(lesson: Lesson, network: nn.Module) -> dict[str, float]:
    """Share of pictures whose best detection overlaps a labelled face and names its emotion."""
    rows: list[tuple[float, float, float]] = []
    for number, output in enumerate(_outputs(lesson, network)):
        truth = lesson.val.boxes[number].numpy()
        truth = truth[truth[:, 0] >= 0]
        if len(truth):
            rows.append(_hit(lesson, output, truth))
    right, iou, confidence = np.array(rows or [(0.0, 0.0, 0.0)]).mean(0)
    return {
        "val_accuracy": float(right), "val_iou": float(iou), "val_confidence": float(confidence),
    }  # fmt: skip


def _chunks(pixels: Tensor, size: int = 64) -> Iterator[Tensor]:
    for start in range(0, len(pixels), size):
        yield pixels[start : start + size]


@torch.no_grad()
def _outputs(lesson: Lesson, network: nn.Module) -> Iterator[NDArray[np.float32]]:
    for chunk in _chunks(lesson.val.pixels):
        inputs = to_inputs(chunk, lesson)
        yield from networks.predict(network, lesson.family.layout, inputs).cpu().numpy()


def _hit(
    lesson: Lesson, output: NDArray[np.float32], truth: NDArray[np.float32]
) -> tuple[float, float, float]:
    side = lesson.recipe.image_size
    boxes, scores = detect(output, lesson.facts, Fit(1.0, 0, 0, side, side))
    if not len(boxes):
        return 0.0, 0.0, 0.0
    overlaps = overlap(boxes[0], truth[:, 1:])
    match = int(overlaps.argmax())
    right = overlaps[match] >= 0.5 and scores[0].argmax() == truth[match, 0]
    return float(right), float(overlaps[match]), float(scores[0].max())
