"""The loss of each training phase.

Does not know how weights are updated, averaged or stored (`trainer.py`), nor how LibreYOLO computes
its part of the loss (`networks.py`).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import networks
from .augmentation import crop_faces
from .expression.detector import ExpressionDetector
from .expression.detector import losses as expression_losses
from .training_setup import TrainingSetup

POOL_SIZE = 3
"""Cells per side of the pooled features: brows, eyes and mouth stay in different rows."""


def pretrain_head(setup: TrainingSetup, network: nn.Module) -> nn.ModuleList:
    """One linear layer per backbone level, initialised with zeros: all levels start equal.

    None without a pretraining phase.
    """
    if not setup.recipe.pretrain_epochs:
        return nn.ModuleList()
    side = setup.recipe.pretrain_crop_size or setup.recipe.image_size
    with torch.no_grad():
        network.eval()
        levels = networks.backbone_features(
            network, setup.family.output_format, torch.zeros(1, 3, side, side)
        )
    head = nn.ModuleList(
        nn.Linear(level.shape[1] * POOL_SIZE**2, setup.label_count) for level in levels
    )
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def pretrain_loss(
    setup: TrainingSetup, model: nn.ModuleDict, inputs: Tensor, boxes: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    """Cross-entropy of the whole image's emotion, with mixup and label smoothing."""
    recipe = setup.recipe
    if recipe.pretrain_crop_size:
        inputs = crop_faces(inputs, boxes, recipe.pretrain_crop_size, generator)
    label = boxes[:, 0, 0].long()
    has_face = label >= 0
    target = functional.one_hot(label.clamp(min=0), setup.label_count).float()
    if recipe.mixup_alpha > 0:
        mix = _sample_beta(recipe.mixup_alpha, generator)
        inputs = mix * inputs + (1 - mix) * inputs.flip(0)
        target = mix * target + (1 - mix) * target.flip(0)
        has_face = has_face & has_face.flip(0)
    target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / setup.label_count
    logits = pretrain_logits(setup, model, inputs)
    per_image = functional.cross_entropy(logits, target, reduction="none") * has_face
    return {"loss": per_image.sum() / has_face.sum().clamp(min=1)}


def pretrain_logits(setup: TrainingSetup, model: nn.ModuleDict, inputs: Tensor) -> Tensor:
    """Sum the logits of all backbone levels, each pooled to POOL_SIZE x POOL_SIZE cells.

    In trials on AffectNet, the deepest level alone pooled to one cell was still at chance after
    300 to 750 steps, where this was not.
    """
    network, head = model["network"], cast(nn.ModuleList, model["head"])
    levels = networks.backbone_features(network, setup.family.output_format, inputs)
    logits = inputs.new_zeros(len(inputs), setup.label_count)
    for layer, level in zip(head, levels, strict=True):
        pooled = functional.adaptive_avg_pool2d(level, POOL_SIZE).flatten(1) / POOL_SIZE**2
        logits = logits + layer(pooled)
    return logits


def detector_loss(
    setup: TrainingSetup, model: nn.ModuleDict, teacher: nn.ModuleDict | None,
    inputs: Tensor, boxes: Tensor, generator: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    """LibreYOLO's own loss plus the cross-entropy of the anchors' common vote.

    The library's loss treats each anchor and each label alone. The added part treats the vote that
    `decode.detect` takes at inference, with the labels against each other.

    Args:
        teacher: the pretrained classifier, whose output for the same image is mixed into the
            target (distillation).
    """
    network, output_format = model["network"], setup.family.output_format
    if output_format == "face-api":
        return _expression_loss(setup, cast(ExpressionDetector, network), inputs, boxes, generator)
    raw = networks.raw_outputs(network, output_format, inputs)
    parts = networks.losses(network, output_format, raw, inputs, boxes)
    if setup.recipe.vote_loss_weight <= 0:
        return parts
    logits, confidence = networks.anchor_outputs(raw, output_format, setup.label_count)
    # Removed boxes leave gaps, so the one face may be in any row.
    label = boxes[:, :, 0].amax(1).clamp(min=0).long()
    target = _distillation_target(setup, teacher, label, inputs, boxes)
    single_face = (boxes[:, :, 0] >= 0).sum(1) == 1
    vote = _vote_loss(logits, confidence.detach(), target, single_face)
    return {**parts, "loss": parts["loss"] + setup.recipe.vote_loss_weight * vote, "vote": vote}


def _expression_loss(
    setup: TrainingSetup, network: ExpressionDetector, inputs: Tensor, boxes: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    """The loss of a detector on a public network, with mixup: both images count by their share."""
    recipe, side = setup.recipe, inputs.shape[-1]
    mix = _sample_beta(recipe.mixup_alpha, generator) if recipe.mixup_alpha > 0 else 1.0
    raw = network.raw_outputs(mix * inputs + (1 - mix) * inputs.flip(0))
    parts = {"box": inputs.new_zeros(()), "objectness": inputs.new_zeros(())}
    parts["class"] = inputs.new_zeros(())
    for share, labelled in ((mix, boxes), (1 - mix, boxes.flip(0))):
        label = labelled[..., 0].clamp(min=0).long()
        target = functional.one_hot(label, setup.label_count) * (1 - recipe.label_smoothing)
        target = target + recipe.label_smoothing / setup.label_count
        own = expression_losses(raw, labelled, target, side)
        parts = {name: part + share * own[name] for name, part in parts.items()}
    total = parts["box"] + parts["objectness"] + recipe.vote_loss_weight * parts["class"]
    return {"loss": total, **parts}


def _distillation_target(
    setup: TrainingSetup, teacher: nn.ModuleDict | None, label: Tensor, inputs: Tensor,
    boxes: Tensor,
) -> Tensor:  # fmt: skip
    """Return (batch, labels): the smoothed label, mixed with the teacher's probabilities."""
    recipe, count = setup.recipe, setup.label_count
    target = functional.one_hot(label, count) * (1 - recipe.label_smoothing)
    target = target + recipe.label_smoothing / count
    if teacher is None or recipe.distillation_weight <= 0:
        return target
    with torch.no_grad():
        if recipe.pretrain_crop_size:  # the teacher was trained on such crops
            inputs = crop_faces(inputs, boxes, recipe.pretrain_crop_size, None)
        soft = pretrain_logits(setup, teacher.eval(), inputs).softmax(1)
    return (1 - recipe.distillation_weight) * target + recipe.distillation_weight * soft


def _vote_loss(logits: Tensor, confidence: Tensor, target: Tensor, single_face: Tensor) -> Tensor:
    """Cross-entropy of the anchors' weighted mean, for images with exactly one face."""
    weight = confidence / confidence.sum(1, keepdim=True).clamp(min=1e-9)
    mean = (logits * weight[:, :, None]).sum(1)
    per_image = functional.cross_entropy(mean, target, reduction="none")
    return (per_image * single_face).sum() / single_face.sum().clamp(min=1)


def _sample_beta(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha), seeded by the generator whose state is checkpointed."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))
