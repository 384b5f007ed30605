"""A prediction log in a folder of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mien.observability.prediction_log.writer import PredictionLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "predictions.db"


@pytest.fixture
def log(path: Path) -> Iterator[PredictionLog]:
    with closing(PredictionLog(path)) as opened:
        yield opened
