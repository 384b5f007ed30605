"""An interrupted batch resumes, and a complete result is not changed."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from project import ROOT

from mien.errors import ConfigError
from mien.stages.batch.checkpoint import open_checkpoint
from mien.stages.batch.inputs import BatchItem
from mien.stages.batch.result import BatchIdentity

from .drawn import draw, kill, score


def test_a_complete_result_is_not_changed(tmp_path: Path, bundle: Path) -> None:
    """Neither scored again nor mixed with other files or another model, except with --force."""
    draw(tmp_path / "in/a.png")
    draw(tmp_path / "other/a.png")
    out = tmp_path / "r.csv"
    assert not score(tmp_path / "in", out, bundle).already_complete
    before = out.stat().st_mtime_ns
    assert score(tmp_path / "in", out, bundle).already_complete
    assert out.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another input"):
        score(tmp_path / "other", out, bundle)
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest))  # other bytes, so another digest
    with pytest.raises(ConfigError, match="another bundle"):
        score(tmp_path / "in", out, copy)
    draw(tmp_path / "in/b.png")
    with pytest.raises(ConfigError, match="other files"):
        score(tmp_path / "in", out, bundle)
    assert score(tmp_path / "in", out, bundle, force=True).rows == 2
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match="not written by `mien batch`"):
        score(tmp_path / "in", tmp_path / "mine.csv", bundle)
    assert (tmp_path / "mine.csv").read_text() == "a,b\n"


@pytest.mark.parametrize(("sequence", "resumed_rows"), [(True, 0), (False, 2)])
def test_all_frames_are_predicted_again_if_any_file_has_changed(
    tmp_path: Path, sequence: bool, resumed_rows: int
) -> None:
    """The result of a frame depends on those before it; that of a single image does not."""
    identity = BatchIdentity("t", "1", "digest", "folder", sequence)
    items = [BatchItem(name, "1 2") for name in "ab"]
    with open_checkpoint(tmp_path / "r.csv", identity, force=False) as first:
        first.resume(iter(items), "before")
        first.write(items, [{"error": None}] * 2)
    with open_checkpoint(tmp_path / "r.csv", identity, force=False) as second:
        more = iter([*items, BatchItem("c", "1 2")])
        assert second.resume(more, "after").rows == resumed_rows


PROGRAM = """
import sys
from pathlib import Path
from mien.stages import batch
from mien.stages.batch import one_table, scoring
from mien.stages.batch.checkpoint import BatchCheckpoint
from mien.storage.workspace import Workspace
one_table.PART_INTERVAL_S, scoring.BATCH_SIZE = 0.0, 3
write = BatchCheckpoint.write
def wait_and_write(*arguments):
    print("part", flush=True)
    sys.stdin.readline()
    write(*arguments)
BatchCheckpoint.write = wait_and_write
result = batch.batch(Path(sys.argv[1]), Path(sys.argv[2]), Workspace(Path()),
                     bundle=Path(sys.argv[3]), threads=2)
print(f"resumed {result.resumed_rows}")
"""
"""Three files per part; before it writes one, it prints a line and waits for one on its input, or
for the end of its input."""


@pytest.mark.long
def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path, bundle: Path) -> None:
    """Killed several times at random, the result has the bytes of one uninterrupted run."""
    for number in range(240):
        draw(tmp_path / f"in/{number % 3}/{number:03}.png", shade=number % 200, side=64)
    (tmp_path / "in/1/bad.jpg").write_bytes(b"\xff\xd8\xff")
    expected, out = tmp_path / "expected.parquet", tmp_path / "killed.parquet"
    score(tmp_path / "in", expected, bundle, threads=1)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "in"), str(out), str(bundle)]
    rng = random.Random(5)
    for _ in range(6):
        kill(command, rng.randint(1, 10), rng.uniform(0, 0.001))
    resumed = len(saved_rows(tmp_path / ".killed.parquet.checkpoint"))
    assert 0 < resumed < 241
    last = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert last.stdout.splitlines()[-1] == f"resumed {resumed}"
    assert out.read_bytes() == expected.read_bytes()
    assert not list(tmp_path.glob(".*checkpoint*"))


def saved_rows(checkpoint: Path) -> list[tuple[int, str]]:
    """Part and name of each row of a checkpoint."""
    with closing(sqlite3.connect(checkpoint)) as database:
        return database.execute("select part, name from rows order by rowid").fetchall()


@pytest.mark.parametrize("fault", ["changed file", "new file", "file gone"])
def test_parts_that_do_not_match_are_scored_again(tmp_path: Path, bundle: Path, fault: str) -> None:
    """Earlier parts are reused; the result is that of the present files."""
    for number in range(40):
        draw(tmp_path / f"in/{number:02}.png", shade=number + 1)
    out, expected = tmp_path / "r.jsonl", tmp_path / "expected.jsonl"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "in"), str(out), str(bundle)]
    kill(command, 3, 0.0)
    rows = saved_rows(tmp_path / ".r.jsonl.checkpoint")
    first, second = ([name for part, name in rows if part == number] for number in (1, 2))
    inside = tmp_path / "in" / second[0]
    if fault == "changed file":
        draw(inside, shade=200)
    elif fault == "new file":
        draw(inside.with_name(f"{inside.stem}a.png"), shade=200)
    else:
        inside.unlink()
    result = score(tmp_path / "in", out, bundle)
    assert result.resumed_rows == len(first)
    score(tmp_path / "in", expected, bundle)
    assert out.read_bytes() == expected.read_bytes()


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, bundle: Path) -> None:
    """It is not deleted silently."""
    draw(tmp_path / "in/a.png")
    (tmp_path / ".r.csv.checkpoint").write_bytes(b"half" * 300)
    with pytest.raises(ConfigError, match=r"r.csv.checkpoint is damaged .* Delete it"):
        score(tmp_path / "in", tmp_path / "r.csv", bundle)


def test_two_runs_never_write_one_result(tmp_path: Path, bundle: Path) -> None:
    """The second one is refused."""
    draw(tmp_path / "in/a.png")
    identity = BatchIdentity("emotion", "", "", "", False)
    with (
        open_checkpoint(tmp_path / "r.csv", identity, force=False),
        pytest.raises(ConfigError, match="is writing"),
    ):
        score(tmp_path / "in", tmp_path / "r.csv", bundle)
