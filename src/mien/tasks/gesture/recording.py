"""What the studio records of a hand before a camera: a row of the gesture task's own tables.

The landmarker is that of photos and of serving: what is recorded is what a server will see.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mien.errors import RequestError, WeightsError
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.task import Recordable, RecordedSubject, Request

from . import landmarks
from .columns import COLUMNS

LIBRARIES = (
    *("sklearn.calibration", "sklearn.ensemble", "sklearn.neural_network", "sklearn.svm"),
    *("lightgbm", "onnxmltools", "skl2onnx"),
)
"""What `train.py` and `export.py` import when they are called."""
_DECIMALS = 3
_HERE = Path(__file__).parent


def open_detector() -> Callable[[Request], RecordedSubject | None]:
    """Open the hand landmarker; any number of threads may call the result at once.

    Of several hands the larger one counts: the other one usually rests.

    Raises:
        RequestError: the networks cannot be downloaded.
    """
    try:
        landmarker = HandLandmarker.from_tflite(weights.read_hand_networks())
    except WeightsError as error:
        raise RequestError(f"Recording needs the hand landmarker: {error}") from error

    def detect(request: Request) -> RecordedSubject | None:
        assert request.image is not None
        x_scale, y_scale = request.scale
        hands = landmarker.detect(request.image)
        usable = [each for each in hands if landmarks.has_extent(each.landmarks[None])[0]]
        if not usable:
            return None
        hand = max(usable, key=lambda each: float(np.ptp(each.landmarks[:, :2], axis=0).prod()))
        points = np.round(hand.landmarks * (x_scale, y_scale, x_scale), _DECIMALS)
        return RecordedSubject(tuple(points.ravel().tolist()), hand.handedness)

    return detect


RECORDABLE = Recordable(
    columns=COLUMNS,
    open_detector=open_detector,
    libraries=LIBRARIES,
    script=(_HERE / "standalone.py", _HERE / "hand_shape.py"),
)
