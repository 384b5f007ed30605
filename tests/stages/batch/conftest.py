"""Bundles that score pictures and landmarks."""

from pathlib import Path

import pytest


@pytest.fixture
def bundle(drawn_detector: Path) -> Path:
    """A bundle that takes pictures."""
    return drawn_detector


@pytest.fixture
def hands(fitted_gesture: Path) -> Path:
    """A bundle that takes landmarks and pictures."""
    return fitted_gesture
