"""`stages/rebuild/code.py` in a small repository with two commits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

SCRIPT = """
import json, sys
from pathlib import Path
from mien.model.lineage import CodeState
from mien.stages.rebuild import code
results = []
for recorded, present in json.loads(sys.argv[1]):
    folder = Path(sys.argv[2])
    with code.checkout(CodeState(**recorded), folder, present) as (tree, step):
        during = folder.is_dir()
        sha256 = code.describe(tree, Path(sys.executable)).code.sha256 if tree else None
    results.append([step.state, step.text, during, folder.is_dir(), sha256])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in a repository."""
    folder = tmp_path_factory.mktemp("repository")
    only = shutil.ignore_patterns("__pycache__", "static", ".*")
    shutil.copytree(ROOT / "src", folder / "src", ignore=only)
    git(folder, "init", "--quiet")
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.hooksPath=none")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def python(repository: Path, script: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def commit(repository: Path, remark: str) -> dict[str, Any]:
    """Change the code, commit it, and return what the lineage would record."""
    path = repository / "src" / "mien" / "errors.py"
    path.write_text(path.read_text() + f"# {remark}\n")
    (repository / ".gitignore").write_text("__pycache__\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", remark)
    script = "from mien.model import lineage; print(lineage.commit().model_dump_json())"
    recorded: dict[str, Any] = python(repository, script)
    assert (recorded["dirty"], len(recorded["commit"])) == (False, 40)
    return recorded


def test_the_recorded_code_is_provided_or_the_reason_is_given(
    repository: Path, tmp_path: Path
) -> None:
    """The present code if it is the same, committed or not; a temporary work tree of the commit;
    else one sentence with the reason. Other code is used only with --present."""
    old, now = commit(repository, "one"), commit(repository, "two")
    lost = {**old, "sha256": "0" * 64}
    cases: list[tuple[dict[str, Any], bool, str, str]] = [
        (now, False, "identical", "the present code is that of commit"),
        ({**now, "commit": None, "dirty": None}, False, "identical", "that of no commit"),
        (old, False, "identical", f"a work tree of commit {old['commit'][:12]}"),
        ({**old, "dirty": True}, False, "identical", "a work tree of"),
        ({**lost, "dirty": True}, False, "different", "uncommitted changes"),
        (lost, False, "different", "was altered"),
        ({**lost, "commit": "0" * 40}, False, "different", "has no commit 0000"),
        ({**lost, "commit": None}, False, "different", "it was not in a repository"),
        ({**lost, "commit": None}, True, "warning", "recorded was mien"),
    ]
    arguments = json.dumps([[recorded, present] for recorded, present, _, _ in cases])
    results = python(repository, SCRIPT, arguments, str(tmp_path / "tree"))
    for (recorded, _, state, text), case in zip(cases, results, strict=True):
        assert (case[0], text in case[1]) == (state, True), case[1]
        assert case[2] == ("tree of" in case[1]), "the work tree exists while it is used"
        assert not case[3], "and is deleted afterwards"
        if state == "identical":
            assert case[4] == recorded["sha256"]
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.long
def test_a_tree_is_dirty_if_anything_differs_or_git_fails(repository: Path) -> None:
    """A changed file, a new one even if the user's git hides it, and a broken index; but not
    dvc.lock, which a pipeline writes."""
    commit(repository, "clean")
    script = (
        "import json; from mien.model import lineage; print(json.dumps(lineage.commit().dirty))"
    )
    git(repository, "config", "status.showUntrackedFiles", "no")
    (repository / "dvc.lock").write_text("outs: []\n")
    assert python(repository, script) is False
    new = repository / "src" / "mien" / "new.py"
    new.write_text("A = 1\n")
    assert python(repository, script) is True
    new.unlink()
    changed = repository / "src" / "mien" / "errors.py"
    whole = changed.read_text()
    changed.write_text(whole + "# changed\n")
    assert python(repository, script) is True
    changed.write_text(whole)
    assert python(repository, script) is False
    (repository / ".git" / "index").write_bytes(b"damaged")
    assert python(repository, script) is True
