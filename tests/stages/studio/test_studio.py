"""What the page can ask for: from pictures to a model that is compared, kept and exported."""

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import PATIENCE

from mien import tasks
from mien.cli.studio import open_studio
from mien.errors import DataError, RequestError
from mien.model import bundle, runtime
from mien.stages.studio.studio import Studio
from mien.storage.workspace import Workspace, read_latest
from mien.task import Request
from mien.tasks.gesture.drawing import load_sample_picture
from mien.tasks.gesture.params import Body
from mien.tasks.gesture.sample import hands_without_gesture, landmark_rows

from .recorded import recorded

Adopt = Callable[[Path], None]
DONE: Mapping[str, str] = {}
"""No query."""


@pytest.fixture(scope="module")
def folder(small_gesture: Workspace) -> Path:
    """The evaluated bundles of a small training."""
    return read_latest(small_gesture.evaluated("gesture"), "small", "")


@pytest.fixture
def studio(tmp_path: Path, folder: Path) -> Studio:
    """A studio whose training is one that was done before."""
    task = tasks.load("gesture")
    assert task.recordable
    return Studio(
        task,
        task.recordable,
        Workspace(tmp_path),
        train=lambda source, limit, adopt: adopt(folder),
        keep=lambda source: f"kept {source.name}",
    )


def state(studio: Studio) -> Any:
    return studio.state(b"", DONE)


def train(studio: Studio) -> Any:
    studio.recording.add(recorded(), "take")
    assert studio.start_training(b"", DONE) == {"started": True}
    studio.training.wait()
    return state(studio)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_picture_becomes_the_numbers_of_its_hand(studio: Studio, tmp_path: Path) -> None:
    """In pixels of the picture, under class and session; a picture without a hand adds nothing,
    and no picture is stored."""
    query = {"label": "my like", "session": "2", "take": "1"}
    reply: Any = studio.record(png(load_sample_picture()), query)
    (sample,) = studio.recording.samples
    assert (sample.label, sample.session, sample.size) == ("my like", 2, (512, 512))
    assert (reply["recorded"], reply["numbers"]) == (1, sample.subject.numbers)
    points = np.reshape(sample.subject.numbers, (21, 3))[:, :2]
    assert ((points > 60) & (points < 460)).all()
    assert studio.record(png(load_sample_picture()), query)["recorded"] == 0  # type: ignore[call-overload]
    empty = studio.record(png(Image.new("RGB", (200, 200), (90, 120, 90))), query)
    assert empty == {"recorded": 0, "numbers": None}
    (listed,) = studio.samples(b"", {"label": "my like"})["samples"]  # type: ignore[call-overload]
    assert listed["name"] == sample.name
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["recording.csv"]


def test_what_is_missing_is_said_before_a_training(studio: Studio) -> None:
    """And a training that is asked for nevertheless is refused with the same words."""
    reasons = state(studio)["refusals"]
    assert reasons == ["Record at least two classes."]
    with pytest.raises(RequestError, match=reasons[0]):
        studio.start_training(b"", DONE)
    for call in (studio.keep, studio.export_model):
        with pytest.raises(RequestError, match="no trained model"):
            call(b"", DONE)
    with pytest.raises(RequestError, match="no model before"):
        studio.compare(b"{}", DONE)


def test_a_training_ends_in_a_served_model_and_its_scores(studio: Studio, folder: Path) -> None:
    """The choice of the policy, with a confusion matrix over all labels; kept on demand."""
    result = train(studio)["result"]
    served = bundle.read(studio.served)
    assert result["version"] == served.digest[:12]
    assert result["labels"] == served.manifest.labels
    assert sum(map(sum, result["confusion"])) == result["samples"]
    assert [each["samples"] for each in result["classes"]] == [
        sum(row) for row in result["confusion"]
    ]
    assert studio.keep(b"", DONE) == {"summary": "kept recording.csv"}
    assert state(studio)["before"] is None


def test_the_model_before_answers_beside_the_new_one(studio: Studio, fitted_gesture: Path) -> None:
    """It is what was served until the training."""
    bundle.copy(fitted_gesture, studio.served)
    before = train(studio)["before"]
    assert before == bundle.read(fitted_gesture).digest[:12]
    hand, _ = (each[0] for each in landmark_rows(1, 5))
    body = json.dumps({"landmarks": (hand * (1, 1, 500)).tolist()}).encode()
    with runtime.load(fitted_gesture) as model:
        request = Request(body=Body.model_validate_json(body))
        expected = studio.task.inference.predict(request, model)
    assert studio.compare(body, DONE) == expected.as_json("gesture")
    with pytest.raises(RequestError, match="JSON request"):
        studio.compare(b"[]", DONE)


def test_a_failed_training_keeps_the_model(studio: Studio) -> None:
    """Its reason is shown; the model before is served and shown on."""
    first = train(studio)["result"]

    def fail(source: Path, limit: float, adopt: Adopt) -> None:
        raise DataError("the data are wrong")

    broken = Studio(studio.task, studio._recordable, studio._workspace, fail, lambda source: "")
    after = train(broken)
    assert (after["training"]["state"], after["training"]["error"]) == (
        "failed",
        "the data are wrong",
    )
    assert after["result"] == first


def test_the_model_answers_before_its_report_is_written(studio: Studio, folder: Path) -> None:
    """It is served and can be judged while the training still runs; it is kept after that."""
    reached, go_on = threading.Event(), threading.Event()

    def report_slowly(source: Path, limit: float, adopt: Adopt) -> None:
        assert state(slow)["training"]["model_seconds"] == 0
        adopt(folder)
        reached.set()
        go_on.wait()
        raise DataError("the disk is full")

    slow = Studio(
        studio.task, studio._recordable, studio._workspace, report_slowly, lambda source: ""
    )
    slow.recording.add(recorded(), "take")
    slow.start_training(b"", DONE)
    try:
        reached.wait(PATIENCE)
        shown = state(slow)
        assert shown["training"]["state"] == "running"
        assert shown["training"]["model_seconds"] > 0
        assert shown["result"]["version"] == bundle.read(slow.served).digest[:12]
        with pytest.raises(RequestError, match="no trained model to keep now"):
            slow.keep(b"", DONE)
    finally:
        go_on.set()
        slow.training.wait()
    assert state(slow)["training"]["state"] == "failed"
    assert state(slow)["result"] == shown["result"]


def test_a_recording_moves_to_another_studio(studio: Studio, tmp_path: Path) -> None:
    """By export and import, with all sessions; deleted samples can come back."""
    studio.recording.add(recorded(), "take")
    name, content = studio.export_recording(b"", DONE)
    other = open_studio(Workspace(tmp_path / "other"))
    count = len(recorded())
    assert name == "gesture.csv"
    assert other.import_recording(content, DONE) == {"recorded": count, "samples": count}  # type: ignore[arg-type]
    assert other.recording.samples == studio.recording.samples
    names = [each.name for each in recorded()[:3]]
    assert other.delete(json.dumps({"names": names}).encode(), DONE) == {"deleted": 3}
    assert other.undo(b"", DONE) == {"added": 3}
    with pytest.raises(RequestError, match="names"):
        other.delete(b"{}", DONE)
    with pytest.raises(RequestError, match="session='x'"):
        other.record(png(load_sample_picture()), {"label": "a", "session": "x"})


def test_an_exported_model_answers_alike_without_mien(studio: Studio, tmp_path: Path) -> None:
    """In an environment of numpy and onnxruntime alone: label, confidence and outcome of gestures
    and of hands that show none."""
    train(studio)
    name, content = studio.export_model(b"", DONE)
    assert (name, content) == ("mien-gesture.zip", studio.export_model(b"", DONE)[1])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # type: ignore[arg-type]
        archive.extractall(tmp_path / "model")
    bundle.read(tmp_path / "model" / "bundle")  # whole, with every checksum
    hands = np.concatenate(
        [landmark_rows(2, 3)[0], hands_without_gesture(20, np.random.default_rng(1))]
    )
    hands = (hands * (1, 1, 500)).tolist()
    (tmp_path / "hands.json").write_text(json.dumps(hands), encoding="utf-8")
    answers = in_bare_environment(tmp_path)
    with runtime.load(studio.served) as model:
        requests = [Request(body=Body(landmarks=hand)) for hand in hands]
        expected = studio.task.inference.predict_many(requests, model)
    assert {each.outcome for each in expected} == {"ok", "unsure"}
    for answer, prediction in zip(answers, expected, strict=True):
        whole = prediction.as_json("gesture")
        assert answer["confidence"] == pytest.approx(whole["confidence"], abs=2e-5)
        assert answer == {**{key: whole[key] for key in answer}, "confidence": answer["confidence"]}


def in_bare_environment(folder: Path) -> Any:
    """What `predict` answers for `hands.json`, where Python finds numpy and onnxruntime only."""
    (folder / "packages").mkdir()
    for package in ("numpy", "onnxruntime"):
        found = find_spec(package)
        assert found
        assert found.origin
        for path in Path(found.origin).parents[1].glob(f"{package}*"):
            (folder / "packages" / path.name).symlink_to(path)
    script = (
        "import json, pathlib, predict; text = pathlib.Path('../hands.json').read_text();"
        "hands = json.loads(text); print(json.dumps([predict.predict(hand) for hand in hands]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder / "packages")}
    for command in (["-c", script], ["predict.py", "example.json"]):
        done = subprocess.run(
            [sys.executable, "-S", *command],
            cwd=folder / "model",
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if command[0] == "-c":
            answers = json.loads(done.stdout)
    assert json.loads(done.stdout)["gesture"] == "like"
    return answers
