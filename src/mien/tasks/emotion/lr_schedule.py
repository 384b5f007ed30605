"""The learning-rate schedule: linear warm-up, then cosine decay, once for each phase."""

import math

from .recipe import Recipe

FINAL_LR_RATIO = 0.01
"""Learning rate at the end of a phase relative to its peak."""


def learning_rate(recipe: Recipe, epoch: int, epoch_fraction: float) -> float:
    """Return the learning rate of one step.

    Args:
        recipe: its `warmup_epochs` is limited to half of the phase.
        epoch: completed epochs, over both phases.
        epoch_fraction: completed part of the current epoch, 0..1.
    """
    pretraining = epoch < recipe.pretrain_epochs
    peak = recipe.pretrain_lr if pretraining else recipe.lr
    phase_epochs = recipe.pretrain_epochs if pretraining else recipe.epochs
    progress = (epoch if pretraining else epoch - recipe.pretrain_epochs) + epoch_fraction
    warmup = min(recipe.warmup_epochs, phase_epochs / 2)
    if progress < warmup:
        return peak * max(progress / warmup, FINAL_LR_RATIO)
    cosine = (1 + math.cos(math.pi * (progress - warmup) / (phase_epochs - warmup))) / 2
    return peak * (FINAL_LR_RATIO + (1 - FINAL_LR_RATIO) * cosine)
