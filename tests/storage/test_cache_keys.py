"""Promises of `storage.cache_keys`: a change of what a result depends on changes its key."""

import ast

import pytest
import yaml
from project import ROOT

from mien.storage import cache_keys
from mien.storage.cache_keys import STAGE_SOURCES, TASK_SOURCES

SOURCE = ROOT / "src" / "mien"
WITHOUT_EFFECT = {
    *("config.py", "errors.py", "reporting/console.py", "observability/drift.py"),
    "observability/review/sample.py",
    *("storage/cache.py", "storage/cache_keys.py", "storage/files.py"),
}
"""Modules that tasks import to read, write and report, not to compute."""
DVC_STAGES = {"train": ("check", "prepare", "train"), "evaluate": ("evaluate",)}
"""Stages of mien in each stage of DVC."""


def test_a_key_changes_with_any_of_its_parts() -> None:
    """Equal inputs give equal keys, in any order of the names; other inputs give other keys."""
    key = cache_keys.cache_key("a", {"x": 1, "y": 2})
    assert key == cache_keys.cache_key("a", {"y": 2, "x": 1})
    others = [("a", {"x": 1, "y": 3}), ("b", {"x": 1, "y": 2}), ("a",)]
    assert key not in [cache_keys.cache_key(*parts) for parts in others]


def test_a_stage_key_depends_on_stage_task_and_inputs() -> None:
    """The code of another task or of another stage gives another key."""
    keys = {
        cache_keys.stage_key(stage, task, number)
        for stage in ("train", "optimize")
        for task in ("emotion", "gesture")
        for number in (1, 2)
    }
    assert len(keys) == 8
    assert cache_keys.stage_key("train", "gesture", 1) in keys


def test_a_source_hash_depends_on_content() -> None:
    """Two files have two hashes; that of a folder covers its files."""
    assert cache_keys.source_hash("boxes.py") != cache_keys.source_hash("config.py")
    assert len(cache_keys.source_hash("tasks")) == 64


@pytest.mark.parametrize("stage", STAGE_SOURCES)
def test_the_sources_of_a_stage_exist(stage: str) -> None:
    """A file that was moved is moved in the table, too."""
    assert [name for name in STAGE_SOURCES[stage] if not (SOURCE / name).exists()] == []


def test_the_sources_of_tasks_are_complete() -> None:
    """A module that tasks import either has an effect on results or is listed as one without."""
    folders = {name for name in TASK_SOURCES if (SOURCE / name).is_dir()}
    imported = set()
    for path in (SOURCE / "tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mien":
                parts = str(node.module).split(".")[1:]
                for name in ("/".join([*parts, each.name]) for each in node.names):
                    is_module = name in folders or (SOURCE / f"{name}.py").is_file()
                    imported.add(f"{name if is_module else '/'.join(parts)}.py")
    imported = {name.removesuffix(".py") if name[:-3] in folders else name for name in imported}
    covered = {name.split("/")[0] if name.split("/")[0] in folders else name for name in imported}
    assert {*TASK_SOURCES, *WITHOUT_EFFECT} == covered


@pytest.mark.parametrize("name", DVC_STAGES)
def test_dvc_knows_the_sources_of_each_stage(name: str) -> None:
    """`dvc repro` runs a stage again when its code changes."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    listed = pipeline[name]["do"]["deps"]
    sources = {source for stage in DVC_STAGES[name] for source in STAGE_SOURCES[stage]}
    wanted = {f"src/mien/{source}" for source in {*sources, *TASK_SOURCES}}
    folders = tuple(f"{path}/" for path in listed)
    assert [each for each in wanted if each not in listed and not each.startswith(folders)] == []


def test_the_files_that_dvc_watches_exist() -> None:
    """A dependency that was moved would stop every pipeline."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    listed = [each for stage in pipeline.values() for each in stage["do"]["deps"]]
    sources = [each for each in listed if each.startswith("src/") and "$" not in each]
    assert [each for each in sources if not (ROOT / each).exists()] == []
