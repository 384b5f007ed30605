"""The state of a running training, and the checkpoint file from which it resumes."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

log = logging.getLogger(__name__)

_COUNTERS = ("epoch", "phase_steps", "best_epoch", "best_score", "cpu_s", "history")


@dataclass
class TrainingState:
    """Everything that changes during a training."""

    model: nn.ModuleDict
    """"network": the detector, "head": the pretraining layers on the backbone."""
    ema: nn.ModuleDict
    """Exponential moving average of the model; it is validated and exported."""
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """The source of all random numbers."""
    teacher: nn.ModuleDict | None = None
    """The pretrained classifier, in the detector phase."""
    epoch: int = 0
    """Completed epochs, over both phases."""
    phase_steps: int = 0
    """Completed steps of the phase; the EMA restarts with it, because a phase adds layers."""
    best_epoch: int = 0
    best_score: float = -1.0
    cpu_s: float = 0.0
    """CPU time of the completed epochs, in all processes that trained them."""
    history: list[dict[str, float]] = field(default_factory=list)

    def to_checkpoint(self, identity: str) -> dict[str, Any]:
        """Return the state as values that `torch.save` can write without pickled classes."""
        return {
            "identity": identity,
            **{name: getattr(self, name) for name in _COUNTERS},
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "teacher": self.teacher and self.teacher.state_dict(),
        }

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Load everything but the optimizer, which depends on the phase."""
        self.model.load_state_dict(checkpoint["model"])
        self.ema.load_state_dict(checkpoint["ema"])
        self.generator.set_state(checkpoint["generator"])
        if checkpoint["teacher"]:
            self.teacher = copy.deepcopy(self.ema)
            self.teacher.load_state_dict(checkpoint["teacher"])
        for name in _COUNTERS:
            setattr(self, name, checkpoint[name])


def load(path: Path) -> Mapping[str, Any]:
    """Return the content of a checkpoint file; empty if there is none that can be read."""
    if not path.is_file():
        return {}
    try:
        content: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        log.warning("%s cannot be read (%s); training starts from the beginning.", path, error)
        return {}
    return content


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically: after a kill, the old or the new file is complete."""
    partial = path.with_suffix(".partial")
    torch.save(dict(content), partial)
    partial.replace(path)
