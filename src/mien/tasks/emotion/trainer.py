"""The training loop: two phases, and a checkpoint after every epoch.

Phase 1, pretraining: the backbone alone learns to classify whole images, which is cheaper than a
detector step and gives it features to start from. Phase 2: the detector learns boxes and emotions
together. All random numbers come from one generator whose state is in the checkpoint, so that an
interrupted training ends with the same weights as an uninterrupted one.

Does not know the losses (`losses.py`), the learning-rate schedule (`lr_schedule.py`), how a network
is built or exported (`networks.py`), nor the stage that called it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import process_time

import torch
from torch import Tensor, nn

from mien.errors import TrainingError

from . import checkpoint, networks
from .augmentation import augment, shrink_objects
from .checkpoint import TrainingState
from .losses import detector_loss, pretrain_head, pretrain_loss
from .lr_schedule import learning_rate
from .training_setup import TrainingSetup
from .validation import detector_metrics, pretrain_accuracy

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
SGD_MOMENTUM = 0.9
ADAMW_BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than the usual 0.999 suits runs of few hundred steps."""
MAX_GRAD_NORM = 10.0
"""Gradient clipping; a guard against the rare broken batch, seldom reached."""
LAST_CHECKPOINT, BEST_CHECKPOINT = "last.pt", "best.pt"


def train(
    setup: TrainingSetup, network: nn.Module, seed: int, work: Path, on_epoch: OnEpoch
) -> tuple[TrainingState, bool]:
    """Train, or resume from the unfinished checkpoint of the same setup in `work`.

    Leaves `best.pt` in `work`: the EMA weights of the best epoch.

    Returns:
        The state with the best weights in `ema`, and whether training was resumed.

    Raises:
        TrainingError: the loss is not finite.
    """
    state = _initial_state(setup, network, seed)
    resumed = _resume(setup, state, work / LAST_CHECKPOINT)
    while state.epoch < setup.total_epochs and not _should_stop_early(setup, state):
        if state.epoch == setup.recipe.pretrain_epochs > 0:
            _begin_detector_phase(setup, state)
        start = process_time()
        metrics = _train_epoch(setup, state)
        state.epoch += 1
        _validate(setup, state, metrics, work / BEST_CHECKPOINT)
        state.cpu_s += process_time() - start
        checkpoint.save(state.to_checkpoint(setup.identity), work / LAST_CHECKPOINT)
        on_epoch(state.epoch, metrics)
    best = torch.load(work / BEST_CHECKPOINT, map_location="cpu", weights_only=True)
    state.ema["network"].load_state_dict(best["model"])
    return state, resumed


def _initial_state(setup: TrainingSetup, network: nn.Module, seed: int) -> TrainingState:
    generator = torch.Generator().manual_seed(seed)
    head = pretrain_head(setup, network)
    model = nn.ModuleDict({"network": network, "head": head})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = setup.recipe.bn_momentum
    model.to(setup.recipe.device, memory_format=torch.channels_last)
    ema = copy.deepcopy(model).requires_grad_(False)
    pretraining = setup.recipe.pretrain_epochs > 0
    return TrainingState(model, ema, _optimizer(setup, model, pretraining), generator)


def _begin_detector_phase(setup: TrainingSetup, state: TrainingState) -> None:
    """Continue from the EMA weights of pretraining, with a new optimizer and a new EMA."""
    state.model.load_state_dict(state.ema.state_dict())
    state.teacher = copy.deepcopy(state.ema)
    state.optimizer = _optimizer(setup, state.model, pretraining=False)
    state.phase_steps = 0


def _optimizer(
    setup: TrainingSetup, model: nn.ModuleDict, pretraining: bool
) -> torch.optim.Optimizer:
    """No weight decay for biases and normalisation; a smaller rate for a pretrained backbone."""
    recipe = setup.recipe
    backbone = networks.backbone(model["network"], setup.family.output_format)
    in_backbone = {id(parameter) for parameter in backbone.parameters()}
    scale = 1.0 if pretraining or not recipe.pretrain_epochs else recipe.backbone_lr_scale
    groups = [
        {
            "params": [p for p in model.parameters() if (p.ndim > 1, id(p) in in_backbone) == key],
            "weight_decay": recipe.weight_decay if key[0] else 0.0,
            "lr_scale": scale if key[1] else 1.0,
        }
        for key in ((True, True), (True, False), (False, True), (False, False))
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=ADAMW_BETAS, fused=True)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=SGD_MOMENTUM, nesterov=True)


def _train_epoch(setup: TrainingSetup, state: TrainingState) -> dict[str, float]:
    """Train one epoch; return its mean losses and its last learning rate."""
    pretraining = state.epoch < setup.recipe.pretrain_epochs
    setup = _with_augmentation_warmup(setup, state.epoch)
    recipe = setup.recipe
    state.model.train()
    sums: dict[str, float] = {}
    steps = len(setup.train) // recipe.batch_size or 1
    lr = 0.0
    batches = _augmented_batches(setup, state.generator, steps, pretraining)
    for step, (pixels, boxes) in enumerate(batches):
        lr = learning_rate(recipe, state.epoch, step / steps)
        if pretraining:
            losses = pretrain_loss(setup, state.model, pixels, boxes, state.generator)
        else:
            losses = detector_loss(
                setup, state.model, state.teacher, pixels, boxes, state.generator
            )
        _optimizer_step(state, losses["loss"], lr, recipe.ema_decay)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    means = {f"train_{name}": value / steps for name, value in sums.items()}
    return {"pretraining": float(pretraining), "lr": lr, **means}


def _with_augmentation_warmup(setup: TrainingSetup, epoch: int) -> TrainingSetup:
    """Start without augmentation: a new network leaves chance level sooner on plain images."""
    warmup = setup.recipe.augment_warmup_epochs
    if epoch >= warmup:
        return setup
    return replace(setup, recipe=setup.recipe.with_augmentation_scaled(epoch / warmup))


def _augmented_batches(
    setup: TrainingSetup, generator: torch.Generator, steps: int, pretraining: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield network inputs and their boxes in random order; the last, shorter batch is dropped."""
    recipe = setup.recipe
    order = torch.randperm(len(setup.train), generator=generator)
    for step in range(steps):
        indices = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        pixels, boxes = augment(
            setup.train.pixels[indices], setup.train.boxes[indices],
            recipe.augmentation, setup.spec.pad_value, generator,
        )  # fmt: skip
        # Pretraining learns expressions, which small faces lose.
        if recipe.small_object_prob and not pretraining:
            pixels, boxes = shrink_objects(
                pixels, boxes, recipe.small_object_prob, recipe.small_object_min_scale, generator
            )
        yield setup.to_network_input(pixels), boxes.to(recipe.device)


def _optimizer_step(state: TrainingState, loss: Tensor, lr: float, ema_decay: float) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(f"The loss is not finite ({float(loss)}). Train with a smaller lr.")
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), MAX_GRAD_NORM)
    state.optimizer.step()
    state.phase_steps += 1
    if ema_decay > 0:
        # Bias correction: the first weights are random and must be forgotten quickly.
        _update_ema(state, min(ema_decay, (1 + state.phase_steps) / (10 + state.phase_steps)))


@torch.no_grad()
def _update_ema(state: TrainingState, decay: float) -> None:
    """Move the EMA one step towards the model; integer buffers are copied."""
    ema, model = state.ema.state_dict(), state.model.state_dict()
    names = [name for name, value in ema.items() if value.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in names], [model[n] for n in names], 1 - decay)
    for name in ema.keys() - set(names):
        ema[name].copy_(model[name])


def _validate(
    setup: TrainingSetup, state: TrainingState, metrics: dict[str, float], best: Path
) -> None:
    """Add the validation metrics of the EMA; save its weights if they are the best so far."""
    if setup.recipe.ema_decay == 0:
        state.ema.load_state_dict(state.model.state_dict())
    if state.epoch <= setup.recipe.pretrain_epochs:
        metrics["val_accuracy"] = pretrain_accuracy(setup, state.ema)
    else:
        metrics.update(detector_metrics(setup, state.ema["network"]))
        if metrics["val_accuracy"] > state.best_score:
            state.best_score, state.best_epoch = metrics["val_accuracy"], state.epoch
            checkpoint.save({"model": state.ema["network"].state_dict()}, best)
    state.history.append(dict(metrics))


def _should_stop_early(setup: TrainingSetup, state: TrainingState) -> bool:
    patience = setup.recipe.early_stopping_patience
    return 0 < patience <= state.epoch - state.best_epoch and state.best_epoch > 0


def _resume(setup: TrainingSetup, state: TrainingState, path: Path) -> bool:
    """Load the unfinished checkpoint of the same setup into `state`, if there is one."""
    saved = checkpoint.load(path)
    if saved.get("identity") != setup.identity:
        return False
    state.restore(saved)
    if state.epoch != setup.recipe.pretrain_epochs:  # there, the next phase makes a new optimizer
        pretraining = state.epoch < setup.recipe.pretrain_epochs
        state.optimizer = _optimizer(setup, state.model, pretraining)
        state.optimizer.load_state_dict(saved["optimizer"])
    log.info("Resuming after epoch %d of %d.", state.epoch, setup.total_epochs)
    return True
