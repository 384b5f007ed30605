"""The original framework, the ONNX file and the HTTP answer agree on every test example."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import small
from waiting import PATIENCE

from mien import config, tasks
from mien.model import bundle
from mien.stages.serve import app as serve
from mien.storage.workspace import WORK, Workspace, read_latest
from mien.task import Prediction, Request

pytestmark = pytest.mark.long


TOLERANCE = 1e-3
Answer = tuple[str | None, float]


@pytest.fixture(scope="module")
def address(small_models: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    changes = {"port": 0, "prediction_log": tmp_path_factory.mktemp("parity") / "predictions.db"}
    settings = config.settings().model_copy(update=changes)
    with serve.running(small_models, [], [], settings) as url:
        yield url


def folders(workspace: Workspace, name: str) -> tuple[Path, Path, str]:
    """Prepared data, trained folder and champion's candidate of a task."""
    ready, trained = (
        read_latest(place(name), small.EMOTION.name, "")
        for place in (workspace.processed, workspace.trained)
    )
    return ready, trained, bundle.read(small.champion(workspace, name)).manifest.candidate


def said(answer: Any, name: str) -> Answer:
    return answer[name], answer["confidence"]


def best(prediction: Prediction) -> Answer:
    detection = prediction.best
    return (detection.label, detection.confidence) if detection else (None, 0.0)


def differences(one: list[Answer], two: list[Answer]) -> tuple[int, float]:
    """How many labels differ, and the largest difference of confidence."""
    labels = sum(a[0] != b[0] for a, b in zip(one, two, strict=True))
    return labels, max(abs(a[1] - b[1]) for a, b in zip(one, two, strict=True))


def onnx(
    name: str, workspace: Workspace, requests_: list[Request]
) -> tuple[list[Answer], list[Answer]]:
    """What the networks answer, and what mien answers: the same with calibrated confidence."""
    from mien.model import runtime

    inference = tasks.load(name).inference
    with runtime.load(small.champion(workspace, name)) as model:
        scores = [best(inference.detect_many([each], model)[0]) for each in requests_]
        return scores, [best(inference.predict(each, model)) for each in requests_]


def test_gestures_agree(
    small_models: Workspace, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-learn or LightGBM, ONNX and HTTP: same label, confidence within 1e-3, every row."""
    from mien.tasks.gesture import data, landmarks
    from mien.tasks.gesture.params import HAGRID_LABELS, Params
    from mien.tasks.gesture.train import train_classifier

    ready, _, candidate = folders(small_models, "gesture")
    hands = data.read_split(ready, "test").landmarks
    fitted = train_classifier(candidate, ready, Params(**small.GESTURE.params), 0)

    def framework() -> list[Answer]:
        scores = fitted.predict_proba(hands)
        return [(HAGRID_LABELS[int(row.argmax())], float(row.max())) for row in scores]

    examples = [each.request for each in tasks.load("gesture").data.examples(ready, "test")]
    exported, answered = onnx("gesture", small_models, examples)
    url = f"{address}/predict/gesture"
    with requests.Session() as session:
        http = [
            said(
                session.post(url, json={"landmarks": hand.tolist()}, timeout=PATIENCE).json(),
                "gesture",
            )
            for hand in hands
        ]
    for pair in ((framework(), exported), (answered, http)):
        labels, largest = differences(*pair)
        assert labels == 0
        assert largest <= TOLERANCE

    real = landmarks.normalize
    monkeypatch.setattr(landmarks, "normalize", lambda points: real(points) * np.float32(1.05))
    assert differences(framework(), exported)[1] > TOLERANCE, (
        "another preprocessing must be noticed"
    )


def test_emotions_agree(small_models: Workspace, address: str) -> None:
    """PyTorch, ONNX and HTTP: same label, confidence within 1e-3, every test picture."""
    from mien.tasks.emotion.decode import detect
    from mien.tasks.emotion.detector_spec import DetectorSpec
    from mien.tasks.emotion.detector_training import load_torch_detector
    from mien.tasks.emotion.letterbox import letterbox
    from mien.tasks.emotion.params import LABELS

    ready, trained, candidate = folders(small_models, "emotion")
    spec = DetectorSpec.from_preprocessing(
        json.loads((trained / candidate / bundle.MANIFEST).read_text())["preprocessing"]
    )
    side = spec.input_size

    original = load_torch_detector(trained / WORK / candidate, candidate, len(LABELS), side)

    def framework(image: Any, shown: Any) -> Answer:
        _, placement = letterbox(image, side, spec.pad_value)
        _, scores = detect(original(shown), spec, placement)
        return (LABELS[int(scores[0].argmax())], float(scores[0].max())) if len(scores) else NONE

    examples = list(tasks.load("emotion").data.examples(ready, "test"))
    pictures = [each.request.image for each in examples]
    torch = [framework(image, image) for image in pictures]
    exported, answered = onnx("emotion", small_models, [each.request for each in examples])
    http = []
    with requests.Session() as session:
        for example in examples:
            content = (ready / "test" / "images" / Path(example.name).name).read_bytes()
            files = {"file": (example.name, content)}
            answer = session.post(f"{address}/predict/emotion", files=files, timeout=PATIENCE)
            http.append(said(answer.json(), "emotion"))
    for pair in ((torch, exported), (answered, http)):
        labels, largest = differences(*pair)
        assert labels == 0
        assert largest <= TOLERANCE

    changed = [framework(image, 255 - image) for image in pictures[:20] if image is not None]
    assert differences(changed, exported[:20])[1] > TOLERANCE, (
        "another preprocessing must be noticed"
    )


NONE: Answer = (None, 0.0)
