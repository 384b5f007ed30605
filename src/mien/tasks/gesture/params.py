"""The `params:` section and the JSON requests of the gesture task, and HaGRID's labels."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mien.config import Schema

from .landmarks import Floats, as_array, convention_of_hand

HAGRID_LABELS = (
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
"""The 18 gestures of HaGRID (Kapitanov et al., 2024), in alphabetical order. Data may have others:
the labels of a model are those of its data."""
NO_GESTURE = ("no_gesture", "none")
"""Names that public sets give to hands without a gesture; `none` is that of MediaPipe Model Maker.
A model learns to reject hands without a gesture from mixed and drawn ones."""
MIN_SIDE = 1200
"""Pixels of a picture's shorter side that are enough: hands, near and far, are detected as with all
3000 of 12 megapixels; with half as many, small hands are missed (`bench photos`)."""

Candidate = Literal["random_forest", "svm", "logistic_regression", "lightgbm"]
ConventionParam = Literal["auto", "pixels", "normalized", "wrist_relative"]


class Params(Schema):
    """The `params:` section: how landmarks are read, what is trained, what the service needs."""

    convention: ConventionParam = "auto"
    """What x and y are: pixels, fractions 0..1 of the picture's sides, or relative to the wrist."""
    aspect_ratio: float | None = Field(default=None, gt=0.1, lt=10)
    """Width / height of the pictures, for landmarks that have lost it."""
    val_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    """Share of the rows for validation, where the data have no splits."""
    test_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    """The same for the test split."""
    splits: Literal["source", "drawn"] = "source"
    """Whether rows keep the splits that the source names, or all are divided by the fractions."""
    ignore_labels: tuple[str, ...] = NO_GESTURE
    """Labels whose rows are skipped, and counted."""
    candidates: tuple[Candidate, ...] = Field(
        default=("random_forest", "svm", "logistic_regression", "lightgbm"), min_length=1
    )
    """Classifiers to train and compare."""
    cv_folds: int = Field(default=3, ge=2, le=10)
    """Folds of the cross-validation that selects each candidate's hyperparameters."""
    trees: int = Field(default=100, ge=10, le=1000)
    """Trees of the random forest."""
    boosting_rounds: int = Field(default=100, ge=10, le=1000)
    """Boosting rounds of LightGBM."""
    accept_images: bool = True
    """Whether the bundle contains the hand landmarker, and so accepts pictures."""

    @model_validator(mode="after")
    def _checked(self) -> "Params":
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError(f"candidates: expected each name once, found {self.candidates}")
        held_out = self.val_fraction + self.test_fraction
        if held_out >= 0.8:
            raise ValueError(
                f"val_fraction + test_fraction: expected less than 0.8, found {held_out:g}"
            )
        return self


Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _from_mediapipe(point: Any) -> Any:
    """[x, y, z] of a point as MediaPipe's own libraries give it, {x, y, z, visibility}."""
    known = {"x", "y", "z"} <= set(point) <= _POINT_KEYS if isinstance(point, dict) else False
    return [point[axis] for axis in "xyz"] if known else point


_POINT_KEYS = {"x", "y", "z", "visibility", "presence", "name"}
Point = Annotated[
    list[Coordinate], BeforeValidator(_from_mediapipe), Field(min_length=3, max_length=3)
]
Side = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


LIKE = (
    *((307, 285, 0), (284, 251, 38), (263, 228, 52), (243, 207, 58), (241, 181, 59)),
    *((225, 240, 46), (201, 269, 61), (217, 280, 64), (227, 276, 63)),
    *((225, 265, 30), (198, 295, 48), (219, 301, 43), (232, 296, 35)),
    *((224, 289, 19), (206, 316, 37), (230, 322, 33), (245, 313, 23)),
    *((220, 310, 12), (212, 329, 30), (234, 332, 36), (250, 326, 37)),
)
"""An example hand: the landmarks of the task's own sample picture."""


class Body(BaseModel):
    """A JSON request: the landmarks of one hand, in MediaPipe's order."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"landmarks": [list(point) for point in LIKE]}]},
    )

    landmarks: Annotated[list[Point], Field(min_length=21, max_length=21)] = Field(
        description=(
            "21 points [x, y, z] or {x, y, z} in MediaPipe's order, the wrist first, y downwards. "
            "x and y share one unit, such as pixels, or are fractions (0..1) of the picture's "
            "width and height, which are then required. z has a unit of its own."
        )
    )
    width: Side | None = Field(default=None, description="width of the picture in pixels")
    height: Side | None = Field(default=None, description="height of the picture in pixels")

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, document: Any) -> Any:
        """A list of points alone is the landmarks."""
        return {"landmarks": document} if isinstance(document, list) else document

    @model_validator(mode="after")
    def _with_size(self) -> "Body":
        sides = (self.width is not None) + (self.height is not None)
        fractions = convention_of_hand(as_array(self.landmarks)[0]) == "normalized"
        if sides == 1 or (fractions and not sides):
            raise PydanticCustomError(
                "picture_size",
                "expected width and height of the picture with landmarks that are fractions (0..1) "
                "of them, found none or one of the two; add both, or send landmarks in pixels",
            )
        return self

    def points(self) -> Floats:
        """The landmarks in the common frame, (1, 21, 3)."""
        points = as_array(self.landmarks)
        if self.width and self.height and convention_of_hand(points[0]) == "normalized":
            points[:, :, :2] *= (self.width, self.height)
        return points
