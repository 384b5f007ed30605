"""Shared by all starters: the cache of downloaded files, and the face detector."""

from collections.abc import Callable
from pathlib import Path

from mien.mediapipe import weights
from mien.mediapipe.pretrained_weights import WHEEL, PretrainedWeights
from mien.mediapipe.tflite_to_onnx import to_onnx
from mien.storage.cache import cache_folder
from mien.storage.files import atomic_write

from .crops import FACE_DETECTOR


def cached(
    network: PretrainedWeights, download: Callable[[], dict[str, bytes]]
) -> dict[str, bytes]:
    """The files of a network by name, from the cache or downloaded into it; always verified.

    Raises:
        WeightsError: they cannot be downloaded, or have other bytes.
    """
    folder = cache_folder()
    paths = {name: folder / name for name in network.sha256}
    if not all(path.is_file() for path in paths.values()):
        for name, content in download().items():
            with atomic_write(paths[name]) as temporary:
                temporary.write_bytes(content)
    contents: dict[str, bytes] = {}
    for name, path in paths.items():
        contents |= network.verify({name: path.read_bytes()}, path)
    return contents


def face_detector_origin(out: Path, timeout_s: float) -> dict[str, str]:
    """Write the face detector into `out`; return where it comes from.

    Raises:
        WeightsError: its weights cannot be downloaded, or have other bytes.
    """
    (out / FACE_DETECTOR).write_bytes(to_onnx(weights.read_face_detector(timeout_s)))
    return {
        "package": f"PyPI {WHEEL}",
        "licence": "Apache-2.0",
        **weights.FACE_DETECTOR_WEIGHTS.sha256,
    }
