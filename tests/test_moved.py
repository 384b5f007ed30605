"""A workspace works wherever it is: moved, or copied and both copies used."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import tiny
from project import free_port
from waiting import PATIENCE, until

from mien import config, pipeline
from mien.model import bundle
from mien.pipeline import RunReport
from mien.stages import predict, rebuild
from mien.storage.workspace import CHAMPION, Workspace
from mien.tasks.gesture.sample import landmark_rows
from mien.tracking import Tracker

MODEL = "mien-gesture"
OTHER = "params.cv_folds=3"


@dataclass(frozen=True)
class Place:
    """A workspace at one place, and the config of its run."""

    workspace: Workspace
    config: Path

    def run(self, *overrides: str) -> RunReport:
        return pipeline.run(config.load(self.config, overrides), self.workspace)

    def answer(self, folder: Path) -> object:
        """What the champion predicts for one hand."""
        hands, _ = landmark_rows(1, 0)
        (folder / "hand.json").write_text(json.dumps({"landmarks": hands[0].tolist()}))
        ((_, found),) = predict.predict([folder / "hand.json"], "gesture", None, self.workspace)
        assert "error" not in found, found
        return {key: found[key] for key in ("gesture", "confidence")}

    def check_artifacts(self, *numbers: int) -> None:
        """MLflow's own client finds every version's bundle below this very workspace."""
        client = Tracker(self.workspace.home)._client
        versions = {int(each.version): each for each in client.search_model_versions("")}
        assert set(versions) == set(numbers)
        for number, version in versions.items():
            uri = client.get_run(version.run_id).info.artifact_uri
            assert uri.startswith(f"{self.workspace.home.as_uri()}/mlruns/gesture/")
            assert version.source == f"{uri}/model"
            fetched = Path(client.download_artifacts(version.run_id, "model/bundle"))
            exported = bundle.read(self.workspace.version("gesture", number))
            assert bundle.read(fetched).digest == exported.digest


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """After one run. Read only; copy it."""
    folder = tmp_path_factory.mktemp("moved")
    made = Place(Workspace(folder / "first place"), tiny.write(folder))
    assert made.run().registered.fresh
    return made


def copied(original: Place, home: Path) -> Place:
    shutil.copytree(original.workspace.home, home)
    return Place(Workspace(home), original.config)


@pytest.fixture
def moved(original: Place, tmp_path: Path) -> Place:
    """At another place; where it was, nothing is left."""
    before = copied(original, tmp_path / "before")
    assert not before.run().registered.fresh, "its paths are those of this place"
    after = tmp_path / "a new" / "place"
    after.parent.mkdir()
    shutil.move(before.workspace.home, after)
    return Place(Workspace(after), original.config)


@pytest.mark.long
def test_a_moved_workspace_works_as_before(moved: Place, original: Place, tmp_path: Path) -> None:
    """It answers the same, does nothing twice, trains, and rebuilds what it has trained before."""
    assert moved.answer(tmp_path) == original.answer(tmp_path)
    again = moved.run()
    assert again.skipped == list(again.seconds)
    moved.check_artifacts(1)
    new = moved.run(OTHER).registered
    assert (new.number, new.fresh) == (2, True)
    moved.check_artifacts(1, 2)
    done = rebuild.reproduce("gesture:1", moved.workspace)
    assert done.identical, done.verdict
    assert not (tmp_path / "before").exists(), "nothing was written to the place that it left"


@pytest.mark.long
def test_two_copies_go_on_by_themselves(original: Place, tmp_path: Path) -> None:
    """Each keeps what it trains; the other and the original stay as they are."""
    one, two = (copied(original, tmp_path / name) for name in ("one", "two"))
    for place, change in ((one, OTHER), (two, "params.cv_folds=4"), (one, "params.cv_folds=4")):
        assert place.run(change).registered.fresh
    one.check_artifacts(1, 2, 3)
    two.check_artifacts(1, 2)
    original.check_artifacts(1)
    assert one.workspace.aliases("gesture").keys() >= {CHAMPION}
    firsts = [each.workspace.version("gesture", 1) for each in (original, one, two)]
    assert len({bundle.read(folder).digest for folder in firsts}) == 1
    again, other = (
        bundle.read(each.workspace.version("gesture", number))
        for each, number in ((one, 3), (two, 2))
    )
    assert again.model_sha256 == other.model_sha256, "the same data, params and seed"
    assert again.digest != other.digest, "which names the time of the training"


@pytest.mark.long
def test_mlflows_page_gives_the_artifacts_of_a_moved_workspace(moved: Place) -> None:
    """As a user downloads them there."""
    port, home = free_port(), moved.workspace.home
    command = [sys.executable, "-m", "mien.cli", "ui", "--port", str(port), "--home", str(home)]
    page = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{address}/health"))
        (version,) = Tracker(home).versions(MODEL)
        asked = {"run_uuid": version.run_id, "path": "model/bundle/model.onnx"}
        got = requests.get(f"{address}/get-artifact", asked, timeout=PATIENCE)
        assert got.content == (moved.workspace.version("gesture", 1) / "model.onnx").read_bytes()
    finally:
        os.killpg(page.pid, signal.SIGTERM)
    page.wait(PATIENCE)


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False
