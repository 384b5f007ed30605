"""The normalization, and how the convention of a table is inferred."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError
from mien.tasks.gesture import landmarks, table
from mien.tasks.gesture.landmarks import (
    Floats,
    has_extent,
    infer_convention,
    normalize,
    to_common_frame,
)
from mien.tasks.gesture.sample import landmark_rows

HANDS, _ = landmark_rows(3, 5)
STEP = 2 / landmarks.GRID
"""A number that lies between two grid points may be rounded either way."""


@given(
    x=st.floats(-5000, 5000),
    y=st.floats(-5000, 5000),
    scale=st.floats(1e-3, 1e3),
    depth=st.floats(1e-4, 1e4),
)
def test_features_are_invariant_to_position_size_and_unit_of_depth(
    x: float, y: float, scale: float, depth: float
) -> None:
    """A hand elsewhere, nearer, or with z in another unit has the same features."""
    moved = HANDS * [scale, scale, depth] + [x, y, 7.0]
    np.testing.assert_allclose(normalize(moved), normalize(HANDS), atol=STEP)


@given(st.sampled_from([1e-150, 1e150]))
def test_extreme_units_neither_overflow_nor_vanish(unit: float) -> None:
    """Squares of such numbers leave the range of floats; the features do not."""
    np.testing.assert_allclose(normalize(HANDS * unit), normalize(HANDS), atol=STEP)


def test_features_have_the_documented_form() -> None:
    """The wrist is 0, the plane has size 1, z counts half; a stretch of x changes the features."""
    features = normalize(HANDS)
    assert features.shape == (len(HANDS), 63)
    assert features.dtype == np.float32
    hands = features.reshape(-1, 21, 3).astype(float)
    assert not hands[:, 0].any()
    np.testing.assert_allclose((hands[:, :, :2] ** 2).sum(2).mean(1), 1, atol=1e-4)
    np.testing.assert_allclose((hands[:, :, 2] ** 2).mean(1), 0.25, atol=1e-4)
    assert np.abs(normalize(HANDS * [1.5, 1, 1]) - features).max() > 0.05


def test_split_points_between_features_are_exact_in_float32() -> None:
    """Otherwise the exported tree would take another branch than the library."""
    values = np.unique(normalize(landmark_rows(20, 1)[0]))
    middles = (values[:-1].astype(np.float64) + values[1:]) / 2
    np.testing.assert_array_equal(middles.astype(np.float32), middles)


def test_a_hand_without_extent_is_refused() -> None:
    """There is no silent division by zero; z alone may be constant."""
    point = np.full((1, 21, 3), 4.0)
    assert not has_extent(point).any()
    assert not has_extent(np.full((1, 21, 3), np.nan)).any()
    with pytest.raises(ValueError, match="without extent"):
        normalize(point)
    assert not normalize(HANDS * [1, 1, 0])[:, 2::3].any()


def unit(hands: Floats, width: float, height: float) -> Floats:
    return hands / [width, height, 1.0]


def test_each_convention_is_inferred_and_gives_the_same_features() -> None:
    """The same hands as pixels, as fractions of a 3:4 picture, and relative to the wrist."""
    size = np.tile([2000.0, 3000.0], (len(HANDS), 1))
    shares, wrist = unit(HANDS, 2000, 3000), HANDS - HANDS[:, :1]
    assert infer_convention(HANDS).convention == "pixels"
    assert infer_convention(shares).convention == "normalized"
    assert infer_convention(wrist / 100).convention == "wrist_relative"
    expected = normalize(HANDS)
    for common in (
        to_common_frame(HANDS, "pixels", size, None),
        to_common_frame(shares, "normalized", size, None),
        to_common_frame(shares, "normalized", None, 2 / 3),
        to_common_frame(wrist / 100, "wrist_relative", None, None),
    ):
        np.testing.assert_allclose(normalize(common), expected, atol=STEP)


def test_lost_proportions_are_not_guessed() -> None:
    """Fractions of sides of unknown length are an error that names the param."""
    with pytest.raises(DataError, match=r"params\.aspect_ratio"):
        to_common_frame(unit(HANDS, 2000, 3000), "normalized", None, None)


@pytest.mark.parametrize(
    "hands",
    [
        np.concatenate([HANDS, HANDS - HANDS[:, :1]]),
        np.concatenate([HANDS, unit(HANDS, 2000, 3000)]),
        (HANDS - HANDS.mean(axis=1, keepdims=True)) / 200,
        HANDS / 100,
    ],
    ids=["pixels and wrist-relative", "pixels and normalized", "centred elsewhere", "unknown unit"],
)
def test_an_unclear_convention_is_refused(hands: Floats) -> None:
    """The message describes the values and names the param."""
    with pytest.raises(DataError, match=r"is unclear.*--set params\.convention"):
        infer_convention(hands)


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("landmarks_iti.csv", "wrist_relative"),
        ("landmarks_photos.csv", "pixels"),
        ("landmarks_crops12.csv", "normalized"),
    ],
)
def test_the_conventions_of_real_tables_are_inferred(
    real_data: Path, name: str, convention: str
) -> None:
    """Three tables by three teams, three conventions."""
    rows = table.read_landmarks(real_data / "gesture" / name, (), Counter())
    assert infer_convention(rows.landmarks).convention == convention
