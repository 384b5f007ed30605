"""Promises of `mien.storage.workspace`."""

import ast
from pathlib import Path

import pytest
import yaml
from project import ROOT

from mien.errors import MienError, RegistryError
from mien.storage import workspace
from mien.storage.workspace import Workspace


def test_a_key_changes_with_any_of_its_parts() -> None:
    """Equal inputs give equal names, and nothing else does."""
    assert workspace.cache_key("a", {"x": 1, "y": 2}) == workspace.cache_key("a", {"y": 2, "x": 1})
    others = [workspace.cache_key("a", {"x": 2}), workspace.cache_key("b", {})]
    assert workspace.cache_key("a", {"x": 1}) not in others


def test_code_is_told_apart_by_content() -> None:
    """Two files have two hashes; a folder's covers its files."""
    assert workspace.source_hash("images.py") != workspace.source_hash("config.py")
    assert len(workspace.source_hash("tasks")) == 64


def test_a_pointer_leads_to_a_folder_or_says_what_to_do(tmp_path: Path) -> None:
    """A folder that is gone is as good as none."""
    (tmp_path / "abc").mkdir()
    workspace.write_latest(tmp_path, "run", "abc")
    assert workspace.read_latest(tmp_path, "run", "") == tmp_path / "abc"
    (tmp_path / "abc").rmdir()
    with pytest.raises(MienError, match="Do this"):
        workspace.read_latest(tmp_path, "run", "Do this.")


def test_aliases_survive_a_round_trip_and_damage_is_told(tmp_path: Path) -> None:
    """No file means no alias; an unreadable file is an error that says how to mend it."""
    home = Workspace(tmp_path)
    assert home.aliases("gesture") == {}
    home.write_aliases("gesture", {"champion": 3})
    assert home.aliases("gesture") == {"champion": 3}
    (tmp_path / "models" / "gesture" / "aliases.json").write_text("[1]")
    with pytest.raises(RegistryError, match="mien promote gesture"):
        home.aliases("gesture")


PLAIN = {
    *("config.py", "errors.py", "reporting/console.py"),
    *("storage/files.py", "storage/workspace.py"),
}
"""Modules under tasks that read, write and tell, but compute nothing."""


def test_what_a_task_computes_with_is_known() -> None:
    """A module that tasks begin to use is either one that computes or one that does not: else what
    was made with another state of it would not be made again."""
    source = ROOT / "src" / "mien"
    imported = set()
    for path in (source / "tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mien":
                parts = str(node.module).split(".")[1:]
                for name in ("/".join([*parts, each.name]) for each in node.names):
                    module = name if (source / f"{name}.py").is_file() else "/".join(parts)
                    imported.add(f"{module}.py")
    folders = {name for name in workspace.TASK_MODULES if (source / name).is_dir()}
    covered = {name.split("/")[0] if name.split("/")[0] in folders else name for name in imported}
    assert {*workspace.TASK_MODULES, *PLAIN} == covered
    dvc = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    assert {f"src/mien/{name}" for name in workspace.TASK_MODULES} <= set(
        dvc["stages"]["train"]["do"]["deps"]
    )
