"""Drawn hands."""

import numpy as np

from mien import tasks
from mien.tasks.gesture.drawing import draw_hand_picture


def test_the_sample_picture_is_the_drawn_one() -> None:
    """Except for the losses of JPEG; after a change of the drawing write it again:
    `draw_hand_picture("like").save(SAMPLE_PICTURE, quality=90, optimize=True)`."""
    kept = np.asarray(tasks.load("gesture").inference.sample_picture(), dtype=np.float64)
    drawn = np.asarray(draw_hand_picture("like"), dtype=np.float64)
    other = np.asarray(draw_hand_picture("fist"), dtype=np.float64)
    assert np.abs(kept - drawn).mean() < 2 < np.abs(kept - other).mean()
