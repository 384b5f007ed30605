"""A small random network in the place of the public one, so that no test needs a registry."""

from pathlib import Path

import pytest

from mien.tasks.emotion.starter import face_api

from ..starter import package
from ..starter.package import Package


@pytest.fixture
def public_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detector: bytes) -> Package:
    """The package's files in an empty cache, with their own hashes pinned."""
    drawn = package.draw()
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("MIEN_CACHE", str(cache))
    monkeypatch.setattr(face_api, "WEIGHTS", drawn.weights)
    for name, content in drawn.files.items():
        (cache / name).write_bytes(content)
    (cache / "face_detection_short_range.tflite").write_bytes(detector)
    return drawn
