"""The loop on a real server: a changed world is learned, and a worse model is never promoted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import small
from project import free_port
from pydantic import SecretStr
from reviewed import KEY
from served import Server

from mien import config, pipeline
from mien.errors import StackError
from mien.observability.review.store import ReviewStore
from mien.pipeline import loop_drill
from mien.pipeline.loop_drill import SEEDS, LoopDrill, LoopResult, _Client
from mien.stages.data.folders import DRAWN_MARK
from mien.stages.monitor.traffic import LabelledRequest
from mien.stages.monitor.web import HttpClient, HttpResponse
from mien.storage.workspace import Workspace
from mien.tracking import Tracker


@pytest.mark.long
def test_a_changed_world_is_learned_while_every_request_is_answered(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From review to promotion; then the model of before is refused."""
    from mien.tasks.gesture.sample import write_sample

    home, drawn = tmp_path / "home", tmp_path / "drawn"
    home.mkdir()
    (home / "mlflow.db").write_bytes(mlflow_database.read_bytes())
    write_sample(drawn, 0, small.HANDS)
    (drawn / DRAWN_MARK).touch()
    workspace = Workspace(home)
    pipeline.run(small.GESTURE.model_copy(update={"source": str(drawn)}), workspace)
    limits = {"MIEN_REVIEW": "gesture:landmarks", "MIEN_REVIEW_KEY": KEY}
    for name, value in {**limits, "MIEN_REVIEW_PER_DAY": "5000"}.items():
        monkeypatch.setenv(name, value)
    server = Server(home, tmp_path, ("gesture",), free_port())
    settings = config.settings().model_copy(
        update={
            "review_key": SecretStr(KEY),
            "prediction_log": tmp_path / "predictions.db",
        }
    )
    try:
        server.start()
        result = loop_drill.run(None, workspace, settings, HttpClient(server.address))
    finally:
        server.kill()
    loop_drill.require_passed(result)
    assert (result.failed, result.false_promotions) == (0, 0)
    assert result.sent > 500
    assert result.after > result.before + 0.2
    assert list(result.minutes) == [
        *("traffic and review", "retrain", "shadow", "promotion"),
        "shadow of a worse version",
    ]
    assert workspace.aliases("gesture")["champion"] == result.version == 2
    reasons = [each.reason for each in Tracker(home).history("mien-gesture")]
    assert reasons[-1].startswith("Better in the shadow: ")


@dataclass(frozen=True)
class Answering(HttpClient):
    """A server that answers each body with the label of the same name; "none" is no subject."""

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        label = None if body == b"none" else body.decode()
        answer = {"emotion": label, "trace_id": f"{body.hex():0>32}"}
        return HttpResponse(path, 200, json.dumps(answer).encode())


def test_a_wrong_answer_without_a_subject_is_not_waited_for(tmp_path: Path) -> None:
    """A server keeps nothing of it; a wrong one with a subject is labelled with the truth."""
    workspace, client = Workspace(tmp_path), _Client(Answering("http://x"), "emotion")
    settings = config.settings().model_copy(update={"review_key": SecretStr(KEY)})
    drill = LoopDrill("emotion", workspace, settings, client, 100)
    sample = workspace.review / "emotion" / f"{b'anger'.hex():0>32}.sample"
    sample.parent.mkdir(parents=True)
    sample.touch()
    requests = [LabelledRequest("/", body, "image/png", "happy") for body in (b"none", b"anger")]
    assert drill.review(requests) == 1
    (label,) = ReviewStore(workspace.review, KEY).labels("emotion").latest().values()
    assert (label.trace_id, label.label) == (sample.stem, "happy")


def test_a_worse_version_is_better_in_no_order_and_a_better_one_in_all() -> None:
    """Also one that differs from the champion in few answers."""
    rng = np.random.default_rng(0)
    good, bad = rng.random(200) < 0.86, rng.random(200) < 0.48
    assert loop_drill.false_promotions(good, bad, 3000) == 0
    assert loop_drill.false_promotions(bad, good, 3000) == SEEDS


@pytest.mark.parametrize(
    "changes", [{"failed": 1}, {"after": 0.5}, {"false_promotions": 1}], ids=str
)
def test_a_drill_that_shows_too_little_fails(changes: dict[str, float]) -> None:
    """One failed request is enough."""
    good = {"before": 0.5, "after": 0.9, "failed": 0, "false_promotions": 0}
    loop_drill.require_passed(LoopResult("", **good))  # type: ignore[arg-type]
    with pytest.raises(StackError, match="loop: expected no failed request"):
        loop_drill.require_passed(LoopResult("", **good | changes))  # type: ignore[arg-type]


def test_a_champion_of_real_data_is_not_replaced_by_a_drill(tmp_path: Path) -> None:
    """The drill asks for a workspace of its own."""
    with pytest.raises(StackError, match="expected a champion that was trained on drawings"):
        loop_drill.run(None, Workspace(tmp_path), config.settings(), HttpClient("http://x"))
