"""Counts the faces of a picture with a network that is independent of the trained detector."""

from collections.abc import Callable

from mien.errors import RequestError
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.task import Request


def subjects() -> Callable[[Request], int]:
    """Make a function that counts the faces of a picture. Not thread-safe: one for each thread.

    Raises:
        WeightsError: the weights cannot be downloaded.
    """
    detector = FaceDetector()

    def count(request: Request) -> int:
        if request.image is None:
            raise RequestError("The emotion task counts faces: expected a picture, found JSON.")
        return len(detector.detect(request.image, PADDING_SCALES))

    return count
