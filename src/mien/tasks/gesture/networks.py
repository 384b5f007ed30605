"""The two networks of a hand landmarker, as they lie in a task file.

Knows the file that `weights.py` packs, a zip of two TensorFlow Lite files, and nothing of what the
networks see.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from mien.errors import BundleError
from mien.mediapipe.litert import Network

PALMS, HANDS = "hand_detector.tflite", "hand_landmarks_detector.tflite"


@dataclass(frozen=True)
class Contents:
    """The two networks as they lie in a task file, read once for all threads."""

    path: Path
    palms: bytes
    hands: bytes


def read_task(path: Path) -> Contents:
    """Read a task file; whoever opens it later does not depend on the file any more.

    Raises:
        BundleError: the file is no such zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return Contents(path, archive.read(PALMS), archive.read(HANDS))
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} cannot be read as a hand landmarker: {error}") from error


def open_task(contents: Contents) -> tuple[Network, Network]:
    """Open the palm detector and the hand landmark network.

    Raises:
        BundleError: LiteRT cannot open them.
    """
    try:
        return Network(contents.palms), Network(contents.hands)
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{contents.path} cannot be opened by LiteRT: {error}") from error
