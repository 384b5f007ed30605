"""A small prepared data set of drawn faces, and one short training on it."""

from pathlib import Path

import pytest

from mien.errors import WeightsError
from mien.mediapipe.weights import read_face_detector
from mien.tasks.emotion.data import prepare
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.sample import write_sample

from .short_training import ShortTraining, train


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty drawn faces, prepared."""
    raw, folder, cache = (tmp_path_factory.mktemp(name) for name in ("raw", "prepared", "cache"))
    write_sample(raw, seed=3, counts={"train": 24, "valid": 8, "test": 8})
    prepare(raw, folder, Params(), cache)
    return folder


@pytest.fixture(scope="session")
def nano(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> ShortTraining:
    """A short training of yolox-nano."""
    return train("yolox-nano", prepared, tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="session")
def detector() -> bytes:
    """The face detector's weights; skips if they are neither cached nor downloadable."""
    try:
        return read_face_detector()
    except WeightsError as error:
        pytest.skip(f"no face detector: {error}")
