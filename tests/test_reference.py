"""The pages of reference say what the code says."""

import re
import runpy
from pathlib import Path

import pytest
from project import ROOT
from typer.main import get_command

from mien import cli, tasks
from mien.config import RunConfig

REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))
SOURCE = ROOT / "docs" / "source"


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_the_page_is_what_the_code_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python3 tasks.py reference` writes it again; nothing else is written."""
    monkeypatch.chdir(tmp_path)
    assert (SOURCE / name).read_text(encoding="utf-8") == REFERENCE["PAGES"][name]()
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_on_the_page() -> None:
    """Also the parts of groups."""
    page = (SOURCE / "commands.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#{3,4} mien ([a-z -]+[a-z])", page, re.MULTILINE)
    group = get_command(cli.app)
    names = set(group.commands)  # type: ignore[attr-defined]
    parts = {
        f"{name} {part}"
        for name, command in group.commands.items()  # type: ignore[attr-defined]
        for part in getattr(command, "commands", ())
    }
    assert set(headings) == names | parts
    assert len(headings) == len(names | parts)


def test_every_key_of_a_config_has_a_meaning() -> None:
    """A key without one cannot be used from the page."""
    page = (SOURCE / "configs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert [row[0] for row in rows if len(row[3]) < 10] == []
    keys = {row[0] for row in rows}
    assert set(RunConfig.model_fields) - {"name"} <= keys
    for task in ("gesture", "emotion"):
        assert {f"params.{name}" for name in tasks.load(task).training.Params.model_fields} <= keys
