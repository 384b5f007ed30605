"""`mien evidence`: every item is a command that can fail, and the page says what it printed."""

import shlex
from pathlib import Path

import pytest
from command_line import CommandLine
from project import ROOT

from bench import profile
from evidence import checks, diagram, page
from evidence.items import CHECKLIST, HOME, Item
from mien.errors import ConfigError
from mien.stages import evidence as stage

ITEMS = [item for items in CHECKLIST.values() for item in items]
HOOKS = next(item for item in ITEMS if item.text == "Hooks before a commit")


def test_the_checklist_has_its_53_items() -> None:
    """Each once, with a link that leads somewhere, and a reason where nothing is run."""
    assert [len(items) for items in CHECKLIST.values()] == [20, 18, 9, 6]
    assert len({item.text for item in ITEMS}) == len(ITEMS)
    assert [item.link for item in ITEMS if not (ROOT / item.link).exists()] == []
    assert all(item.note for item in ITEMS if not item.command)


def test_commands_name_files_that_are_there() -> None:
    """A file that was renamed is noticed here, before its item fails."""
    words = {word for item in ITEMS for word in shlex.split(item.command) if "/" in word}
    folders = ("src/", "tests/", "docs/", ".github/", ".dvc/", "deploy/", "prometheus/")
    paths = {word for word in words if word.startswith(folders)}
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_one_broken_item_is_failed(tmp_path: Path) -> None:
    """In a clone without the hook the same command fails, and the page says so."""
    assert checks.check(HOOKS).state == "done"
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\n")
    broken = checks.check(HOOKS, tmp_path)
    assert broken.state == "failed"
    text = page.text({"Week 2": [broken]}, {"tests": 1})
    assert "**1 failed.**" in text
    assert "Hooks before a commit](../.pre-commit-config.yaml) | M18 | failed | `grep" in text


@pytest.mark.parametrize(
    ("command", "expected", "optional", "state"),
    [
        ("git --version", "^git", "", "done"),
        ("git --version", "^hg", "", "failed"),
        ("git no-such-command", "git", "", "failed"),
        ("no-such-program", "program", "", "failed"),
        ("git --version", "^hg", "a reason", "not done"),
        ("git --version", "^git", "a reason that holds no more", "done"),
        ("", "", "", "not checked"),
    ],
)
def test_the_output_decides(command: str, expected: str, optional: str, state: str) -> None:
    """Nothing is done by its text: neither a wrong line nor an error passes."""
    item = Item("M0", "x", command, expected, optional=optional, note="a note")
    assert checks.check(item).state == state


def test_the_page_names_no_place_of_this_machine(tmp_path: Path) -> None:
    """A result is the same in every clone."""
    item = Item("M0", "x", "python -c 'import os; print(os.getcwd(), \"3 passed in 0.12s\")'")
    assert checks.check(item, tmp_path).line == ". 3 passed"


def test_the_committed_page_is_of_these_items_and_this_code() -> None:
    """Run `mien evidence` again after a change of the checklist or the architecture."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert [item.text for item in ITEMS if f"[{item.text}](../{item.link})" not in text] == []
    assert diagram.flow() in text
    assert diagram.packages() in text
    assert str(ROOT) not in text
    assert HOME in text


def test_the_diagrams_follow_the_code() -> None:
    """The stages as they are called, the services as they run, imports as they are."""
    flow, packages = diagram.flow(), diagram.packages()
    assert "    check --> prepare\n" in flow
    assert "  prometheus -->|reads metrics| api" in flow
    assert "  stages --> tasks\n" in packages
    assert "cli --> storage" not in packages, "pipeline leads there"


def test_an_installed_package_says_that_it_needs_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    """The checks are not in the wheel; in a clone their exit status is the command's."""
    with pytest.raises(ConfigError, match="expected a clone of it, found an installed package"):
        stage.collect(tmp_path)
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "__main__.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(stage.collect, "__defaults__", (tmp_path,))
    assert command_line("evidence", home=tmp_path).returncode == 1


def test_a_profile_counts_functions_and_packages() -> None:
    """A function has what it calls, once a stack; the client is left out."""
    lines = [
        "run (mien/pipeline.py:9);fit (mien/tasks/x.py:3);solve (scipy/opt.py:5) 6",
        "run (mien/pipeline.py:8);run (mien/pipeline.py:7) 2",
        "_serve (bench/profile.py:1);send (http/client.py:4) 100",
    ]
    counted = profile.parse("\n".join(lines))
    assert counted.samples == 8
    assert counted.functions() == [("mien/pipeline.py run", 1.0), ("mien/tasks/x.py fit", 0.75)]
    assert counted.packages() == [("scipy", 0.75), ("mien", 0.25)]
