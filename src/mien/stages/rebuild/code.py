"""The code that made a model: the present one if it is the same, else that of its commit."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mien
from mien.errors import MienError
from mien.model import lineage
from mien.model.lineage import CodeState

from .outcome import RebuildStep

_DESCRIBE_SCRIPT = (
    "import json; from mien.model import lineage; "
    "print(json.dumps([lineage.commit().model_dump(), lineage.environment()]))"
)
_ADVICE = (
    "Run this command with that code (a clone with that commit, `pip install mien==VERSION`), or "
    "rebuild the record with the present code by --present."
)


@dataclass(frozen=True)
class SourceTree:
    """A package `mien` that can be run."""

    source: Path
    """The folder that contains the package."""
    root: Path
    """The folder of its lock files."""


@dataclass(frozen=True)
class TreeDescription:
    """What a source tree records of itself."""

    code: CodeState
    environment: Mapping[str, str]


@contextmanager
def checkout(
    recorded: CodeState, folder: Path, present: bool
) -> Iterator[tuple[SourceTree | None, RebuildStep]]:
    """Provide the recorded code while the block runs; None if it is not available.

    Args:
        recorded: `code` of the lineage.
        folder: for a temporary work tree of its commit.
        present: use the present code, whatever is recorded.
    """
    now = lineage.commit()
    present_tree = SourceTree(Path(mien.__file__).resolve().parents[1], lineage.ROOT)
    name = f"mien {recorded.version} of {_short_name(recorded)}"
    if (recorded.sha256, recorded.version) == (now.sha256, now.version):
        text = f"the present code is that of {_short_name(recorded)}"
        yield present_tree, RebuildStep("code", "identical", text)
    elif present:
        text = f"the present code because of --present; recorded was {name}"
        yield present_tree, RebuildStep("code", "warning", text)
    elif reason := _why_unavailable(recorded):
        text = f"{name} is not the present code, and {reason} {_ADVICE}"
        yield None, RebuildStep("code", "different", text)
    else:
        with _work_tree(str(recorded.commit), folder) as root:
            tree = SourceTree(root / "src", root)
            yield tree, _check_tree(tree, recorded)


@cache
def describe(tree: SourceTree, python: Path) -> TreeDescription:
    """Return the code and package versions that this code records of itself.

    Raises:
        MienError: it cannot be run.
    """
    command = [str(python), "-c", _DESCRIBE_SCRIPT]
    environment = subprocess_env(tree, python)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        message = process.stderr.strip()[-400:]
        raise MienError(f"{tree.source} cannot be run by {python}: {message}")
    code, packages = json.loads(process.stdout)
    return TreeDescription(CodeState.model_validate(code), packages)


def subprocess_env(tree: SourceTree, python: Path) -> dict[str, str]:
    """Environment variables with which Python imports that code before any other."""
    inherited = os.environ.get("PYTHONPATH") if python == Path(sys.executable) else None
    path = os.pathsep.join([str(tree.source), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _why_unavailable(recorded: CodeState) -> str:
    """Why a commit cannot be taken from the repository; "" if it can."""
    commit = recorded.commit
    if not commit:
        return "it was not in a repository."
    if not (lineage.ROOT / ".git").exists() or lineage.git("rev-parse", "HEAD") is None:
        return "there is no repository here to check it out from."
    if lineage.git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return f"the repository in {lineage.ROOT} has no commit {commit} (`git fetch` may help)."
    return ""


def _check_tree(tree: SourceTree, recorded: CodeState) -> RebuildStep:
    if describe(tree, Path(sys.executable)).code.sha256 == recorded.sha256:
        return RebuildStep("code", "identical", f"a work tree of {_short_name(recorded)}")
    reason = (
        "it was run with uncommitted changes"
        if recorded.dirty
        else "the commit or the record was altered"
    )
    text = f"the tree of {_short_name(recorded)} is not the code that was run: {reason}. {_ADVICE}"
    return RebuildStep("code", "different", text)


@contextmanager
def _work_tree(commit: str, folder: Path) -> Iterator[Path]:
    # The repository's hooks must not run: `dvc install` adds some.
    add = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--force")
    try:
        if lineage.git(*add, str(folder), commit) is None:
            raise MienError(f"git cannot make a work tree of {commit} in {folder}.")
        yield folder
    finally:
        lineage.git("worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        lineage.git("worktree", "prune")


def _short_name(recorded: CodeState) -> str:
    commit = recorded.commit
    changed = " with changes" if recorded.dirty else ""
    return f"commit {commit[:12]}{changed}" if commit else "no commit"
