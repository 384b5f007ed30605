"""The notebook teaches what is true: its cells run, and its stored outputs are of these cells."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from waiting import TRAINING_PATIENCE

NOTEBOOK = ROOT / "notebooks" / "tour.ipynb"


def code_cells(path: Path) -> list[dict[str, Any]]:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def kinds(path: Path) -> dict[str, list[str]]:
    """What each cell puts out, by the cell's name."""
    return {
        cell["id"]: sorted(kind for each in cell["outputs"] for kind in each.get("data", ["text"]))
        for cell in code_cells(path)
    }


def test_the_notebook_is_stored_with_its_outputs() -> None:
    """Every cell has run, in order and without an error; nothing names the machine that ran it."""
    cells = code_cells(NOTEBOOK)
    names = [cell["id"] for cell in cells]
    assert len(names) == len(set(names)) > 10
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [each for cell in cells for each in cell["outputs"]]
    assert "error" not in {each["output_type"] for each in outputs}
    assert sum("image/png" in each.get("data", {}) for each in outputs) >= 4
    for text in ("/tmp", str(Path.home()), str(ROOT)):
        assert text not in json.dumps(outputs)


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path) -> None:
    """From an empty folder to the answer of a server; the outputs are of the stored kinds."""
    copy = Path(shutil.copy(NOTEBOOK, tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "bench.notebook", str(copy)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TRAINING_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert kinds(copy) == kinds(NOTEBOOK)
    printed = {cell["id"]: json.dumps(cell["outputs"]) for cell in code_cells(copy)}
    assert "svm" in printed["fit"]
    assert "version 1 is champion" in printed["register"]
    assert "status: ok" in printed["request"]
    assert not list(tmp_path.glob("mien-lesson-*")), "its workspace is removed"
