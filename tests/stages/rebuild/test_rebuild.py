"""`mien reproduce` and `mien certify` with a real champion and a real registry.

One rebuild takes some seconds, so each test checks several promises.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mien import config, pipeline
from mien.errors import BundleError, ConfigError, MienError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.stages import rebuild
from mien.stages.rebuild import RebuildOptions, record, scratch
from mien.stages.rebuild.code import SourceTree
from mien.stages.rebuild.outcome import COMPARED_STAGES, RebuildStep
from mien.stages.serve import models
from mien.stages.serve.reloader import ModelReloader
from mien.storage.registry import PENDING
from mien.storage.workspace import Workspace
from mien.tracking import COMMITTED, Tracker

from .conftest import RUN

Rewrite = Callable[..., Bundle]


def make_champion(workspace: Workspace) -> None:
    """Give MLflow the alias that the export has, although the code may be uncommitted."""
    Tracker(workspace.home).move("mien-gesture", "champion", 1, "forced promote", "for a test")


def test_a_rebuild_has_a_registry_of_its_own(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team's registry would get a version that nobody asked for."""
    target, environments = record.find_target("gesture:1", trained), list[dict[str, str]]()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    def run(_: list[str], environment: dict[str, str]) -> tuple[int, str]:
        environments.append(environment)
        return 1, "stopped"

    monkeypatch.setattr(scratch, "_run_streaming", run)
    python, tree = Path(sys.executable), SourceTree(tmp_path, tmp_path)
    scratch.run_pipeline(target, tmp_path / "tiny.yaml", tree, python, Workspace(tmp_path))
    assert "MLFLOW_TRACKING_URI" not in environments[0]
    assert environments[0]["PYTHONSAFEPATH"] == "1"


@pytest.mark.long
def test_another_processor_is_a_warning_and_keep_leaves_the_workspace(
    workspace: Workspace, rewritten: Rewrite, tmp_path: Path
) -> None:
    """Bytes need not repeat there, although they do here. An export without MLflow is accepted with
    a warning. The rebuild has its own copy of the data: the original does not change."""
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


def test_code_that_was_committed_later_is_taken_from_that_commit(
    workspace: Workspace, rewritten: Rewrite
) -> None:
    """The recorded commit is the one before, which does not contain it."""
    rewritten(code__dirty=True, code__commit="before")
    target = record.find_target("gesture:1", workspace)
    assert record.recorded_code(target, workspace).commit == "before"
    Tracker(workspace.home).set_tag("mien-gesture", target.number, COMMITTED, "after")
    code = record.recorded_code(target, workspace)
    assert code == target.lineage.code.model_copy(update={"commit": "after"})


def test_a_rebuild_uses_the_commit_that_contains_the_code(
    workspace: Workspace, rewritten: Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it was committed after the training; the check of the record is switched off here."""
    monkeypatch.setattr(record, "check_record", lambda *_: RebuildStep("record", "identical", ""))
    rewritten(code__dirty=True, code__commit="before", code__sha256="0" * 64)
    assert "has no commit before" in rebuild.reproduce("gesture:1", workspace).verdict
    Tracker(workspace.home).set_tag("mien-gesture", 1, COMMITTED, "after")
    assert "has no commit after" in rebuild.reproduce("gesture:1", workspace).verdict


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
    "an older mien": (
        {"prepared_sha256": None},
        "record: the bundle does not record prepared_sha256",
    ),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_record_is_named_before_anything_runs(
    workspace: Workspace, rewritten: Rewrite, kind: str
) -> None:
    """The key and both values, from what MLflow recorded when the run began."""
    changes, text = ALTERED[kind]
    rewritten(**changes)
    done = rebuild.reproduce("mien-gesture:1", workspace)
    assert done.verdict.startswith(f"differs at {text}"), done.verdict
    assert (done.passed, done.rebuilt, len(done.steps)) == (False, False, 1)


def test_without_mlflow_packages_and_config_are_still_checked(
    workspace: Workspace, rewritten: Rewrite
) -> None:
    """Packages against the installed ones; the config against its digest."""
    (workspace.home / "mlflow.db").unlink()
    rewritten(environment__numpy="1.0")
    done = rebuild.reproduce("gesture", workspace)
    assert done.first_difference is not None
    assert done.first_difference.stage == "environment"
    assert done.first_difference.text.startswith("numpy: 1.0 recorded, ")
    assert "--build" in done.first_difference.text
    rewritten(config__seed=7)
    assert "does not match its own digest" in rebuild.reproduce("gesture", workspace).verdict


def test_one_changed_byte_of_the_data_is_reported(workspace: Workspace) -> None:
    """With the item and the path of the shard; nothing is trained on such data."""
    (shard,) = workspace.raw("gesture").glob("shards/*.zip")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = rebuild.reproduce("mien-gesture@champion", workspace)
    assert done.first_difference is not None
    assert done.first_difference.stage == "data"
    assert "landmarks.csv" in done.first_difference.text
    assert str(shard) in done.first_difference.text
    shard.unlink()
    assert "landmarks.csv" in rebuild.reproduce("gesture", workspace).verdict
    (manifest,) = workspace.raw("gesture").glob("versions/*.json")
    manifest.unlink()
    assert "the store has no version" in rebuild.reproduce("gesture", workspace).verdict


def test_a_changed_config_file_is_a_warning_and_the_record_is_used(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key and both values; the rebuild runs the recorded config."""
    target = record.find_target("gesture", workspace)
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
    ("reference", "message"),
    [
        ("gestrue", "Did you mean 'gesture'"),
        ("gesture@winner", "no alias 'winner'"),
        ("gesture:9", "no version 9"),
        ("gesture:x", "expected TASK, TASK@ALIAS or TASK:VERSION"),
    ],
)
def test_a_missing_model_is_refused(trained: Workspace, reference: str, message: str) -> None:
    """A task, an alias or a version that does not exist; the message lists the existing ones."""
    with pytest.raises(MienError, match=message):
        record.find_target(reference, trained)


def test_a_damaged_bundle_and_a_used_folder_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The folder is not overwritten, and the bundle not rebuilt."""
    with pytest.raises(ConfigError, match="new folder"):
        rebuild.reproduce("gesture", workspace, RebuildOptions(keep=workspace.home))
    (workspace.version("gesture", 1) / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="checksum"):
        rebuild.reproduce("gesture", workspace)


@pytest.mark.long
def test_a_certificate_is_stored_with_the_bundle(workspace: Workspace) -> None:
    """In card, lineage and registry; the run is not registered a second time, a server reloads the
    new folder, and the next call completes an interrupted certificate."""
    make_champion(workspace)
    old = bundle.read(workspace.version("gesture", 1))
    served = models.Models(models.resolve_sources(workspace, ["gesture"], []))
    served.load(lambda work: work(), lambda _: None, lambda: False)
    reloads: list[tuple[str, bool]] = []
    reloader = ModelReloader(
        served, workspace, 0, lambda _: None, lambda *each: reloads.append(each)
    )
    done, written = rebuild.certify("gesture", workspace)
    assert (done.verdict, done.identical, written) == ("identical: 6 stages", True, True)
    new = bundle.read(workspace.version("gesture", 1))
    certificate = new.manifest.lineage.certificate
    assert certificate is not None
    assert (certificate.runs, certificate.identical) == (2, True)
    assert set(certificate.compared) == set(COMPARED_STAGES)
    card = (new.folder / "card.md").read_text()
    assert card.count("## Certified") == 1
    assert "identical: 6 stages" in card
    assert (new.folder / "model.onnx").read_bytes() == (old.folder / "model.onnx").read_bytes()
    tracker = Tracker(workspace.home)
    (version,) = tracker.versions("mien-gesture")
    assert version.digest == new.digest != old.digest
    again = pipeline.run(RUN, workspace)
    assert (again.registered.number, again.registered.fresh) == (1, False)
    reloader.poll()
    assert reloads == [("gesture", True)]
    assert served.find("gesture").digest == new.digest
    assert served.find("gesture").version == "1"
    _check_interrupted(workspace, tracker, old, new)


def _check_interrupted(workspace: Workspace, tracker: Tracker, old: Bundle, new: Bundle) -> None:
    """Killed with the new folder in place and the old digest in the registry, or the reverse."""
    for digest, pending in ((old.digest, new.digest), (new.digest, "f" * 64)):
        tracker.set_tag("mien-gesture", 1, "mien.digest", digest)
        tracker.set_tag("mien-gesture", 1, PENDING, pending)
        rebuild._complete_pending(record.find_target("gesture", workspace), workspace)
        (version,) = Tracker(workspace.home).versions("mien-gesture")
        assert version.digest == new.digest
        assert PENDING not in version.tags
