"""Drawn hands."""

import numpy as np

from mien import tasks
from mien.tasks.gesture.drawing import draw_hand_picture


def test_the_kept_picture_is_the_one_that_is_drawn() -> None:
    """But for what JPEG leaves out; whoever changes the drawing draws it again:
    `draw_hand_picture("like").save(KEPT, quality=90, optimize=True)`."""
    kept = np.asarray(tasks.load("gesture").inference.sample_picture(), dtype=np.float64)
    drawn = np.asarray(draw_hand_picture("like"), dtype=np.float64)
    other = np.asarray(draw_hand_picture("fist"), dtype=np.float64)
    assert np.abs(kept - drawn).mean() < 2 < np.abs(kept - other).mean()
