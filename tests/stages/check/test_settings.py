"""Each failed check names the setting that helps, in a check and in a run, ready to be pasted."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from command_line import CommandLine

from mien import pipeline, tasks
from mien.cli.options import run_config
from mien.config import RunConfig
from mien.errors import DataCheckError
from mien.stages.check import context
from mien.stages.check.results import checks_of
from mien.storage.workspace import Workspace

from .gates import SOURCES

CHECKS = [(task, slug) for task in tasks.names() for slug in checks_of(tasks.load(task))]
_SETTING = re.compile(r"--set ('(?:[^']|'\"'\"')*'|\S+)")
_COUNTED = {"no_subject": 0, "multiple_subjects": 2}
"""Subjects in every image; elsewhere one."""


@pytest.fixture(params=CHECKS, ids="-".join)
def failing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """The check that fails, and a config in which it alone is on, and fails at any issue."""
    task, slug = request.param
    (tmp_path / "set").mkdir()
    SOURCES[task][slug](tmp_path / "set")
    config = {
        "task": task,
        "source": str(tmp_path / "set"),
        "checks": {each: {"level": "off"} for each in checks_of(tasks.load(task))}
        | {slug: {"level": "error", "limit": 0.0}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    subjects = _COUNTED.get(slug, 1)
    monkeypatch.setattr(
        context, "_count_subjects", lambda found: dict.fromkeys(range(len(found.samples)), subjects)
    )
    return slug, tmp_path / "own.yaml"


class TrainingReachedError(Exception):
    """The data have passed the check and are prepared."""


def test_every_check_has_a_source_that_fails_it() -> None:
    """A new check needs one in `gates.py`, to show that its setting helps."""
    made = {(task, slug) for task, each in SOURCES.items() for slug in each}
    assert set(CHECKS) == {each for each in made if each[0] in tasks.names()}


@pytest.mark.long
def test_the_setting_of_a_failed_check_can_be_pasted(
    failing: tuple[str, Path], command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it the same data pass, and are prepared: no later stage refuses them again."""
    slug, config = failing
    home = config.with_name("home")
    command = ["data", "check", str(config)]
    failed = command_line(*command, home=home)
    assert failed.returncode == 1, failed.stdout + failed.stderr

    def run(*overrides: str) -> RunConfig:
        return run_config(config, None, list(overrides))

    def trained(*_: object) -> None:
        raise TrainingReachedError

    monkeypatch.setattr(pipeline, "fit_candidates", trained)
    with pytest.raises(DataCheckError, match=f"fail 1 check: {slug} ") as refused:
        pipeline.run(run(), Workspace(home))
    (setting,) = _SETTING.findall(str(refused.value))
    assert f"--set {setting}" in failed.stdout
    (value,) = shlex.split(setting)
    passed = command_line(*command, "--set", value, home=home)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    with pytest.raises(TrainingReachedError):
        pipeline.run(run(value), Workspace(home))
