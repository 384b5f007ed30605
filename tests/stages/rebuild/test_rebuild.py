"""Promises of `mien reproduce` and `mien certify`, on a real champion with a real registry.

One rebuild takes some seconds, so each one answers several questions.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mien import config, pipeline
from mien.errors import BundleError, ConfigError, MienError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.stages import rebuild
from mien.stages.rebuild import RebuildOptions, record
from mien.stages.rebuild.steps import COMPARED, Step
from mien.stages.serve import models, watch
from mien.storage.workspace import Workspace
from mien.tracking import COMMITTED, Tracker

from .conftest import RUN

Rewrite = Callable[..., Bundle]
pytestmark = pytest.mark.xdist_group("rebuild")


def made_champion(workspace: Workspace) -> None:
    """Let MLflow say what the export says, on code that need not be committed."""
    Tracker(workspace.home).move("mien-gesture", "champion", 1, "forced promote", "for a test")


def test_another_processor_is_told_and_a_kept_rebuild_stays(
    workspace: Workspace, rewritten: Rewrite, tmp_path: Path
) -> None:
    """No byte is promised there; these are the same here all the same. An export without its MLflow
    stands alone. The rebuild has data of its own: nothing of the original is touched."""
    (workspace.home / "mlflow.db").unlink()
    rewritten(platform__cpu={"maker": "Another", "flags": ["avx"]})
    before = {path: path.stat().st_mtime_ns for path in sorted(workspace.home.rglob("*"))}
    done = rebuild.reproduce("gesture:1", workspace, RebuildOptions(keep=tmp_path / "kept"))
    states = {step.stage: step.state for step in done.steps}
    assert (states["record"], states["platform"], done.passed) == ("warning", "warning", True)
    assert "cpu.maker: Another recorded" in str(done.as_json())
    assert done.verdict == "identical: 6 stages, with another platform than recorded"
    assert json.loads(json.dumps(done.as_json()))["steps"][0]["stage"] == "record"
    assert {path: path.stat().st_mtime_ns for path in sorted(workspace.home.rglob("*"))} == before
    (shard,) = Workspace(tmp_path / "kept" / "workspace").raw("gesture").glob("shards/*")
    assert shard.stat().st_nlink == 1, "a link could be written through"
    assert not (tmp_path / "kept" / "code").exists()


def test_code_that_was_committed_later_is_sought_in_that_commit(
    workspace: Workspace, rewritten: Rewrite
) -> None:
    """What was recorded is the commit before it, which never held it."""
    rewritten(code__dirty=True, code__commit="before")
    target = record.find("gesture", workspace)
    assert record.code(target, workspace)["commit"] == "before"
    Tracker(workspace.home).set_tag("mien-gesture", target.number, COMMITTED, "after")
    found = record.code(target, workspace)
    assert found == {**target.lineage["code"], "commit": "after"}


def test_a_rebuild_asks_for_the_commit_that_holds_the_code(
    workspace: Workspace, rewritten: Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was committed after the training; the record itself is not what is tried here."""
    monkeypatch.setattr(record, "check", lambda *_: Step("record", "identical", ""))
    rewritten(code__dirty=True, code__commit="before", code__sha256="0" * 64)
    assert "has no commit before" in rebuild.reproduce("gesture", workspace).verdict
    Tracker(workspace.home).set_tag("mien-gesture", 1, COMMITTED, "after")
    assert "has no commit after" in rebuild.reproduce("gesture", workspace).verdict


ALTERED = {
    "a parameter": (
        {"config__params__trees": 11},
        "record: config.params.trees: 10 in its run, 11 in the bundle",
    ),
    "a package": (
        {"environment__numpy": "1.0"},
        "record: environment.numpy: ",
    ),
    "the seed": ({"seed": 5}, "record: seed: 0 in its run, 5 in the bundle"),
    "a score": ({"training": {}}, "record: the bundle has digest "),
    "an older mien": ({"prepared_sha256": None}, "record: the bundle does not say prepared_sha256"),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_record_is_named_before_anything_runs(
    workspace: Workspace, rewritten: Rewrite, kind: str
) -> None:
    """The key and both values, from what MLflow was told when the run began."""
    changes, text = ALTERED[kind]
    rewritten(**changes)
    done = rebuild.reproduce("mien-gesture@champion", workspace)
    assert done.verdict.startswith(f"differs at {text}"), done.verdict
    assert (done.passed, done.rebuilt, len(done.steps)) == (False, False, 1)


def test_without_mlflow_a_package_and_a_config_are_held_against_what_is_here(
    workspace: Workspace, rewritten: Rewrite
) -> None:
    """A package by both versions; a config by its own digest."""
    (workspace.home / "mlflow.db").unlink()
    rewritten(environment__numpy="1.0")
    done = rebuild.reproduce("gesture", workspace)
    assert done.first is not None
    assert done.first.stage == "environment"
    assert done.first.text.startswith("numpy: 1.0 recorded, ")
    assert "--build" in done.first.text
    rewritten(config__seed=7)
    assert "does not match its own digest" in rebuild.reproduce("gesture", workspace).verdict


def test_one_byte_of_the_data_is_found_and_named(workspace: Workspace) -> None:
    """The item and the shard, where they lie; nothing is trained on such data."""
    (shard,) = workspace.raw("gesture").glob("shards/*.zip")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = rebuild.reproduce("gesture", workspace)
    assert done.first is not None
    assert done.first.stage == "data"
    assert "landmarks.csv" in done.first.text
    assert str(shard) in done.first.text
    shard.unlink()
    assert "landmarks.csv" in rebuild.reproduce("gesture", workspace).verdict
    (manifest,) = workspace.raw("gesture").glob("versions/*.json")
    manifest.unlink()
    assert "the store has no version" in rebuild.reproduce("gesture", workspace).verdict


def test_todays_config_is_told_and_the_record_is_written(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which key and both values; the file that is run is the record, whatever stands today."""
    target = record.find("gesture", workspace)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "out").mkdir()
    path, step = record.write_config(target, tmp_path / "out")
    assert (step.state, path.name) == ("identical", "tiny.yaml")
    (tmp_path / "configs" / "tiny.yaml").write_text("task: gesture\nparams: {trees: 50}\n")
    path, step = record.write_config(target, tmp_path / "out")
    assert step.state == "warning"
    assert "params.trees: 10 recorded, 50 in the file" in step.text
    assert config.load(path).params == RUN.params


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("gestrue", "Did you mean 'gesture'"),
        ("gesture@winner", "no alias 'winner'"),
        ("gesture:9", "no version 9"),
        ("gesture:x", "names no model"),
    ],
)
def test_what_is_not_there_is_refused(trained: Workspace, asked: str, fault: str) -> None:
    """A task, an alias or a version that there is not; with what there is."""
    with pytest.raises(MienError, match=fault):
        record.find(asked, trained)


def test_a_damaged_bundle_and_a_used_folder_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Neither is written over nor rebuilt from."""
    with pytest.raises(ConfigError, match="new folder"):
        rebuild.reproduce("gesture", workspace, RebuildOptions(keep=workspace.home))
    (workspace.version("gesture", 1) / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="checksum"):
        rebuild.reproduce("gesture", workspace)


def test_a_certificate_is_kept_with_the_bundle(workspace: Workspace) -> None:
    """Card, lineage and registry tell of it; the run is not registered a second time, a server
    takes the new folder up, and a certificate that was cut off is completed by the next call."""
    made_champion(workspace)
    old = bundle.read(workspace.version("gesture", 1))
    served = models.Models(models.choose(workspace, ["gesture"], []))
    served.load(lambda work: work(), lambda _: None, lambda: False)
    told: list[tuple[str, bool]] = []
    looking = watch.Watch(served, workspace, 0, lambda _: None, lambda *each: told.append(each))
    done, written = rebuild.certify("gesture", workspace)
    assert (done.verdict, done.identical, written) == ("identical: 6 stages", True, True)
    new = bundle.read(workspace.version("gesture", 1))
    certificate = new.manifest.lineage["certificate"]
    assert (certificate["runs"], certificate["identical"]) == (2, True)
    assert set(certificate["compared"]) == set(COMPARED)
    card = (new.folder / "card.md").read_text()
    assert card.count("## Certified") == 1
    assert "identical: 6 stages" in card
    assert (new.folder / "model.onnx").read_bytes() == (old.folder / "model.onnx").read_bytes()
    tracker = Tracker(workspace.home)
    (version,) = tracker.versions("mien-gesture")
    assert version.digest == new.digest != old.digest
    again = pipeline.run(RUN, workspace)
    assert again.registered is not None
    assert (again.registered.number, again.registered.fresh) == (1, False)
    looking.look()
    assert told == [("gesture", True)]
    assert served.find("gesture").digest == new.digest
    assert served.find("gesture").version == "1"
    _mended(workspace, tracker, old, new)


def _mended(workspace: Workspace, tracker: Tracker, old: Bundle, new: Bundle) -> None:
    """The folder is the new one, and the registry was killed before it heard of it; or the other
    way round."""
    for digest, pending in ((old.digest, new.digest), (new.digest, "f" * 64)):
        tracker.set_tag("mien-gesture", 1, "mien.digest", digest)
        tracker.set_tag("mien-gesture", 1, record.PENDING, pending)
        rebuild._mend(record.find("gesture", workspace), workspace)
        (version,) = Tracker(workspace.home).versions("mien-gesture")
        assert version.digest == new.digest
        assert record.PENDING not in version.tags
