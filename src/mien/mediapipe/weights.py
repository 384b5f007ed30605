"""The weights of the face detector and the hand landmarker: where they come from, how they lie.

They are downloaded and cached as MediaPipe's TensorFlow Lite files, the hand landmarker as one
.task file, a zip of its two networks that MediaPipe opens too. Bundles hold them as ONNX.
"""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mien.storage.cache import cache_folder
from mien.storage.files import atomic_write

from .pretrained_weights import DOWNLOAD_TIMEOUT_S, WHEEL, PretrainedWeights
from .tflite_to_onnx import to_onnx

FACE_DETECTOR_VARIABLE = "MIEN_FACE_DETECTOR"
"""Environment variable that names a .tflite file, for machines without a package registry."""
HAND_LANDMARKER_VARIABLE = "MIEN_HAND_LANDMARKER"
"""The same for a .task file."""
PALM_DETECTOR, LANDMARK_NETWORK = "palm_detector.onnx", "hand_landmarks.onnx"
"""Names of the two networks in a bundle."""
_PALMS, _LANDMARKS = "hand_detector.tflite", "hand_landmarks_detector.tflite"
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
        _PALMS: "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        _LANDMARKS: "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
    },
    sha256={
        _PALMS: "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        _LANDMARKS: "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    },
    offline_advice=(
        "Without a package registry, name a ready .task file by the environment variable "
        f"{HAND_LANDMARKER_VARIABLE}."
    ),
)
_TASK_FILE_PATHS = {name: name for name in HAND_LANDMARKER_WEIGHTS.wheel_paths}


@dataclass(frozen=True)
class HandNetworks:
    """The two networks of the hand landmarker as .tflite files."""

    palm_detector: bytes
    landmark_network: bytes
    source: str
    """Where they were read, for the lineage."""


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


def read_hand_networks() -> HandNetworks:
    """Return the networks of the hand landmarker, the same bytes on every machine.

    Raises:
        WeightsError: the weights cannot be downloaded, or have other bytes.
    """
    path, source = task_file()
    contents = HAND_LANDMARKER_WEIGHTS.unzip(path, _TASK_FILE_PATHS)
    return HandNetworks(contents[_PALMS], contents[_LANDMARKS], source)


def write_hand_landmarker(folder: Path) -> dict[str, str]:
    """Write the hand landmarker's networks to a folder as ONNX, the same bytes on every machine.

    Returns:
        The origin of the weights for the lineage, and the SHA-256 of each original.

    Raises:
        WeightsError: the weights cannot be downloaded, or have other bytes.
    """
    path, source = task_file()
    state = path.stat() if path.is_file() else None
    palm_detector, landmark_network = _read_onnx(path, state and (state.st_mtime_ns, state.st_size))
    (folder / PALM_DETECTOR).write_bytes(palm_detector)
    (folder / LANDMARK_NETWORK).write_bytes(landmark_network)
    return {"source": source, "licence": "Apache-2.0", **HAND_LANDMARKER_WEIGHTS.sha256}


@lru_cache(maxsize=1)  # every candidate of a training has the same
def _read_onnx(path: Path, _: tuple[int, int] | None) -> tuple[bytes, bytes]:
    """The two networks of a file, converted; read again when the file has changed."""
    contents = HAND_LANDMARKER_WEIGHTS.unzip(path, _TASK_FILE_PATHS)
    return to_onnx(contents[_PALMS]), to_onnx(contents[_LANDMARKS])


def task_file() -> tuple[Path, str]:
    """The .task file of the hand landmarker, and where it comes from; its content is not verified.

    Raises:
        WeightsError: the weights cannot be downloaded.
    """
    own = os.environ.get(HAND_LANDMARKER_VARIABLE)
    if own:
        return Path(own).expanduser(), HAND_LANDMARKER_VARIABLE
    path = cache_folder() / "hand_landmarker.task"
    if not path.is_file():
        contents = HAND_LANDMARKER_WEIGHTS.download()
        with atomic_write(path) as temporary:
            _pack(contents, temporary)
    return path, f"wheel {WHEEL}"


def _pack(networks: Mapping[str, bytes], target: Path) -> None:
    """Zip the networks uncompressed, as MediaPipe wants them too, with fixed dates and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(networks):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, networks[name])
