"""The code that made a model: the present one where it is the same, else that of its commit."""

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
from typing import Any

import mien
from mien.errors import MienError
from mien.model import lineage

from .steps import Step

_ASKING = (
    "import json; from mien.model import lineage; "
    "print(json.dumps({'code': lineage.commit(), 'environment': lineage.environment()}))"
)
_INSTEAD = (
    "Run this where that code is (a clone with that commit, `pip install mien==VERSION`), or see "
    "with --present what the present code makes of the same record."
)


@dataclass(frozen=True)
class Code:
    """A package `mien` that can be run."""

    source: Path
    """The folder that holds the package."""
    root: Path
    """The folder of its lock files."""


@contextmanager
def checkout(
    recorded: Mapping[str, Any], folder: Path, present: bool
) -> Iterator[tuple[Code | None, Step]]:
    """Give the recorded code while the block runs, or None where it is not to be had.

    Args:
        recorded: `code` of the lineage.
        folder: where a work tree of its commit may be made; it is gone afterwards.
        present: take the present code whatever was recorded.
    """
    now = lineage.commit()
    here = Code(Path(mien.__file__).resolve().parents[1], lineage.ROOT)
    named = f"mien {recorded.get('version')} of {_short(recorded)}"
    if (recorded.get("sha256"), recorded.get("version")) == (now["sha256"], now["version"]):
        yield here, Step("code", "identical", f"the present code is that of {_short(recorded)}")
    elif present:
        yield here, Step("code", "warning", f"the present code, as asked; recorded was {named}")
    elif why := _unknown(recorded):
        yield (
            None,
            Step("code", "different", f"{named} is not the present code, and {why} {_INSTEAD}"),
        )
    else:
        with _work_tree(str(recorded["commit"]), folder) as tree:
            code = Code(tree / "src", tree)
            yield code, _checked(code, recorded)


def ask(code: Code, python: Path | None = None) -> dict[str, Any]:
    """What a code says of itself and of the packages beside it.

    Raises:
        MienError: it cannot be run.
    """
    return _ask(code, python or Path(sys.executable))


def subprocess_env(code: Code, python: Path) -> dict[str, str]:
    """The environment variables with which that code is found before any other."""
    given = os.environ.get("PYTHONPATH") if python == Path(sys.executable) else None
    path = os.pathsep.join([str(code.source), *([given] if given else [])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


@cache
def _ask(code: Code, python: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-c", _ASKING],
        env=subprocess_env(code, python),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MienError(f"{code.source} cannot be run by {python}: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _unknown(recorded: Mapping[str, Any]) -> str:
    """Why a commit cannot be taken from the repository; "" where it can."""
    commit = recorded.get("commit")
    if not commit:
        return "it was in no repository."
    if not (lineage.ROOT / ".git").exists() or lineage.git("rev-parse", "HEAD") is None:
        return "there is no repository here to take it from."
    if lineage.git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return f"the repository in {lineage.ROOT} has no commit {commit} (`git fetch` may help)."
    return ""


def _checked(code: Code, recorded: Mapping[str, Any]) -> Step:
    found = ask(code)["code"]["sha256"]
    if found == recorded.get("sha256"):
        return Step("code", "identical", f"a work tree of {_short(recorded)}")
    why = (
        "it was run with changes that this commit does not hold"
        if recorded.get("dirty")
        else "it was altered since"
    )
    text = f"the tree of {_short(recorded)} is not the code that was run: {why}. {_INSTEAD}"
    return Step("code", "different", text)


@contextmanager
def _work_tree(commit: str, folder: Path) -> Iterator[Path]:
    # Hooks of the repository are for those who work in it: `dvc install` leaves some there.
    add = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--force")
    try:
        if lineage.git(*add, str(folder), commit) is None:
            raise MienError(f"git cannot make a work tree of {commit} in {folder}.")
        yield folder
    finally:
        lineage.git("worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        lineage.git("worktree", "prune")


def _short(recorded: Mapping[str, Any]) -> str:
    commit = recorded.get("commit")
    changed = " with changes" if recorded.get("dirty") else ""
    return f"commit {commit[:12]}{changed}" if commit else "no commit"
