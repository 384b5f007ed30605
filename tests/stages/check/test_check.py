"""Promises of a check: it reads data once, reports issues, and stops a training."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mien import pipeline
from mien.cli import app
from mien.config import CheckConfig, RunConfig, load
from mien.errors import ConfigError, DataCheckError, DataError, MienError
from mien.stages import Run
from mien.stages import check as stage
from mien.stages.check import report
from mien.stages.check.checks import split_leakage
from mien.storage.versions import OPEN, Version
from mien.storage.workspace import DATA_QUALITY, REPORT, Workspace, read_latest

from . import sets

OFF = {name: CheckConfig(level="off") for name in ("no_subject", "multiple_subjects")}
"""Nobody is in these pictures."""


def leaky() -> dict[str, list[tuple[str, str, sets.Pixels]]]:
    """One picture of test and one of val that train has too; one retouched one."""
    drawn = sets.distinct()
    _, label, pixels = drawn["train"][0]
    drawn["test"].append(("again.png", label, pixels))
    drawn["valid"].append(("once more.png", label, sets.portrait(1007)))
    drawn["train"].append(("seven.png", label, sets.retouched(sets.portrait(1007))))
    return drawn


def checked(source: Path, home: Path, **config: Any) -> tuple[stage.CheckedData, Workspace]:
    run, workspace, version = sets.fetched(source, home, **{"checks": OFF, **config})
    return stage.check(Run.resolve(run, workspace), version), workspace


def test_clean_data_pass(tmp_path: Path) -> None:
    """Nothing wrong, nothing found: every check passes or has nothing to look at."""
    done, _ = checked(sets.yolo(tmp_path / "set", sets.distinct()), tmp_path / "home")
    assert done.passed
    assert done.fresh
    assert report.read(done.folder).in_state("failed", "warned", "noted") == ()
    stage.require_passed(done)


def test_a_leak_stops_a_training_and_is_told_to_the_evaluation(tmp_path: Path) -> None:
    """The message names the check, the count and what to do; a file names the samples."""
    done, _ = checked(sets.yolo(tmp_path / "set", leaky()), tmp_path / "home")
    assert done.failed == ("split_leakage",)
    with pytest.raises(
        DataCheckError, match=r"split_leakage \(1 of 34\).*--fix.*--set checks.split_leakage"
    ):
        stage.require_passed(done)
    leaks = json.loads((done.folder / DATA_QUALITY).read_text())
    assert leaks["exact"] == ["test/again.png"]
    assert leaks["near"] == ["val/once more.png"]
    assert leaks["version"] == report.read(done.folder).version


def test_a_second_check_reads_no_data(tmp_path: Path) -> None:
    """With the shards gone, the report is still there and nothing is written anew."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", leaky()), tmp_path / "home", checks=OFF
    )
    first = stage.check(Run.resolve(run, workspace), version)
    shutil.rmtree(workspace.raw("emotion") / "shards")
    again = stage.check(Run.resolve(run, workspace), version)
    assert (first.fresh, again.fresh) == (True, False)
    assert (again.folder, again.failed) == (first.folder, first.failed)


@pytest.mark.parametrize(
    "changes",
    [{"checks": {**OFF, "near_duplicates": CheckConfig(limit=0.5)}}, {"checks": {}}],
    ids=["limit", "level"],
)
def test_another_config_is_another_check(tmp_path: Path, changes: dict[str, Any]) -> None:
    """What was found is judged anew; the first report stays."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home", checks=OFF
    )
    first = stage.check(Run.resolve(run, workspace), version)
    second = stage.check(Run.resolve(run.model_copy(update=changes), workspace), version)
    assert second.fresh
    assert second.folder != first.folder
    assert first.folder.is_dir()
    assert read_latest(workspace.checked("emotion"), "run", "") == second.folder
    back = stage.check(Run.resolve(run, workspace), version)
    assert not back.fresh
    assert read_latest(workspace.checked("emotion"), "run", "") == first.folder


def test_a_training_param_makes_no_other_check(tmp_path: Path) -> None:
    """Epochs cannot change what is wrong with data."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home", checks=OFF
    )
    stage.check(Run.resolve(run, workspace), version)
    longer = run.model_copy(update={"params": {"epochs": 3}})
    assert not stage.check(Run.resolve(longer, workspace), version).fresh


def test_it_tells_what_it_found_once_and_whenever_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run reports faults that are new; `mien data check` reports them every time."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", leaky()), tmp_path / "home", checks=OFF
    )

    def printed(**options: bool) -> str:
        capsys.readouterr()
        stage.check(Run.resolve(run, workspace), version, **options)
        return capsys.readouterr().out

    first, quiet, asked = printed(), printed(), printed(verbose=True)
    assert "failed  split_leakage" in first
    assert "Version 1" in first
    assert str(workspace.reports("emotion") / "check.html") in first.replace("\n", "")
    assert quiet == ""
    assert asked == first


def test_clean_data_are_told_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run over good data says nothing about checks; a check says that all is well."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home", checks=OFF
    )
    capsys.readouterr()
    stage.check(Run.resolve(run, workspace), version)
    assert capsys.readouterr().out == ""
    stage.check(Run.resolve(run, workspace), version, verbose=True)
    assert "passes its checks" in capsys.readouterr().out


def test_people_find_the_newest_report(tmp_path: Path) -> None:
    """Both forms of a report lie in reports/ under names of their own."""
    done, workspace = checked(sets.yolo(tmp_path / "set", leaky()), tmp_path / "home")
    names = {REPORT: "check.json", "report.html": "check.html"}
    for inside, public in names.items():
        there = workspace.reports("emotion") / public
        assert there.read_bytes() == (done.folder / inside).read_bytes()


def test_the_report_is_for_machines_too(tmp_path: Path) -> None:
    """As its schema says: every check with its numbers, examples and names."""
    done, _ = checked(sets.yolo(tmp_path / "set", leaky()), tmp_path / "home")
    document = json.loads((done.folder / REPORT).read_text())
    assert document["format"] == 3
    assert document["samples"] == 51
    assert document["splits"]["test"]["anger"] == 3
    found = next(each for each in document["checks"] if each["slug"] == "split_leakage")
    assert found == {
        "slug": "split_leakage",
        "level": "error",
        "limit": 0.0,
        "count": 1,
        "total": 34,
        "share": 1 / 34,
        "state": "failed",
        "description": split_leakage.CHECK.description,
        "examples": [
            {
                "names": ["test/again.png", "train/0.png"],
                "description": "anger in test; anger in train",
            }
        ],
        "names": ["test/again.png"],
        "fixable": True,
        "setting": "checks.split_leakage.level=warn",
        "hint": "",
    }


def test_boxes_of_the_whole_image_stop_a_training(tmp_path: Path) -> None:
    """A data set without real boxes must not pass for one that has them."""
    source = sets.yolo(tmp_path / "set", sets.distinct(1), "0.499 0.499 0.999 0.999")
    done, _ = checked(source, tmp_path / "home")
    assert done.failed == ("whole_image_box",)
    (result,) = report.read(done.folder).in_state("failed")
    assert (result.count, result.total) == (24, 24)
    assert "its boxes (mAP) cannot" in result.description


def test_only_fixable_issues_are_said_to_be(tmp_path: Path) -> None:
    """Copies across splits go by `--fix`; a class that is not there does not."""
    done, _ = checked(sets.yolo(tmp_path / "set", leaky()), tmp_path / "home")
    assert "--fix` repairs" in report.verdict(report.read(done.folder))
    lacking = sets.distinct(1)
    lacking["train"] = [each for each in lacking["train"] if each[1] != "sad"]
    done, _ = checked(sets.yolo(tmp_path / "other", lacking), tmp_path / "home")
    said = report.verdict(report.read(done.folder))
    assert "empty_class" in said
    assert "--fix" not in said
    assert "Correct the source by hand" in said


def test_names_at_fault_are_bounded_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of a million faults must still open; the number stays true."""
    monkeypatch.setattr(report, "MAX_NAMES", 3)
    drawn = sets.distinct(1)
    drawn["train"] += [(f"more{n}.png", "happy", sets.portrait(1003)) for n in range(6)]
    done, _ = checked(sets.yolo(tmp_path / "set", drawn), tmp_path / "home")
    results = report.read(done.folder).checks
    result = next(each for each in results if each.slug == "duplicates")
    assert result.count == 5
    assert len(result.names) == 3


def test_a_damaged_report_says_what_to_do(tmp_path: Path) -> None:
    """Not a traceback."""
    done, _ = checked(sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home")
    (done.folder / REPORT).write_text("{")
    with pytest.raises(MienError, match="Remove the folder"):
        stage.require_passed(stage.CheckedData(done.folder, fresh=False, failed=("x",)))


def test_an_unknown_check_ends_before_anything_is_read(tmp_path: Path) -> None:
    """A spelling mistake costs no minutes."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home",
        checks={"split_leakag": CheckConfig()},
    )  # fmt: skip
    shutil.rmtree(workspace.raw("emotion") / "shards")
    with pytest.raises(ConfigError, match="Did you mean 'split_leakage'"):
        stage.check(Run.resolve(run, workspace), version)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    """A check that breaks off leaves no folder that passes for a report."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home", checks=OFF
    )
    shard = next((workspace.raw("emotion") / "shards").glob("*.zip"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        stage.check(Run.resolve(run, workspace), version)
    assert not workspace.checked("emotion").exists()
    assert not list(workspace.raw("emotion").glob(f"{OPEN}*"))
    shard.write_bytes(whole)
    assert stage.check(Run.resolve(run, workspace), version).fresh


def hands(folder: Path, rows: int = 40) -> tuple[RunConfig, Workspace, Version]:
    """The first rows of each label of the sample of the gesture task, and its run."""
    from mien import tasks

    tasks.load("gesture").data.write_sample(folder / "raw", 0)
    path = next((folder / "raw").rglob("*.csv"))
    lines = path.read_text().splitlines()
    kept, seen = [lines[0]], dict.fromkeys(tasks.load("gesture").default_labels, 0)
    place = lines[0].split(",").index("label")
    for line in lines[1:]:
        label = line.split(",")[place]
        seen[label] += 1
        if seen[label] <= rows:
            kept.append(line)
    (folder / "hands.csv").write_text("\n".join(kept) + "\n")
    return sets.fetched(folder / "hands.csv", folder / "home", task="gesture")


def test_rows_are_checked_as_pictures_are(tmp_path: Path) -> None:
    """A table without pictures: checks of images are off, the others see the divided rows."""
    run, workspace, version = hands(tmp_path, 12)
    found = report.read(stage.check(Run.resolve(run, workspace), version).folder)
    assert found.in_state("failed") == ()
    states = {each.slug: each.state for each in found.checks}
    assert states["unreadable"] == "off"
    assert states["split_leakage"] == "passed"
    assert set(found.splits) == {"train", "val", "test"}


def test_the_command_ends_with_status_1_where_data_fail(tmp_path: Path) -> None:
    """For scripts: 0 where the data pass, with warnings or without; 1 where they do not."""
    config = tmp_path / "run.yaml"
    config.write_text(
        "task: emotion\nchecks:\n  no_subject: {level: 'off'}\n"
        "  multiple_subjects: {level: 'off'}\n"
    )
    source, home = sets.yolo(tmp_path / "set", leaky()), tmp_path / "home"
    command = ["data", "check", str(config), "--source", str(source), "--home", str(home)]
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 1
    warned = CliRunner().invoke(app, [*command, "--set", "checks.split_leakage.level=warn"])
    assert warned.exit_code == 0, warned.output


def test_the_settings_of_the_message_can_be_pasted(tmp_path: Path) -> None:
    """Each failed check names one; with all of them the same data pass, in a run as well."""
    drawn = leaky()
    drawn["train"] = [each for each in drawn["train"] if each[1] != "sad"]
    source = sets.yolo(tmp_path / "set", drawn, "0.499 0.499 0.999 0.999")
    names = [*sets.LABELS, "not sure"]
    (source / "data.yaml").write_text(json.dumps({"names": names}))
    (source / "train" / "labels" / "0.txt").write_text("8 0.5 0.5 0.4 0.6\n")
    config = tmp_path / "run.yaml"
    config.write_text("task: emotion\nchecks:\n" + "".join(f"  {n}: {{level: off}}\n" for n in OFF))
    command = ["data", "check", str(config), "--source", str(source), "--home", str(tmp_path / "h")]
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1
    with pytest.raises(DataCheckError) as refused:
        pipeline.run(load(config).model_copy(update={"source": "@"}), Workspace(tmp_path / "h"))
    settings = re.findall(r"--set ('[^']+'|\S+)(?=[ .])", str(refused.value))
    assert [each.split("=")[0].strip("'") for each in settings] == [
        *("checks.split_leakage.level", "checks.label_conflict.level", "checks.empty_class.level"),
        *("params.ignore_labels", "checks.whole_image_box.level"),
    ]
    pasted = shlex.split(" ".join(f"--set {each}" for each in settings))
    passed = CliRunner().invoke(app, [*command, *pasted])
    assert passed.exit_code == 0, passed.output
    assert "--set 'params.ignore_labels=[not sure]'" in failed.output.replace("\n", " ")
