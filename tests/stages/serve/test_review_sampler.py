"""Inputs of doubtful answers are kept where the settings say so, and nowhere else."""

import base64
import io
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from starlette.testclient import TestClient
from waiting import until

from mien.errors import ConfigError
from mien.observability.review import store
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.stages.serve import review_sampler, review_subject
from mien.stages.serve.review_sampler import ReviewSampler
from mien.storage.workspace import Workspace
from mien.task import Detection, Request

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
Value = Callable[..., float | None]

KEY = "ab" * 32
ON = {"review": "shape:point,colour:crops", "review_key": SecretStr(KEY)}
SURE, DOUBTFUL = [0.1, 0.2, 0.9], [0.412345, 0.412346, 0.412347]
GREY = (130, 130, 130)


def ask(client: TestClient, values: list[float]) -> str:
    """The trace_id of one answer of the task `shape`."""
    answer = client.post("/predict/shape", json={"point": {"values": values}})
    assert answer.status_code == 200
    return str(answer.json()["trace_id"])


def judge(client: TestClient, trace_id: str, label: str | None) -> None:
    sent = {"trace_id": trace_id, "label": label}
    assert client.post("/feedback", json=sent).status_code == 200


def samples(workspace: Workspace, task: str = "shape") -> list[ReviewSample]:
    return list(ReviewStore(workspace.review, KEY).read_all(task))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_off_means_that_nothing_is_kept(
    serving: Serving, workspace: Workspace, picture: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the prediction log changes, and neither it nor the log has any part of an input."""
    before = contents(workspace.home)
    image = picture((131, 132, 133))
    with caplog.at_level(logging.DEBUG), serving() as client:
        judge(client, ask(client, DOUBTFUL), None)
        trace_id = client.post("/predict/shape", files={"file": image}).json()["trace_id"]
        judge(client, trace_id, None)
    after = contents(workspace.home)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed
    assert all(path.name.startswith("predictions.db") for path in changed)
    secrets = [b"0.412345", bytes((131, 132, 133)) * 4, image[-40:], base64.b64encode(image[:60])]
    for content in (*(after[path] for path in changed), caplog.text.encode()):
        assert [each for each in secrets if each in content] == []


def test_on_keeps_what_is_doubtful_and_nothing_else(serving: Serving, workspace: Workspace) -> None:
    """A sample has the input, the answer and the reason; the prediction log stays as it is."""
    with serving(**ON) as client:
        ask(client, SURE)
        trace_id = ask(client, DOUBTFUL)
    (sample,) = samples(workspace)
    assert (sample.trace_id, sample.reasons, sample.version) == (trace_id, ("uncertain",), "3")
    assert sample.body == {"point": {"values": DOUBTFUL}}
    assert sample.label in sample.scores
    assert sample.margin < 0.2
    assert all(b"412345" not in each for each in contents(workspace.home).values())


def test_feedback_with_another_label_keeps_a_sure_answer(
    serving: Serving, workspace: Workspace, value: Value
) -> None:
    """Its input is still in memory; of a kept one the reason is added. Right ones are not kept."""
    with serving(**ON) as client:
        right, wrong, doubtful = ask(client, SURE), ask(client, SURE), ask(client, DOUBTFUL)
        judge(client, right, "star")
        judge(client, wrong, "round")
        judge(client, doubtful, None)
        until(lambda: value(client, "mien_review_kept_total", task="shape", reason="wrong") == 2)
        assert value(client, "mien_review_kept_total", task="shape", reason="uncertain") == 1
        assert value(client, "mien_review_samples") == 2
    found = {each.trace_id: (each.reasons, each.feedback) for each in samples(workspace)}
    assert found == {wrong: (("wrong",), "round"), doubtful: (("uncertain", "wrong"), None)}


def test_a_drifting_model_makes_its_answers_doubtful(
    serving: Serving, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the window is large enough to tell."""
    monkeypatch.setattr(review_sampler, "DRIFT_INTERVAL_S", 0.0)
    with serving(**ON) as client:
        for _ in range(205):
            last = ask(client, SURE)
    found = samples(workspace)
    assert found[-1].trace_id == last
    assert 1 <= len(found) < 205
    assert {each.reasons for each in found} == {("drift",)}


def test_a_crop_is_kept_and_not_the_picture(
    serving: Serving, workspace: Workspace, picture: Draw
) -> None:
    """With a margin around the subject, whose box is in the pixels of the crop."""
    with serving(**ON) as client:
        client.post("/predict/colour", files={"file": picture(GREY, (400, 300))})
        client.post("/predict/colour", files={"file": picture((0, 0, 0))})  # no subject
    (sample,) = samples(workspace, "colour")
    assert sample.crop is not None
    assert sample.body is None
    image = Image.open(io.BytesIO(base64.b64decode(sample.crop.picture)))
    assert image.size == (sample.crop.width, sample.crop.height)
    assert image.getpixel((0, 0)) == GREY
    assert max(image.size) < 10


def test_a_large_subject_is_reduced() -> None:
    """The box goes with it; one at the border has no margin there."""
    pixels = np.zeros((1000, 2000, 3), np.uint8)
    best = Detection("a", 1.0, (0.0, 0.0, 1600.0, 800.0), {"a": 1.0})
    subject = review_subject.subject_of("crops", Request(image=pixels), best)
    assert subject is not None
    assert subject.pixels is not None
    assert subject.pixels.shape == (143, 286, 3)
    assert subject.box == pytest.approx((0, 0, 1600 / 7, 800 / 7))
    half = Request(image=pixels, sent=(4000, 2000))  # the box is in pixels of what was sent
    subject = review_subject.subject_of("crops", half, best)
    assert subject is not None
    assert subject.box == pytest.approx((0, 0, 800 / 4, 400 / 4))


def test_the_quota_of_a_day_holds_over_a_restart(
    serving: Serving, workspace: Workspace, value: Value
) -> None:
    """What is beyond it is counted as dropped."""
    for _ in range(2):
        with serving(**ON, review_per_day=3) as client:
            for _ in range(3):
                ask(client, DOUBTFUL)
    with serving(**ON, review_per_day=3) as client:
        ask(client, DOUBTFUL)
        until(lambda: value(client, "mien_review_dropped_total", task="shape", reason="quota") == 1)
    assert len(samples(workspace)) == 3


def test_a_share_is_drawn_by_the_trace_id(serving: Serving, workspace: Workspace) -> None:
    """A share of nearly nothing keeps nothing, but what feedback corrects."""
    with serving(**ON, review_share=1e-9) as client:
        trace_ids = [ask(client, DOUBTFUL) for _ in range(5)]
        judge(client, trace_ids[0], None)
    assert [each.trace_id for each in samples(workspace)] == trace_ids[:1]


def test_the_size_is_bounded(serving: Serving, workspace: Workspace) -> None:
    """The oldest sample makes room for the newest."""
    with serving(**ON, review_mb=0.002) as client:
        trace_ids = [ask(client, DOUBTFUL) for _ in range(8)]
    found = [each.trace_id for each in samples(workspace)]
    assert 1 <= len(found) < 8
    assert found == trace_ids[-len(found) :]
    assert store.size(workspace.review)[1] <= 2000


def test_no_answer_waits_where_the_writer_hangs(
    serving: Serving, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, value: Value
) -> None:
    """The queue fills, what is beyond it is dropped, and every request is answered."""
    hold = review_sampler.threading.Event()
    consider = ReviewSampler._consider
    monkeypatch.setattr(review_sampler, "QUEUE_SIZE", 2)
    monkeypatch.setattr(
        ReviewSampler, "_consider", lambda self, *offer: (hold.wait(), consider(self, *offer))
    )
    with serving(**ON) as client:
        for _ in range(6):
            ask(client, DOUBTFUL)
        dropped = value(client, "mien_review_dropped_total", task="shape", reason="busy")
        hold.set()
    assert dropped in (3, 4)
    assert len(samples(workspace)) == 6 - dropped


def test_a_disk_that_refuses_costs_samples_and_no_answers(
    serving: Serving, workspace: Workspace, value: Value, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and again when samples are kept again."""
    workspace.review.write_text("a file where the folder should be")
    dropped = {"task": "shape", "reason": "failed"}
    with serving(**ON) as client:
        ask(client, DOUBTFUL)
        ask(client, DOUBTFUL)
        until(lambda: value(client, "mien_review_dropped_total", **dropped) == 2)
        workspace.review.unlink()
        ask(client, DOUBTFUL)
    assert len(samples(workspace)) == 1
    lines = [each.message for each in caplog.records if "samples for review" in each.message]
    assert len(lines) == 2
    assert "not kept from now on" in lines[0]
    assert "kept again" in lines[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"review": "shape"}, "expected TASK:KIND"),
        ({"review": "shape:crops,shape:point"}, "each task once"),
        ({"review": "other:crops"}, "expected served tasks"),
        ({"review": "colour:point"}, "expected one of crops; found 'point'"),
        ({"review_key": SecretStr("")}, "MIEN_REVIEW_KEY"),
        ({"review_key": SecretStr("cd" * 32)}, "found another one"),
    ],
    ids=str,
)
def test_what_cannot_be_is_an_error_at_the_start(
    serving: Serving, workspace: Workspace, changes: dict[str, Any], message: str
) -> None:
    """A server that kept nothing, or in clear, would look as if all were well."""
    with serving(**ON) as client:
        ask(client, DOUBTFUL)
    with pytest.raises(ConfigError, match=message), serving(**{**ON, **changes}):
        pass


def test_switched_off_what_was_kept_still_expires(serving: Serving, workspace: Workspace) -> None:
    """At the next start."""
    with serving(**ON) as client:
        ask(client, DOUBTFUL)
    with serving(review_days=1e-9):
        assert store.paths(workspace.review) == []
