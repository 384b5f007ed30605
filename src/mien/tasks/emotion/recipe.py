"""The hyperparameters of a detector training, and what a training returns.

Plain values only, so that the config, the tests and the docs can use them without torch. The
defaults are for images of about 96 pixels that show one face.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mien.config import Schema

from .detector_spec import DetectorSpec


class Augmentation(Schema):
    """Random changes of the training images; 0 switches a change off."""

    flip_prob: float = 0.5
    """Probability of a horizontal flip: a mirrored face keeps its emotion."""
    rotate_degrees: float = 10.0
    """Largest rotation in degrees, in either direction."""
    scale: float = 0.15
    """Largest relative change of size, in either direction."""
    translate: float = 0.08
    """Largest shift as a fraction of the image side, in either direction."""
    color_jitter: float = 0.3
    """Largest relative change of brightness, contrast and saturation, in either direction."""
    grayscale_prob: float = 0.1
    """Probability of removing all colour."""
    cutout: float = 0.3
    """Largest side of a covered rectangle as a fraction of the image side; half of the images get
    one."""


class Recipe(Schema):
    """How to train; `trainer.py` describes the two phases."""

    epochs: int = Field(default=20, ge=1)
    """Epochs of the detector phase."""
    pretrain_epochs: int = Field(default=60, ge=0)
    """Epochs of the pretraining phase before it, which trains the backbone alone; 0 skips it."""
    image_size: int = Field(default=96, ge=32, multiple_of=32)
    """Side of the square input in pixels, a multiple of 32."""
    batch_size: int = Field(default=16, ge=1)
    """Images of one step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The rule by which gradients change the weights."""
    lr: float = 0.001
    """Peak learning rate of the detector phase."""
    backbone_lr_scale: float = Field(default=0.2, ge=0, le=1)
    """Factor on `lr` for a pretrained backbone; the layers after it are new and learn faster."""
    pretrain_lr: float = 0.002
    """Peak learning rate of the pretraining phase."""
    pretrain_crop_size: int = Field(default=0, ge=0, multiple_of=32)
    """Side in pixels to which pretraining crops the labelled face; 0 uses the whole image."""
    warmup_epochs: float = 1.0
    """Epochs of linear warm-up to the peak learning rate, in each phase; a cosine decay follows."""
    augment_warmup_epochs: float = 0.0
    """Pretraining epochs over which `augmentation` and `mixup_alpha` grow from 0 to their value."""
    weight_decay: float = 0.05
    """Decay of the weights in each step, against overfitting."""
    distillation_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the pretrained classifier's output in the target of the vote loss."""
    bn_momentum: float = Field(default=0.1, gt=0, le=1)
    """Momentum of batch normalisation. LibreYOLO's own 0.03 is too slow for short runs."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Decay per step of the exponential moving average (EMA) of the weights; 0 switches it off."""
    label_smoothing: float = 0.1
    """In both cross-entropies: that of pretraining and that of the vote."""
    vote_loss_weight: float = 1.0
    """Weight of the cross-entropy of the anchors' common vote, added to LibreYOLO's own loss."""
    mixup_alpha: float = 0.0
    """Alpha of the beta distribution that mixes two images in pretraining; 0 switches it off."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training images."""
    small_object_prob: float = Field(default=0.0, ge=0, le=1)
    """Probability that the detector phase shows an image at reduced size on a background of other
    images, so that small faces are detected. For data sets whose boxes enclose faces."""
    small_object_min_scale: float = Field(default=0.16, gt=0, le=1)
    """Smallest scale of such an image; half of it where four share one canvas."""
    early_stopping_patience: int = Field(default=0, ge=0)
    """Detector epochs without a better validation score before training stops; 0: never."""
    frozen_blocks: int = Field(default=0, ge=0, le=4)
    """Blocks of a public network that keep their weights."""
    pretrained_weights: str | None = None
    """Path of a LibreYOLO .pt file, "auto", or nothing to train from scratch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where torch computes. Bytes repeat on the same machine and device only."""
    threads: int = Field(default=2, ge=1)
    """Part of the recipe, because another order of summation changes the last digits."""

    def with_augmentation_scaled(self, factor: float) -> "Recipe":
        """Return the recipe with `augmentation` and `mixup_alpha` multiplied by 0..1."""
        scaled = {name: value * factor for name, value in self.augmentation.model_dump().items()}
        scaled["flip_prob"] = self.augmentation.flip_prob
        changes = {"augmentation": Augmentation(**scaled), "mixup_alpha": self.mixup_alpha * factor}
        return self.model_copy(update=changes)

    def with_finetuning(self, settings: "FineTuning") -> "Recipe":
        """Return the recipe of a detector that starts from a public network."""
        changes = {name: getattr(settings, name) for name in FineTuning.model_fields}
        return self.model_copy(update={**changes, "pretrain_epochs": 0})

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return self.model_dump(mode="json")


class FineTuning(Schema):
    """What a detector that starts from a public network trains with instead; see `Recipe`.

    It knows expressions already, so there is one phase.
    """

    epochs: int = Field(default=8, ge=1)
    image_size: int = Field(default=112, ge=32, multiple_of=16)
    batch_size: int = Field(default=32, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 0.001
    warmup_epochs: float = 0.5
    augment_warmup_epochs: float = 20.0
    """Also beyond `epochs`: the augmentation then stays weaker than `augmentation` says."""
    weight_decay: float = 0.05
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    label_smoothing: float = 0.1
    mixup_alpha: float = Field(default=0.2, ge=0)
    frozen_blocks: int = Field(default=1, ge=0, le=4)
    """Blocks that keep their weights: the first sees edges, and costs a third of a step."""
    vote_loss_weight: float = 1.0
    """Weight of the cross-entropy of emotions, added to the losses of boxes and objectness."""


@dataclass(frozen=True)
class TrainedDetector:
    """The result of a training."""

    onnx: Path
    spec: DetectorSpec
    history: list[dict[str, float]]
    """Metrics of each epoch, in order, both phases."""
    best_epoch: int
    """Counted from 1 over both phases; the weights of this epoch are exported."""
    started_from: str
    """"scratch" or "file <name> sha256 <digest>"."""
    resumed: bool
    cpu_s: float
    """CPU time of the whole training, also of its interrupted parts."""
