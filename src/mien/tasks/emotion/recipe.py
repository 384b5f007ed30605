"""Every knob of a detector training, and what a training leaves behind.

Plain values only, so that the config, the tests and the docs can speak of a recipe without
torch. The defaults are for photos of about 96 pixels that show one face.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mien.config import Schema


class Strength(Schema):
    """How strongly training pictures are changed at random; 0 switches a change off."""

    flip: float = 0.5
    """Probability of a mirror image: a mirrored face keeps its emotion."""
    rotate: float = 10.0
    """Largest turn in degrees, either way."""
    zoom: float = 0.15
    """Largest relative change of size, either way."""
    shift: float = 0.08
    """Largest move as a share of the side, either way."""
    colour: float = 0.3
    """Largest relative change of brightness, contrast and saturation, either way."""
    grey: float = 0.1
    """Probability of losing all colour."""
    cutout: float = 0.3
    """Largest side of a covered rectangle as a share of the side; half of the pictures get one."""


class Recipe(Schema):
    """How to train; see `learning.py` for the two phases."""

    epochs: int = Field(default=20, ge=1)
    """Epochs of the detector phase."""
    primer_epochs: int = Field(default=60, ge=0)
    """Epochs of the backbone alone before it; 0 leaves the primer out."""
    image_size: int = Field(default=96, ge=32, multiple_of=32)
    """Side of the square input in pixels, a multiple of 32."""
    batch: int = Field(default=16, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 0.001
    """Peak learning rate of the detector phase."""
    backbone_share: float = Field(default=0.2, ge=0, le=1)
    """Share of `lr` for a primed backbone; the layers after it are new and learn faster."""
    primer_lr: float = 0.002
    """Peak learning rate of the primer."""
    primer_crop: int = Field(default=0, ge=0, multiple_of=32)
    """Side to which the primer cuts out the labelled face; 0 shows it the whole picture."""
    ramp_epochs: float = 1.0
    """Epochs over which the rate rises to its peak, in either phase; it falls as a cosine."""
    grow_epochs: float = 0.0
    """Epochs of the primer over which `strength` and `mixup` grow from nothing to full."""
    weight_decay: float = 0.05
    teacher_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the finished primer's opinion in the vote's target; needs a primer."""
    bn_momentum: float = Field(default=0.1, gt=0, le=1)
    """Of the running means of batch normalisation. LibreYOLO's own 0.03 lags on short runs."""
    average: float = Field(default=0.998, ge=0, lt=1)
    """Decay per step of the moving average of the weights; 0 takes the weights as they are."""
    label_smoothing: float = 0.1
    """Of both cross-entropies: the primer's and the vote's."""
    vote_weight: float = 1.0
    """Weight of the candidates' common vote beside LibreYOLO's own loss."""
    mixup: float = 0.0
    """Alpha of the beta distribution that mixes two pictures in the primer; 0 is off."""
    strength: Strength = Strength()
    scatter: float = Field(default=0.0, ge=0, le=1)
    """Share of the pictures that the detector phase shows small, before pieces of others, so that
    faces are found in scenes too. For sets whose boxes are those of faces."""
    scatter_least: float = Field(default=0.16, gt=0, le=1)
    """Smallest side of such a picture as a share of the input's; half of it where four share it."""
    patience: int = Field(default=0, ge=0)
    """Detector epochs without a better validation before stopping early; 0 never stops early."""
    pretrained: str | None = None
    """Path of a LibreYOLO .pt file, "auto", or None for scratch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where torch computes. Bytes are promised to repeat on one machine and device only."""
    threads: int = Field(default=2, ge=1)
    """Part of the recipe, because sums in another order give other last digits."""

    def scaled(self, share: float) -> "Recipe":
        """Return the recipe with `strength` and `mixup` at a share of 0..1 of their values."""
        weaker = {name: value * share for name, value in self.strength.model_dump().items()}
        weaker["flip"] = self.strength.flip
        changes = {"strength": Strength(**weaker), "mixup": self.mixup * share}
        return self.model_copy(update=changes)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Trained:
    """The outcome of a training."""

    onnx: Path
    facts: dict[str, Any]
    """What numpy must know to use the file: `networks.Family.facts`."""
    history: list[dict[str, float]]
    """One mapping per epoch, in order, both phases."""
    best_epoch: int
    """Counted from 1 over both phases; its weights are the ones exported."""
    started_from: str
    """"scratch" or "file <name> sha256 <digest>"."""
    resumed: bool
