"""Square crops of pictures, and the mapping of their points back into the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.mediapipe import crop
from mien.mediapipe.crop import RotatedRoi

WIDTH, HEIGHT = 250, 180
GRADIENT = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
"""Red is a pixel's column and green its row: a colour is a position."""
GRADIENT[..., 0], GRADIENT[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
ROIS = st.builds(
    RotatedRoi,
    st.floats(-50, 300),
    st.floats(-50, 250),
    st.floats(5, 400),
    st.floats(-7, 7),
)


def steps(size: int) -> np.ndarray:
    """Positions of the pixels of a crop in sides: (size, size, 2)."""
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) / size


@given(ROIS, st.integers(2, 40))
def test_a_crop_shows_the_pixels_of_its_region(roi: RotatedRoi, size: int) -> None:
    """Each pixel of a crop shows the position to which `to_picture` maps it, or the nearest inside.

    A colour has no fractions, so that a position is known to half a pixel.
    """
    cropped = crop.crop(GRADIENT, roi, size)
    expected = np.clip(roi.to_picture(steps(size)), 0, (WIDTH - 1, HEIGHT - 1))
    assert cropped.shape == (3, size, size)
    assert cropped.dtype == np.float32
    np.testing.assert_allclose(cropped[:2].transpose(1, 2, 0) * 255, expected, atol=0.52)
    assert not cropped[2].any()


def test_sampling_is_bilinear() -> None:
    """A quarter of the way from black to white is a quarter of white, and so along both axes."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[:, 1], pixels[1, :, 2] = (200, 101, 0), 60
    x, y = np.array([[0.0, 0.25, 1.0]], np.float32), np.array([[0.5]], np.float32)
    cropped = crop.sample_bilinear(pixels, x, y) * 255
    expected = [(0, 0, 30), (50, 25, 30), (200, 101, 30)]
    np.testing.assert_allclose(cropped[:, 0].T, expected, rtol=1e-5)


@given(ROIS)
def test_a_rotated_region_keeps_its_size_and_scales_depths(roi: RotatedRoi) -> None:
    """Its sides are perpendicular and of equal length, the centre stays, depth is only scaled."""
    corners = np.array([[0, 0, 0], [1, 0, 1], [0, 1, -0.5], [0.5, 0.5, 0]])
    first, right, below, middle = roi.to_picture(corners)
    along, down = (right - first)[:2], (below - first)[:2]
    assert np.linalg.norm(along) == pytest.approx(roi.side)
    assert np.linalg.norm(down) == pytest.approx(roi.side)
    assert along @ down == pytest.approx(0, abs=1e-6 * roi.side**2)
    assert np.arctan2(along[1], along[0]) == pytest.approx(
        (roi.rotation + np.pi) % (2 * np.pi) - np.pi, abs=1e-6
    )
    np.testing.assert_allclose(middle[:2], (roi.x, roi.y), atol=1e-9)
    assert right[2] == pytest.approx(roi.side)
    assert below[2] == pytest.approx(-roi.side / 2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_a_picture_of_one_row_or_column_can_be_cropped(shape: tuple[int, int, int]) -> None:
    """A pixel without a neighbour is not interpolated."""
    pixels = np.full(shape, 51, np.uint8)
    np.testing.assert_allclose(crop.crop(pixels, RotatedRoi(3, 3, 20, 0.5), 8), 0.2, rtol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(30, 20), (20, 30), (20, 20)])
def test_the_region_of_a_full_picture_has_its_longer_side(width: int, height: int) -> None:
    """With the picture in the centre."""
    roi = crop.full_picture_roi(np.zeros((height, width, 3), np.uint8))
    assert (roi.x, roi.y, roi.rotation) == (width / 2, height / 2, 0)
    assert roi.side == max(width, height)


def test_an_offset_leads_from_one_region_to_the_other() -> None:
    """Also over the end of a turn; relative, so that both may move and grow together."""
    one, other = RotatedRoi(40, 30, 20, 3.0), RotatedRoi(50, 20, 10, -3.0)
    offset = one.within(other)
    found = other.moved_by(offset)
    values = (found.x, found.y, found.side, np.cos(found.rotation), np.sin(found.rotation))
    assert values == pytest.approx((40, 30, 20, np.cos(3.0), np.sin(3.0)))
    twice = RotatedRoi(100, 40, 20, -3.0).moved_by(offset)
    assert (twice.x, twice.y, twice.side) == pytest.approx((80, 60, 40))
