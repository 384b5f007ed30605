"""The face detector's weights: fetched once, checked, kept for all workspaces of a user.

Knows which file of the wheel they are (`mediapipe/pretrained_weights.py` fetches it), and nothing
of faces.
"""

import os
from pathlib import Path

from mien.mediapipe import pretrained_weights
from mien.storage.files import atomic_write

OWN_FILE = "MIEN_FACE_DETECTOR"
"""Environment variable that names a ready .tflite file for machines without a package registry."""

_NAME = "face_detection_short_range.tflite"
WEIGHTS = pretrained_weights.Weights(
    title="face detector",
    places={_NAME: f"mediapipe/modules/face_detection/{_NAME}"},
    sha256={_NAME: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"},
    instead=(
        f"Give a ready {_NAME} by the environment variable {OWN_FILE}; without it faces are "
        "neither counted nor boxes mended."
    ),
)


def face_detector() -> bytes:
    """The content of the face detector's file, the same on every machine.

    Raises:
        TrainingError: the weights are not there and cannot be fetched, or have other bytes.
    """
    named = os.environ.get(OWN_FILE)
    if named:
        return _read(Path(named).expanduser())
    cached = pretrained_weights.cache() / _NAME
    if not cached.is_file():
        content = WEIGHTS.download()[_NAME]
        with atomic_write(cached) as temporary:
            temporary.write_bytes(content)
    return _read(cached)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WEIGHTS.unlike(path, str(error)) from None
    return WEIGHTS.check({_NAME: content}, path)[_NAME]
