"""The hand landmarker's weights: fetched once, checked, packed as a file that MediaPipe opens too.

Knows which files of the wheel they are (`mediapipe/pretrained_weights.py` fetches it) and the form
that MediaPipe wants, and neither the training nor MediaPipe.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mien.mediapipe import pretrained_weights
from mien.storage.files import atomic_write

OWN_FILE = "MIEN_HAND_LANDMARKER"
"""Environment variable that names a ready .task file for machines without a package registry."""

WEIGHTS = pretrained_weights.Weights(
    title="hand landmarker",
    places={
        "hand_detector.tflite": "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "hand_landmarks_detector.tflite": (
            "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
        ),
    },
    sha256={
        "hand_detector.tflite": "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        "hand_landmarks_detector.tflite": (
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"
        ),
    },
    instead=(
        f"Give a ready file by the environment variable {OWN_FILE}, or train a model that takes "
        "landmarks only: --set params.images=false."
    ),
)
_PLAIN = {name: name for name in WEIGHTS.places}


def write_landmarker(target: Path) -> dict[str, str]:
    """Write the landmarker's file to `target`, the same bytes on every machine.

    Returns:
        What the lineage tells: where the weights come from, and the SHA-256 of each network.

    Raises:
        TrainingError: the weights are not there and cannot be fetched, or have other bytes.
    """
    networks, source = _networks()
    _pack(networks, target)
    return {"source": source, "licence": "Apache-2.0", **WEIGHTS.sha256}


def _networks() -> tuple[dict[str, bytes], str]:
    named = os.environ.get(OWN_FILE)
    if named:
        return WEIGHTS.unzip(Path(named).expanduser(), _PLAIN), OWN_FILE
    cached = pretrained_weights.cache() / "hand_landmarker.task"
    if not cached.is_file():
        networks = WEIGHTS.download()
        with atomic_write(cached) as temporary:
            _pack(networks, temporary)
    return WEIGHTS.unzip(cached, _PLAIN), f"wheel {pretrained_weights.WHEEL}"


def _pack(networks: Mapping[str, bytes], target: Path) -> None:
    """Zip the networks uncompressed, as MediaPipe wants them too, with fixed dates and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(networks):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, networks[name])
