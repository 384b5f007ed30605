"""Pieces of pictures: what is cut at a place is what lies there, and points find their way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.tasks.gesture import crops
from mien.tasks.gesture.crops import Square

WIDTH, HEIGHT = 250, 180
SLOPE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
"""Red tells a pixel's column and green its row: a colour is a place."""
SLOPE[..., 0], SLOPE[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
SQUARES = st.builds(
    Square,
    st.floats(-50, 300),
    st.floats(-50, 250),
    st.floats(5, 400),
    st.floats(-7, 7),
)


def steps(size: int) -> np.ndarray:
    """Where the pixels of a piece lie in it, in sides: (size, size, 2)."""
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) / size


@given(SQUARES, st.integers(2, 40))
def test_what_is_cut_is_what_lies_there(square: Square, size: int) -> None:
    """Each pixel of a piece shows the place to which `place` leads back, or the nearest inside.

    A colour has no fractions, so that a place is known to half a pixel.
    """
    piece = crops.cut(SLOPE, square, size)
    back = np.clip(square.place(steps(size)), 0, (WIDTH - 1, HEIGHT - 1))
    assert piece.shape == (size, size, 3)
    assert piece.dtype == np.float32
    np.testing.assert_allclose(piece[..., :2] * 255, back, atol=0.52)
    assert not piece[..., 2].any()


def test_pixels_are_mixed_by_nearness() -> None:
    """A quarter of the way from black to white is a quarter of white, and so along both axes."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[:, 1], pixels[1, :, 2] = (200, 101, 0), 60
    x, y = np.array([[0.0, 0.25, 1.0]], np.float32), np.array([[0.5]], np.float32)
    piece = crops.sample(pixels, x, y) * 255
    np.testing.assert_allclose(piece[0], [(0, 0, 30), (50, 25, 30), (200, 101, 30)], rtol=1e-5)


@given(SQUARES)
def test_a_turned_square_keeps_its_size_and_its_depths(square: Square) -> None:
    """Its sides are perpendicular and equally long, its middle stays, depth is only scaled."""
    corners = np.array([[0, 0, 0], [1, 0, 1], [0, 1, -0.5], [0.5, 0.5, 0]])
    first, right, below, middle = square.place(corners)
    along, down = (right - first)[:2], (below - first)[:2]
    assert np.linalg.norm(along) == pytest.approx(square.side)
    assert np.linalg.norm(down) == pytest.approx(square.side)
    assert along @ down == pytest.approx(0, abs=1e-6 * square.side**2)
    assert np.arctan2(along[1], along[0]) == pytest.approx(
        (square.turn + np.pi) % (2 * np.pi) - np.pi, abs=1e-6
    )
    np.testing.assert_allclose(middle[:2], (square.x, square.y), atol=1e-9)
    assert right[2] == pytest.approx(square.side)
    assert below[2] == pytest.approx(-square.side / 2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_a_line_of_pixels_is_a_picture(shape: tuple[int, int, int]) -> None:
    """What has no neighbour is its own."""
    pixels = np.full(shape, 51, np.uint8)
    np.testing.assert_allclose(crops.cut(pixels, Square(3, 3, 20, 0.5), 8), 0.2, rtol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(30, 20), (20, 30), (20, 20)])
def test_the_square_around_a_picture_touches_its_longer_side(width: int, height: int) -> None:
    """With the picture in the middle."""
    square = crops.around(np.zeros((height, width, 3), np.uint8))
    assert (square.x, square.y, square.turn) == (width / 2, height / 2, 0)
    assert square.side == max(width, height)
