"""Drawn hands for tests; each is drawn once in a process, because that takes a second."""

from functools import cache

from PIL import Image

from mien.tasks.gesture.drawing import draw_hand_picture


def hand_picture(label: str = "like", seed: int = 0) -> Image.Image:
    """`draw_hand_picture`, as a picture of the caller's own."""
    return _drawn(label, seed).copy()


@cache
def _drawn(label: str, seed: int) -> Image.Image:
    return draw_hand_picture(label, seed)
