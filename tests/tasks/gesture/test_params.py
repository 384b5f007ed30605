"""A JSON request of landmarks: the forms that people send, in one frame."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mien.tasks.gesture import landmarks
from mien.tasks.gesture.params import LIKE, Body

PIXELS = np.array(LIKE, dtype=float)
SIZE = (640, 480)
FRACTIONS = PIXELS / (*SIZE, SIZE[0])


def parsed(document: Any) -> Body:
    return Body.model_validate_json(json.dumps(document))


def as_objects(points: landmarks.Floats, **more: Any) -> list[dict[str, Any]]:
    return [{**dict(zip("xyz", point, strict=True)), **more} for point in points.tolist()]


@pytest.mark.parametrize(
    "document",
    [
        {"landmarks": PIXELS.tolist()},
        {"landmarks": as_objects(PIXELS)},
        {"landmarks": as_objects(PIXELS, visibility=0.0, presence=0.0, name="")},
        {"landmarks": PIXELS.tolist(), "width": 640, "height": 480},
        as_objects(PIXELS),
        PIXELS.tolist(),
    ],
)
def test_points_are_read_in_every_form(document: Any) -> None:
    """As lists and as MediaPipe's objects, with a key around them and without."""
    assert np.array_equal(parsed(document).points()[0], PIXELS)


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_fractions_become_pixels_of_their_picture(width: int, height: int) -> None:
    """Else a hand in a wide picture would be squeezed; what is sent is what is classified."""
    fractions = PIXELS / (width, height, width)
    if landmarks.convention_of_hand(fractions) != "normalized":
        return
    body = parsed({"landmarks": as_objects(fractions), "width": width, "height": height})
    assert body.points()[0, :, :2] == pytest.approx(PIXELS[:, :2])


@pytest.mark.parametrize("sides", [{}, {"width": 640}, {"height": 480}])
def test_fractions_without_the_picture_s_size_are_refused(sides: dict[str, int]) -> None:
    """The hand's proportions are lost; the message says what to add."""
    for points in (FRACTIONS.tolist(), as_objects(FRACTIONS)):
        with pytest.raises(ValidationError, match="expected width and height of the picture"):
            parsed({"landmarks": points, **sides})


def test_metres_and_wrist_relative_points_need_no_size() -> None:
    """x and y share a unit: MediaPipe's world landmarks, around the middle of the hand."""
    centred = (PIXELS - PIXELS.mean(axis=0)) / 2000
    for points in (centred, (PIXELS - PIXELS[0]) / 500):
        assert np.array_equal(parsed({"landmarks": points.tolist()}).points()[0], points)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0, "height": 480}, "greater than 0"),
        ({"width": "640", "height": 480}, "valid number"),
        ({"landmarks": as_objects(PIXELS, score=1.0)}, "valid array"),
        ({"landmarks": [{"x": 1, "y": 2}] * 21}, "valid array"),
        ({"landmarks": [{"x": "1", "y": 2, "z": 3}] * 21}, "valid number"),
        ({"landmarks": [as_objects(PIXELS)]}, "valid number"),
        ({"colour": 4}, "Extra inputs"),
    ],
)
def test_other_forms_are_refused(changes: dict[str, Any], message: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match=message):
        parsed({"landmarks": PIXELS.tolist(), **changes})
