"""Writes what a user starts from: a project of their own, or a task of their own."""

import re
import shutil
from pathlib import Path

import mien
from mien import tasks
from mien.errors import ConfigError
from mien.model.lineage import ROOT

TEMPLATES = Path(__file__).parent
_FILES = {
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "requirements.txt": "requirements.txt",
    "workflow.yml": ".github/workflows/mien.yml",
}
"""Files of `project/`, and where they go."""


def write_project(folder: Path) -> list[Path]:
    """Write a project: configs, README, .gitignore, requirements and a CI workflow.

    Returns the files.

    Raises:
        ConfigError: one of the files exists; then nothing is written.
    """
    shipped = [path for name, path in tasks.shipped_configs().items() if name in tasks.names()]
    contents = {folder / "configs" / path.name: path.read_text("utf-8") for path in shipped}
    for name, target in _FILES.items():
        text = (TEMPLATES / "project" / name).read_text(encoding="utf-8")
        contents[folder / target] = text.replace("VERSION", mien.__version__)
    if existing := [str(path) for path in contents if path.exists()]:
        raise ConfigError(
            f"expected a folder without {', '.join(existing)}. Name another folder, or move "
            "these files."
        )
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(contents)


def write_task(name: str, root: Path = ROOT) -> Path:
    """Write a small working task into the clone that mien runs from; return its folder.

    Raises:
        ConfigError: mien runs from no clone, the name is none, or there is such a task.
    """
    if not (root / "pyproject.toml").is_file():
        raise ConfigError(
            "A task is code of mien: expected a clone of its repository, found an installed "
            "package. Clone it, run `pip install -e '.[train]'` there, and then this command."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"NAME: expected lower-case letters, digits and _, as in hand_signs, found {name!r}."
        )
    folder = root / "src" / "mien" / "tasks" / name
    if folder.exists():
        raise ConfigError(f"There is a task {name!r} in {folder}. Choose another name.")
    shutil.copytree(TEMPLATES / "task", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "configs").mkdir()
    (folder / "configs" / f"{name}.yaml").write_text(f"task: {name}\nseed: 0\n")
    return folder
