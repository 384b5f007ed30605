"""What a config may say of the emotion task, and its labels in their fixed order."""

from pydantic import Field

from .recipe import Recipe

LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")


class Params(Recipe):
    """The `params:` section: every knob of the training, and what the product makes of a score."""

    candidates: tuple[str, ...] = ("yolox-nano",)
    """Detector sizes to try, keys of `networks.FAMILIES`."""
    min_confidence: float = Field(default=0.25, ge=0, le=1)
    """An answer below it is `unsure`; the detection is still listed."""
