"""The training loop: two phases, and a checkpoint after every epoch.

First the primer: the backbone alone learns to name the emotion of whole pictures, which is
cheaper than a detector's step and gives it features to start from. Then the detector learns
faces and emotions together. All random numbers come from one generator whose state is in the
checkpoint, so that an interrupted training ends with the same weights as an undisturbed one.

Knows phases, steps and checkpoints. Does not know how a network is built or exported
(`networks.py`), how pictures get into memory (`pictures.py`), nor who asked for the training.
"""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import TrainingError

from . import networks
from .augment import augment, crop_faces
from .decode import Fit, detect, overlap
from .pictures import Pictures
from .recipe import Recipe

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
MOMENTUM = 0.9
BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than AdamW's 0.999 suits runs of few hundred steps."""
CLIP = 10.0
"""Largest norm of a gradient; a guard against the rare broken batch, seldom reached."""
GRID = 3
"""Cells a side to which the primer pools features: a face has three storeys."""
LAST_RATE = 0.01
"""Learning rate at the end of a phase as a share of its peak."""


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


@dataclass
class Progress:
    """All that changes while a training goes on; what a checkpoint holds."""

    model: nn.ModuleDict
    """"network": the detector, "head": the primer's layers on the backbone."""
    average: nn.ModuleDict
    """Moving average of the model; what is validated and exported."""
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    epoch: int = 0
    """Epochs done, over both phases."""
    steps: int = 0
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
            progress.optimizer = _optimizer(progress.model, lesson.recipe)
        numbers = _epoch(lesson, progress)
        progress.epoch += 1
        _judge(lesson, progress, numbers, work / "best.pt")
        _write(_checkpoint(lesson, progress), work / "last.pt")
        on_epoch(progress.epoch, numbers)
    best = torch.load(work / "best.pt", map_location="cpu", weights_only=True)
    progress.average["network"].load_state_dict(best["model"])
    (work / "last.pt").unlink()
    return progress, resumed


def _begin(lesson: Lesson, network: nn.Module, seed: int) -> Progress:
    generator = torch.Generator().manual_seed(seed)
    head = _head(lesson, network)
    model = nn.ModuleDict({"network": network, "head": head})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = lesson.recipe.bn_momentum
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    return Progress(model, average, _optimizer(model, lesson.recipe), generator)


def _head(lesson: Lesson, network: nn.Module) -> nn.ModuleList:
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


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Decay weights and not biases or normalisation, as usual for such networks."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=BETAS)
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
    for step, (pixels, boxes) in enumerate(_batches(lesson, progress.generator, steps)):
        rate = _rate(recipe, progress.epoch, step / steps)
        parts = (_primer_loss if primer else _detector_loss)(lesson, progress, pixels, boxes)
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
    lesson: Lesson, generator: torch.Generator, steps: int
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
        yield _inputs(pixels, lesson.family), boxes


def _inputs(pixels: Tensor, family: networks.Family) -> Tensor:
    """Do to a batch what `decode.planes` does to one picture."""
    ordered = pixels.flip(1) if family.channels == "bgr" else pixels
    return (ordered.float() * family.scale).contiguous(memory_format=torch.channels_last)


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


def _primer_loss(
    lesson: Lesson, progress: Progress, inputs: Tensor, boxes: Tensor
) -> dict[str, Tensor]:
    """Cross-entropy of the whole picture's emotion, on two pictures laid over each other."""
    recipe = lesson.recipe
    if recipe.primer_crop:
        inputs = crop_faces(inputs, boxes, recipe.primer_crop, progress.generator)
    label = boxes[:, 0, 0].long()
    target = functional.one_hot(label.clamp(min=0), lesson.label_count).float()
    if recipe.mixup > 0:
        share = _beta(recipe.mixup, progress.generator)
        inputs = share * inputs + (1 - share) * inputs.flip(0)
        target = share * target + (1 - share) * target.flip(0)
    target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / lesson.label_count
    logits = _primer_logits(lesson, progress.model, inputs)
    # Pictures without a face say nothing about emotions.
    each = functional.cross_entropy(logits, target, reduction="none") * (label >= 0)
    return {"loss": each.sum() / (label >= 0).sum().clamp(min=1)}


def _primer_logits(lesson: Lesson, model: nn.ModuleDict, inputs: Tensor) -> Tensor:
    """Sum what every level says of the picture, pooled to a grid that keeps brows over mouths.

    Pooling to one cell, and the deepest level alone, stayed at chance for thousands of steps.
    """
    network, head = model["network"], cast(nn.ModuleList, model["head"])
    levels = networks.backbone_features(network, lesson.family.layout, inputs)
    logits = torch.zeros(len(inputs), lesson.label_count)
    for layer, level in zip(head, levels, strict=True):
        pooled = functional.adaptive_avg_pool2d(level, GRID).flatten(1) / GRID**2
        logits = logits + layer(pooled)
    return logits


def _detector_loss(
    lesson: Lesson, progress: Progress, inputs: Tensor, boxes: Tensor
) -> dict[str, Tensor]:
    """LibreYOLO's own loss, and cross-entropy of what its candidates say together.

    The library's loss judges every candidate by itself, label by label. The added part judges
    the vote that `decode.detect` will take, labels against each other.
    """
    network, layout = progress.model["network"], lesson.family.layout
    raw = networks.raw_outputs(network, layout, inputs)
    logits, confidence = networks.candidates(raw, layout, lesson.label_count)
    vote = _vote_loss(logits, confidence.detach(), boxes, lesson.recipe.label_smoothing)
    parts = networks.losses(network, layout, raw, inputs, boxes)
    total = parts["loss"] + lesson.recipe.vote_weight * vote
    return {**parts, "loss": total, "vote": vote}


def _vote_loss(logits: Tensor, confidence: Tensor, boxes: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of the candidates' mean, for pictures with exactly one face."""
    weight = confidence / confidence.sum(1, keepdim=True).clamp(min=1e-9)
    mean = (logits * weight[:, :, None]).sum(1)
    single = (boxes[:, :, 0] >= 0).sum(1) == 1
    # Removed boxes leave gaps, so the one face may stand in any row.
    label = boxes[:, :, 0].amax(1).clamp(min=0).long()
    each = functional.cross_entropy(mean, label, reduction="none", label_smoothing=smoothing)
    return (each * single).sum() / single.sum().clamp(min=1)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha) with the checkpointed generator as its source of seeds."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def _step(progress: Progress, loss: Tensor, rate: float, decay: float) -> None:
    if not torch.isfinite(loss):
        raise TrainingError("The loss is no number any more; train again with a smaller lr.")
    for group in progress.optimizer.param_groups:
        group["lr"] = rate
    progress.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(progress.model.parameters(), CLIP)
    progress.optimizer.step()
    progress.steps += 1
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
    if progress.epoch <= lesson.recipe.primer_epochs:
        numbers["val_accuracy"] = _primer_accuracy(lesson, progress.average)
    else:
        numbers.update(_detector_scores(lesson, progress.average["network"]))
        if numbers["val_accuracy"] > progress.best_score:
            progress.best_score, progress.best_epoch = numbers["val_accuracy"], progress.epoch
            _write({"model": progress.average["network"].state_dict()}, best)
    progress.history.append(dict(numbers))


def _stale(lesson: Lesson, progress: Progress) -> bool:
    patience = lesson.recipe.patience
    return 0 < patience <= progress.epoch - progress.best_epoch and progress.best_epoch > 0


@torch.no_grad()
def _primer_accuracy(lesson: Lesson, average: nn.ModuleDict) -> float:
    average.eval()
    label = lesson.val.boxes[:, 0, 0].long()
    guesses = []
    for pixels, boxes in zip(_chunks(lesson.val.pixels), _chunks(lesson.val.boxes), strict=True):
        inputs = _inputs(pixels, lesson.family)
        if lesson.recipe.primer_crop:
            inputs = crop_faces(inputs, boxes, lesson.recipe.primer_crop, None)
        guesses.append(_primer_logits(lesson, average, inputs).argmax(1))
    right = (torch.cat(guesses) == label) & (label >= 0)
    return float(right.sum() / (label >= 0).sum().clamp(min=1))


def _detector_scores(lesson: Lesson, network: nn.Module) -> dict[str, float]:
    """Share of pictures whose best finding overlaps a labelled face and names its emotion."""
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
def _outputs(lesson: Lesson, network: nn.Module) -> Iterator[np.ndarray[Any, Any]]:
    for chunk in _chunks(lesson.val.pixels):
        inputs = _inputs(chunk, lesson.family)
        yield from networks.predict(network, lesson.family.layout, inputs).numpy()


def _hit(
    lesson: Lesson, output: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]
) -> tuple[float, float, float]:
    side = lesson.recipe.image_size
    boxes, scores = detect(output, lesson.facts, Fit(1.0, 0, 0, side, side))
    if not len(boxes):
        return 0.0, 0.0, 0.0
    overlaps = overlap(boxes[0], truth[:, 1:])
    match = int(overlaps.argmax())
    right = overlaps[match] >= 0.5 and scores[0].argmax() == truth[match, 0]
    return float(right), float(overlaps[match]), float(scores[0].max())


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
    }


def _resume(lesson: Lesson, progress: Progress, path: Path) -> bool:
    """Load an unfinished checkpoint of the same lesson into `progress`, if there is one."""
    stored = _read(path)
    if stored.get("identity") != lesson.identity:
        return False
    progress.model.load_state_dict(stored["model"])
    progress.average.load_state_dict(stored["average"])
    progress.optimizer.load_state_dict(stored["optimizer"])
    progress.generator.set_state(stored["generator"])
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
