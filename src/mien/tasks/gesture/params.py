"""What a config and a request may say of the gesture task, and its labels in their fixed order."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mien.config import Schema

LABELS = (
    "call",
    "dislike",
    "fist",
    "four",
    "like",
    "mute",
    "ok",
    "one",
    "palm",
    "peace",
    "peace_inverted",
    "rock",
    "stop",
    "stop_inverted",
    "three",
    "three2",
    "two_up",
    "two_up_inverted",
)
"""The 18 gestures of HaGRID (Kapitanov et al., 2024), in order of the alphabet."""

Candidate = Literal["random_forest", "svm", "logistic_regression", "lightgbm"]
Convention = Literal["auto", "pixels", "unit", "wrist"]


class Params(Schema):
    """The `params:` section: how to read the landmarks, what to try, what the service needs."""

    convention: Convention = "auto"
    """What x and y are: pixels, 0..1 of the picture's sides (unit), or relative to the wrist."""
    aspect: float | None = Field(default=None, gt=0.1, lt=10)
    """Width / height of the pictures, for landmarks that have lost it."""
    val: float = Field(default=0.15, gt=0, lt=0.5)
    test: float = Field(default=0.15, gt=0, lt=0.5)
    ignore_labels: tuple[str, ...] = ()
    """Labels whose rows are left out instead of refused, such as no_gesture."""
    candidates: tuple[Candidate, ...] = Field(
        default=("random_forest", "svm", "logistic_regression", "lightgbm"), min_length=1
    )
    folds: int = Field(default=3, ge=2, le=10)
    """Folds of the cross-validation that chooses each candidate's settings."""
    trees: int = Field(default=100, ge=10, le=1000)
    """Trees of the random forest."""
    rounds: int = Field(default=100, ge=10, le=1000)
    """Boosting rounds of LightGBM."""
    images: bool = True
    """Whether the bundle carries the hand landmarker, and so answers pictures."""
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    """An answer below it is `unsure`; the detection is still listed."""

    @model_validator(mode="after")
    def _checked(self) -> "Params":
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError(f"candidates: each name may stand once; found {self.candidates}")
        if self.val + self.test >= 0.8:
            raise ValueError(f"val + test must stay below 0.8; found {self.val + self.test:g}")
        return self


Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Point = Annotated[list[Coordinate], Field(min_length=3, max_length=3)]


LIKE = (
    *((307, 285, 0), (284, 251, 38), (263, 228, 52), (243, 207, 58), (241, 181, 59)),
    *((225, 240, 46), (201, 269, 61), (217, 280, 64), (227, 276, 63)),
    *((225, 265, 30), (198, 295, 48), (219, 301, 43), (232, 296, 35)),
    *((224, 289, 19), (206, 316, 37), (230, 322, 33), (245, 313, 23)),
    *((220, 310, 12), (212, 329, 30), (234, 332, 36), (250, 326, 37)),
)
"""A hand to try: what the landmarker finds in the task's own picture."""


class Body(BaseModel):
    """A JSON request: the landmarks of one hand, in MediaPipe's order."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"landmarks": [list(point) for point in LIKE]}]},
    )

    landmarks: Annotated[list[Point], Field(min_length=21, max_length=21)] = Field(
        description=(
            "21 points [x, y, z] in MediaPipe's order, the wrist first, y downwards. x and y share "
            "one unit, such as pixels: multiply coordinates of 0..1 by the picture's width and "
            "height. z has a unit of its own."
        )
    )
