"""Faces are counted with a network that is independent of the trained detector."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.mediapipe import weights
from mien.task import Request
from mien.tasks.emotion import TASK
from mien.tasks.emotion.sample import draw_face_image


def test_subjects_are_counted(
    detector: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None, one, two; from a ready file, as on a machine without a registry."""
    own = tmp_path / "own.tflite"
    own.write_bytes(detector)
    monkeypatch.setenv(weights.FACE_DETECTOR_VARIABLE, str(own))
    assert TASK.inference.subject_counter is not None
    count = TASK.inference.subject_counter()
    one = draw_face_image("neutral")
    both = Image.new("RGB", (720, 480))
    both.paste(one, (0, 0))
    both.paste(one, (360, 0))
    pictures = (Image.new("RGB", (64, 48)), one, both)
    assert [count(Request(image=np.asarray(each))) for each in pictures] == [0, 1, 2]
