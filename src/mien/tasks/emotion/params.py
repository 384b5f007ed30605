"""The `params:` section of an emotion config, and the labels in their fixed order."""

from pydantic import Field

from .recipe import Recipe

LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
MIN_SIDE = 640
"""Pixels of an image's shorter side that are enough: with more, the answers are the same as with
the 3000 of a 12-megapixel photo (`bench photos`). A network of 96 x 96 needs fewer; this is enough
for one of 640 x 640."""


class Params(Recipe):
    """All hyperparameters of the training, and the threshold of the product."""

    candidates: tuple[str, ...] = ("yolox-nano",)
    """Detector sizes to train, keys of `networks.FAMILIES`."""
    min_confidence: float = Field(default=0.25, ge=0, le=1)
    """A prediction below it has the outcome `unsure`; its faces are still listed."""
