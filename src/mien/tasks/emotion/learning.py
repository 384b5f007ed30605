"""The training loop: two phases, and a checkpoint after every epoch.

First the primer: the backbone alone learns to name the emotion of whole pictures, which is
cheaper than a detector's step and gives it features to start from. Then the detector learns
faces and emotions together. All random numbers come from one generator whose state is in the
checkpoint, so that an interrupted training ends with the same weights as an undisturbed one.

Knows phases, steps and checkpoints. Does not know what is minimised (`lesson.py`), how a
network is built or exported (`networks.py`), nor who asked for the training.
"""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import TrainingError

from . import networks
from .augment import augment, scatter
from .lesson import (
    Lesson,
    detector_loss,
    detector_scores,
    primer_accuracy,
    primer_head,
    primer_loss,
    to_inputs,
)
from .recipe import Recipe

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
MOMENTUM = 0.9
BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than AdamW's 0.999 suits runs of few hundred steps."""
CLIP = 10.0
"""Largest norm of a gradient; a guard against the rare broken batch, seldom reached."""
LAST_RATE = 0.01
"""Learning rate at the end of a phase as a share of its peak."""


@dataclass
class Progress:
    """All that changes while a training goes on; what a checkpoint holds."""

    model: nn.ModuleDict
    """"network": the detector, "head": the primer's layers on the backbone."""
    average: nn.ModuleDict
    """Moving average of the model; what is validated and exported."""
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    teacher: nn.ModuleDict | None = None
    """The finished primer, in the detector phase."""
    epoch: int = 0
    """Epochs done, over both phases."""
    steps: int = 0
    """Steps done in the phase; the layers that a phase adds need a young average."""
    best_epoch: int = 0
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


def learn(
    lesson: Lesson, network: nn.Module, seed: int, work: Path, on_epoch: OnEpoch
) -> tuple[Progress, bool]:
    """Train, or go on with the unfinished checkpoint of the same lesson in `work`.

    Leaves `best.pt` in `work`: the averaged weights of the best epoch.

    Returns:
        The progress with the best averaged weights in `average`, and whether it resumed.

    Raises:
        TrainingError: the loss is no number any more.
    """
    progress = _begin(lesson, network, seed)
    resumed = _resume(lesson, progress, work / "last.pt")
    while progress.epoch < lesson.total and not _stale(lesson, progress):
        if progress.epoch == lesson.recipe.primer_epochs > 0:
            _begin_detector(lesson, progress)
        numbers = _epoch(lesson, progress)
        progress.epoch += 1
        _judge(lesson, progress, numbers, work / "best.pt")
        _write(_checkpoint(lesson, progress), work / "last.pt")
        on_epoch(progress.epoch, numbers)
    best = torch.load(work / "best.pt", map_location="cpu", weights_only=True)
    progress.average["network"].load_state_dict(best["model"])
    return progress, resumed


def _begin(lesson: Lesson, network: nn.Module, seed: int) -> Progress:
    generator = torch.Generator().manual_seed(seed)
    head = primer_head(lesson, network)
    model = nn.ModuleDict({"network": network, "head": head})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = lesson.recipe.bn_momentum
    model.to(lesson.recipe.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    primer = lesson.recipe.primer_epochs > 0
    return Progress(model, average, _optimizer(lesson, model, primer), generator)


def _begin_detector(lesson: Lesson, progress: Progress) -> None:
    """Go on from the primer's averaged weights, with a new optimizer and a young average."""
    progress.model.load_state_dict(progress.average.state_dict())
    progress.teacher = copy.deepcopy(progress.average)
    progress.optimizer = _optimizer(lesson, progress.model, primer=False)
    progress.steps = 0


def _optimizer(lesson: Lesson, model: nn.ModuleDict, primer: bool) -> torch.optim.Optimizer:
    """Decay weights and not biases or normalisation; let a primed backbone move slower."""
    recipe = lesson.recipe
    slow = {id(p) for p in networks.backbone(model["network"], lesson.family.layout).parameters()}
    share = 1.0 if primer or not recipe.primer_epochs else recipe.backbone_share
    groups = [
        {
            "params": [p for p in model.parameters() if (p.ndim > 1, id(p) in slow) == key],
            "weight_decay": recipe.weight_decay if key[0] else 0.0,
            "share": share if key[1] else 1.0,
        }
        for key in ((True, True), (True, False), (False, True), (False, False))
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=BETAS, fused=True)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM, nesterov=True)


def _epoch(lesson: Lesson, progress: Progress) -> dict[str, float]:
    """Train one epoch and return its mean losses and its last learning rate."""
    primer = progress.epoch < lesson.recipe.primer_epochs
    lesson = _grown(lesson, progress.epoch)
    recipe = lesson.recipe
    progress.model.train()
    sums: dict[str, float] = {}
    steps = len(lesson.train) // recipe.batch or 1
    rate = 0.0
    for step, (pixels, boxes) in enumerate(_batches(lesson, progress.generator, steps, primer)):
        rate = _rate(recipe, progress.epoch, step / steps)
        if primer:
            parts = primer_loss(lesson, progress.model, pixels, boxes, progress.generator)
        else:
            parts = detector_loss(lesson, progress.model, progress.teacher, pixels, boxes)
        _step(progress, parts["loss"], rate, recipe.average)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    means = {f"train_{name}": value / steps for name, value in sums.items()}
    return {"primer": float(primer), "lr": rate, **means}


def _grown(lesson: Lesson, epoch: int) -> Lesson:
    """Start with plain pictures: a new network leaves chance sooner when they keep still."""
    grow = lesson.recipe.grow_epochs
    if epoch >= grow:
        return lesson
    return replace(lesson, recipe=lesson.recipe.scaled(epoch / grow))


def _batches(
    lesson: Lesson, generator: torch.Generator, steps: int, primer: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented pictures as network input, and their boxes; the short last batch is left."""
    recipe = lesson.recipe
    order = torch.randperm(len(lesson.train), generator=generator)
    for step in range(steps):
        chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
        pixels, boxes = augment(
            lesson.train.pixels[chosen], lesson.train.boxes[chosen],
            recipe.strength, lesson.facts["pad_value"], generator,
        )  # fmt: skip
        if recipe.scatter and not primer:  # the primer learns expressions, which small faces lose
            pixels, boxes = scatter(pixels, boxes, recipe.scatter, recipe.scatter_least, generator)
        yield to_inputs(pixels, lesson), boxes.to(recipe.device)


def _rate(recipe: Recipe, epoch: int, part: float) -> float:
    """Rise linearly over `ramp_epochs`, then fall as half a cosine; each phase anew."""
    primer = epoch < recipe.primer_epochs
    peak = recipe.primer_lr if primer else recipe.lr
    length = recipe.primer_epochs if primer else recipe.epochs
    done = (epoch if primer else epoch - recipe.primer_epochs) + part
    ramp = min(recipe.ramp_epochs, length / 2)
    if done < ramp:
        return peak * max(done / ramp, LAST_RATE)
    fall = (1 + math.cos(math.pi * (done - ramp) / (length - ramp))) / 2
    return peak * (LAST_RATE + (1 - LAST_RATE) * fall)


def _step(progress: Progress, loss: Tensor, rate: float, decay: float) -> None:
    if not torch.isfinite(loss):
        raise TrainingError("The loss is no number any more; train again with a smaller lr.")
    for group in progress.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    progress.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(progress.model.parameters(), CLIP)
    progress.optimizer.step()
    progress.steps += 1
    if decay > 0:
        # A young average follows faster: the first weights say nothing.
        _follow(progress, min(decay, (1 + progress.steps) / (10 + progress.steps)))


@torch.no_grad()
def _follow(progress: Progress, decay: float) -> None:
    """Move the average a step towards the model; numbers of batches are copied."""
    own = progress.average.state_dict()
    new = progress.model.state_dict()
    names = [name for name, value in own.items() if value.is_floating_point()]
    torch._foreach_lerp_([own[n] for n in names], [new[n] for n in names], 1 - decay)
    for name in own.keys() - set(names):
        own[name].copy_(new[name])


def _judge(lesson: Lesson, progress: Progress, numbers: dict[str, float], best: Path) -> None:
    """Validate the average, note the numbers, and keep the weights if they are the best yet."""
    if lesson.recipe.average == 0:
        progress.average.load_state_dict(progress.model.state_dict())
    if progress.epoch <= lesson.recipe.primer_epochs:
        numbers["val_accuracy"] = primer_accuracy(lesson, progress.average)
    else:
        numbers.update(detector_scores(lesson, progress.average["network"]))
        if numbers["val_accuracy"] > progress.best_score:
            progress.best_score, progress.best_epoch = numbers["val_accuracy"], progress.epoch
            _write({"model": progress.average["network"].state_dict()}, best)
    progress.history.append(dict(numbers))


def _stale(lesson: Lesson, progress: Progress) -> bool:
    patience = lesson.recipe.patience
    return 0 < patience <= progress.epoch - progress.best_epoch and progress.best_epoch > 0


def _checkpoint(lesson: Lesson, progress: Progress) -> dict[str, Any]:
    return {
        "identity": lesson.identity,
        "epoch": progress.epoch,
        "steps": progress.steps,
        "best_epoch": progress.best_epoch,
        "best_score": progress.best_score,
        "history": progress.history,
        "model": progress.model.state_dict(),
        "average": progress.average.state_dict(),
        "optimizer": progress.optimizer.state_dict(),
        "generator": progress.generator.get_state(),
        "teacher": progress.teacher and progress.teacher.state_dict(),
    }


def _resume(lesson: Lesson, progress: Progress, path: Path) -> bool:
    """Load an unfinished checkpoint of the same lesson into `progress`, if there is one."""
    stored = _read(path)
    if stored.get("identity") != lesson.identity:
        return False
    progress.model.load_state_dict(stored["model"])
    progress.average.load_state_dict(stored["average"])
    if stored["epoch"] != lesson.recipe.primer_epochs:  # there a new optimizer begins anyway
        primer = stored["epoch"] < lesson.recipe.primer_epochs
        progress.optimizer = _optimizer(lesson, progress.model, primer)
        progress.optimizer.load_state_dict(stored["optimizer"])
    progress.generator.set_state(stored["generator"])
    if stored["teacher"]:
        progress.teacher = copy.deepcopy(progress.average)
        progress.teacher.load_state_dict(stored["teacher"])
    for name in ("epoch", "steps", "best_epoch", "best_score", "history"):
        setattr(progress, name, stored[name])
    log.info("Going on after epoch %d of %d.", progress.epoch, lesson.total)
    return True


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        stored: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        log.warning("%s cannot be read (%s); training starts from the beginning.", path, error)
        return {}
    return stored


def _write(content: Mapping[str, Any], path: Path) -> None:
    """Replace the file at once, so that a kill leaves the old or the new one and no half."""
    partial = path.with_suffix(".partial")
    torch.save(dict(content), partial)
    partial.replace(path)
