"""A small prepared data set of drawn faces, and one short training on it."""

from pathlib import Path

import pytest

from mien.errors import TrainingError
from mien.tasks.emotion.data import prepare
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.sample import write_sample
from mien.tasks.emotion.weights import face_detector

from .short import Training, train


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty drawn faces, prepared."""
    raw, folder = (tmp_path_factory.mktemp(name) for name in ("raw", "ready"))
    write_sample(raw, seed=3, counts={"train": 24, "valid": 8, "test": 8})
    prepare(raw, folder, Params())
    return folder


@pytest.fixture(scope="session")
def nano(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A short training of yolox-nano."""
    return train("yolox-nano", ready, tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="session")
def detector() -> bytes:
    """The face detector's weights; skips where they can neither be found nor fetched."""
    try:
        return face_detector()
    except TrainingError as error:
        pytest.skip(f"no face detector: {error}")
