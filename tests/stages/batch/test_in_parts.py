"""`mien batch --out FOLDER`: any number of processes, every row once, the same bytes."""

import errno
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command_line import CommandLine
from project import ROOT
from waiting import PATIENCE

from mien import tasks
from mien.errors import ConfigError, DataError
from mien.model import bundle as bundles
from mien.stages import batch as stage
from mien.stages.batch import inputs, parts, scoring
from mien.stages.batch import plan as planning
from mien.stages.batch.inputs import BatchItem
from mien.stages.batch.plan import PLAN, Plan
from mien.stages.batch.result import BatchIdentity
from mien.storage.files import is_temporary, write_once

from .drawn import draw, kill, read, score

JSONL = ".jsonl"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts than jobs are read ahead."""
    monkeypatch.setattr(scoring, "BATCH_SIZE", 4)
    monkeypatch.setattr(planning, "PART_ROWS", 4)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """27 items in seven parts, some of them faulty, one without a name in UTF-8."""
    folder = tmp_path / "in"
    for number in range(24):
        draw(folder / f"{number % 2}/{number:02}.png", shade=number + 1)
    (folder / "0/bad.png").write_bytes(b"bad")
    (folder / "0/gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "0/00.png").rename(folder / "0" / os.fsdecode(b"\xff.png"))
    draw(folder / "last.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def part_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


def test_every_engine_writes_the_same_bytes(pictures: Path, tmp_path: Path, bundle: Path) -> None:
    """The parts in their order are the one table, and the folder holds nothing else."""
    score(pictures, tmp_path / "one.jsonl", bundle)
    local = score(pictures, tmp_path / "local", bundle, suffix=JSONL, threads=1)
    assert (local.rows, local.failed, local.missing_parts) == (27, 2, 0)
    for index in (2, 0, 1):
        shard = score(pictures, tmp_path / "shards", bundle, suffix=JSONL, shard=f"{index}/3")
        assert shard.rows == {0: 11, 1: 8, 2: 8}[index]
        others = {2: "parts are missing: 5. Run the other shards", 0: "parts are missing: 2."}
        assert others.get(index, "") in shard.summary
    expected = content(tmp_path / "local")
    assert content(tmp_path / "shards") == expected
    tables = [data for name, data in sorted(expected.items()) if name.startswith("part-")]
    assert len(tables) == 7
    assert b"".join(tables) == (tmp_path / "one.jsonl").read_bytes()
    again = score(pictures, tmp_path / "shards", bundle, suffix=JSONL)
    assert (again.already_complete, again.rows, again.failed) == (True, 27, 2)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_readers_of_a_folder_see_the_parts_only(
    pictures: Path, tmp_path: Path, bundle: Path, suffix: str
) -> None:
    """The plan and the commit do not disturb them, nor does an output inside of the source."""
    from pyarrow import dataset

    out = pictures / "out"
    score(pictures, out, bundle, suffix=suffix)
    column = "label" if suffix == ".parquet" else "digest"
    table = dataset.dataset(out, format=suffix[1:]).to_table(columns=["file", column])
    names = [row["file"] for row in read_lines(pictures, tmp_path, bundle)]
    assert table["file"].to_pylist() == names


def read_lines(pictures: Path, tmp_path: Path, bundle: Path) -> list[dict[str, object]]:
    (pictures / "out").rename(tmp_path / "moved")
    score(pictures, tmp_path / "r.jsonl", bundle)
    return read(tmp_path / "r.jsonl")


def test_one_engine_ends_what_another_began(pictures: Path, tmp_path: Path, bundle: Path) -> None:
    """What is there is not written again; what is missing is named until it is there."""
    out = tmp_path / "out"
    score(pictures, out, bundle, shard="1/2")
    first = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in part_files(out)}
    assert len(first) == 3
    with pytest.raises(DataError, match=r"expected 7 parts, 4 .* missing .*: 0, 2, 4, 6\."):
        stage.commit(out)
    result = score(pictures, out, bundle)
    assert (result.rows, result.resumed_rows) == (27, 12)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first} == first
    assert stage.commit(out).rows == 27
    with pytest.raises(DataError, match="no"):
        stage.commit(tmp_path / "in")


def test_another_model_or_source_is_refused(pictures: Path, tmp_path: Path, bundle: Path) -> None:
    """By every engine; --force begins again, except for a shard."""
    out = tmp_path / "out"
    score(pictures, out, bundle, shard="0/2")
    before = content(out)
    copy = tmp_path / "bundle"
    bundles.copy(bundle, copy)
    (copy / "bundle.json").write_bytes((copy / "bundle.json").read_bytes() + b"\n")
    with pytest.raises(ConfigError, match="another bundle"):
        score(pictures, out, copy)
    with pytest.raises(ConfigError, match=r"another --format: expected .csv, found .par"):
        score(pictures, out, bundle, suffix=".csv")
    with pytest.raises(ConfigError, match="--force would delete"):
        score(pictures, out, bundle, shard="1/2", force=True)
    draw(pictures / "0/14.png", shade=200)
    with pytest.raises(ConfigError, match="other files"):
        score(pictures, out, bundle)
    with pytest.raises(ConfigError, match=r"another version of 0/14.png: expected \d+ bytes"):
        score(pictures, out, bundle, shard="1/2")
    assert {name: content(out)[name] for name in before} == before
    assert score(pictures, out, bundle, force=True).rows == 27


def test_what_no_batch_wrote_is_left_alone(pictures: Path, tmp_path: Path, bundle: Path) -> None:
    """A folder with files of somebody else is refused."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not written by `mien batch`: it has notes.txt"):
        score(pictures, tmp_path / "mine", bundle)
    assert content(tmp_path / "mine") == {"notes.txt": b"mine"}


def test_force_deletes_only_what_a_batch_wrote(
    pictures: Path, tmp_path: Path, bundle: Path
) -> None:
    """Not the parts of another program: without a plan nothing, beside one no other name."""
    theirs = {"part-00000-9f3c-c000.parquet": b"theirs", "_SUCCESS.json": b"{}"}
    out = tmp_path / "theirs"
    out.mkdir()
    for name, text in theirs.items():
        (out / name).write_bytes(text)
    with pytest.raises(ConfigError, match="it has part-00000-9f3c-c000"):
        score(pictures, out, bundle, force=True)
    assert content(out) == theirs
    own = tmp_path / "own"
    score(pictures, own, bundle, shard="0/2")
    assert part_files(own)
    (own / "part-00000-9f3c-c000.parquet").write_bytes(b"theirs")
    parts.remove(own)
    assert content(own) == {"part-00000-9f3c-c000.parquet": b"theirs"}


def test_a_part_that_another_process_writes_just_now_stays(
    pictures: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the other one has tidied away the temporary file of this one."""
    score(pictures, tmp_path / "first", bundle)
    out, plan = tmp_path / "out", Plan.read(tmp_path / "first")
    assert plan
    (other,) = [path for path in part_files(tmp_path / "first") if "-000002-" in path.name]
    real_iterdir = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        there = list(real_iterdir(path))
        shutil.copy(other, out)
        return iter(there)

    score(pictures, out, bundle, shard="0/7")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", iterdir)
        assert parts.present(out, plan, range(7)).keys() == {0}
    assert (out / other.name).is_file()
    with write_once(out / other.name) as temporary:
        assert not temporary.exists()
    assert (out / other.name).read_bytes() == other.read_bytes()


def test_a_fault_of_the_disk_is_not_one_of_the_part(
    pictures: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part stays, and the batch ends with the error of the system."""
    out = tmp_path / "out"
    score(pictures, out, bundle, suffix=JSONL, shard="0/2")

    def fails(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(parts, "sha256_file", fails)
    with pytest.raises(OSError, match="Input/output"):
        score(pictures, out, bundle, suffix=JSONL, shard="0/2")
    assert len(part_files(out)) == 4


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_only_whole_parts_are_believed(
    pictures: Path, tmp_path: Path, bundle: Path, suffix: str
) -> None:
    """A part that was cut off is scored again, and a temporary one is removed."""
    expected, out = tmp_path / "expected", tmp_path / "out"
    score(pictures, expected, bundle, suffix=suffix)
    score(pictures, out, bundle, suffix=suffix, shard="0/2")
    cut = part_files(out)[1]
    cut.write_bytes(cut.read_bytes()[:-40])
    absent = part_files(expected)[1]
    (out / f".{absent.name}.0a1b2c3d").write_bytes(absent.read_bytes())
    with pytest.raises(DataError, match=r"4 of them are missing or damaged: 1, 2, 3, 5"):
        stage.commit(out)
    assert score(pictures, out, bundle, suffix=suffix).resumed_rows == 11
    assert content(out) == content(expected)
    assert not any(is_temporary(path.name) for path in out.rglob("*"))


def test_a_damaged_plan_or_result_says_so(pictures: Path, tmp_path: Path, bundle: Path) -> None:
    """Nothing is scored with it."""
    out = tmp_path / "out"
    score(pictures, out, bundle)
    part_files(out)[0].write_bytes(b"short")
    with pytest.raises(DataError, match="does not describe this folder"):
        score(pictures, out, bundle)
    text = (out / PLAN).read_text()
    (out / PLAN).write_text(text.replace('"rows": 4', '"rows": 5', 1))
    with pytest.raises(DataError, match="expected digest"):
        score(pictures, out, bundle)
    (out / PLAN).write_text(text[:100])
    with pytest.raises(DataError, match="cannot be read"):
        stage.commit(out)


def test_shards_share_a_table_of_landmarks(tmp_path: Path, hands: Path) -> None:
    """Each reads the CSV once and scores its own rows."""
    tasks.load("gesture").data.write_sample(tmp_path, 0)
    lines = next(tmp_path.rglob("*.csv")).read_text().splitlines()[:40]
    lines[2] = lines[2].replace(lines[2].split(",")[4], "tall", 1)
    (tmp_path / "hands.csv").write_text("\n".join(lines) + "\n")
    score(tmp_path / "hands.csv", tmp_path / "one.jsonl", hands)
    for shard in ("1/2", "0/2"):
        result = score(tmp_path / "hands.csv", tmp_path / "out", hands, suffix=JSONL, shard=shard)
        assert result.failed == (shard == "0/2")
    rows = b"".join(path.read_bytes() for path in part_files(tmp_path / "out"))
    assert rows == (tmp_path / "one.jsonl").read_bytes()


def test_the_environment_names_the_shard(
    pictures: Path, tmp_path: Path, bundle: Path, command_line: CommandLine
) -> None:
    """Of an Indexed Job and of Cloud Run. Failed rows fail the commit, but not a shard, which
    would be started again."""
    out = tmp_path / "out"
    command = ["batch", str(pictures), "--out", str(out), "--bundle", str(bundle)]
    command += ["--format", "csv", "--engine", "shard"]
    done = command_line(*command, home=tmp_path)
    assert "--shard: expected I/N" in done.stderr
    done = command_line(*command, home=tmp_path, JOB_COMPLETION_INDEX="0")
    assert "JOB_COMPLETION_INDEX/JOB_COMPLETION_COUNT: expected I/N" in done.stderr
    kubernetes = {"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETION_COUNT": "2"}
    done = command_line(*command, home=tmp_path, **kubernetes)
    assert (done.returncode, "2 failed" in done.stdout) == (0, True), done.stderr
    assert "shard 1/2" in done.stdout
    done = command_line("batch", "--commit", str(out), home=tmp_path)
    assert (done.returncode, "4 of them are missing" in done.stderr) == (1, True)
    cloud_run = {"CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_COUNT": "2"}
    assert command_line(*command, home=tmp_path, **cloud_run).returncode == 0
    done = command_line("batch", "--commit", str(out), home=tmp_path)
    assert (done.returncode, "27 rows; 2 failed" in done.stdout) == (1, True)
    done = command_line("batch", str(pictures), home=tmp_path)
    assert "expected SOURCE and --out, or --commit" in done.stderr


def test_the_job_of_kubernetes_writes_a_whole_result(
    pictures: Path, tmp_path: Path, served_home: Path, command_line: CommandLine
) -> None:
    """Its command with its environment, once for each index; the volumes are folders here."""
    text = (ROOT / "deploy/kubernetes/batch.yaml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    mounts = {each["mountPath"]: each.get("readOnly") for each in container["volumeMounts"]}
    assert mounts == {"/photos": True, "/results": None, "/tmp": None}
    (tmp_path / "results").mkdir()
    places = {"/photos": str(pictures), "/results/photos": str(tmp_path / "results/photos")}
    command = [places.get(word, word) for word in [*container["command"], *container["args"]]]
    environment = {each["name"]: each["value"] for each in container["env"]}
    for index in range(job["completions"]):
        environment["JOB_COMPLETION_INDEX"] = str(index)
        done = command_line(*command[1:], home=served_home, **environment)
        assert done.returncode == 0, done.stderr
    assert stage.commit(tmp_path / "results/photos").rows == 27
    assert "parts are missing" not in done.stdout


def test_engines_for_folders_write_no_single_table(
    pictures: Path, tmp_path: Path, bundle: Path
) -> None:
    """The message names the way out."""
    with pytest.raises(ConfigError, match=r"expected a folder, .* Give a name without a suffix"):
        score(pictures, tmp_path / "r.csv", bundle, shard="0/2")


def test_a_plan_of_many_files_needs_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the files, about the same peak."""
    monkeypatch.setattr(planning, "PART_ROWS", 512)
    peaks = []
    for count in (2_000, 20_000):

        def items(count: int = count) -> Iterator[BatchItem]:
            return (BatchItem(f"{number:09}", "1 2") for number in range(count))

        folder, identity = tmp_path / str(count), BatchIdentity("t", "1", "d", "", False)
        batch_input = inputs.counted(items, "file", tmp_path)
        tracemalloc.start()
        plan = Plan.make(folder, batch_input, tmp_path, identity=identity, suffix=JSONL)
        last = list(plan.names(folder, len(plan.parts) - 1))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert last[-1] == f"{count - 1:09}"
    assert peaks[1] < 1.5 * peaks[0], peaks


PROGRAM = """
import sys
from pathlib import Path
from mien.stages import batch
from mien.stages.batch import parts, plan, scoring
from mien.storage.workspace import Workspace
plan.PART_ROWS = scoring.BATCH_SIZE = 4
write = parts.write
def wait_and_write(*arguments):
    print("part", flush=True)
    sys.stdin.readline()
    return write(*arguments)
parts.write = wait_and_write
batch.batch(Path(sys.argv[1]), Path(sys.argv[2]), Workspace(Path()), bundle=Path(sys.argv[3]),
            threads=2, shard=sys.argv[4] or None)
"""
"""Before it writes a part, it prints a line and waits for one on its input, or for its end."""


@pytest.mark.long
def test_kill_9_loses_no_part_and_repeats_none(tmp_path: Path, bundle: Path) -> None:
    """Shards killed at random several times; a process without shards does the rest."""
    for number in range(120):
        draw(tmp_path / f"in/{number % 3}/{number:03}.png", shade=number, side=64)
    (tmp_path / "in/1/bad.jpg").write_bytes(b"\xff\xd8\xff")
    score(tmp_path / "in", tmp_path / "expected", bundle)
    out, rng = tmp_path / "out", random.Random(7)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "in"), str(out), str(bundle)]
    first: dict[Path, tuple[int, int]] = {}
    for turn in range(6):
        kill([*command, f"{turn % 2}/2"], rng.randint(1, 4), rng.uniform(0, 0.003))
        states = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in part_files(out)}
        assert {path: states[path] for path in first} == first
        first = states
    assert 6 <= len(first) < 31
    subprocess.run([*command, ""], cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=PATIENCE)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first} == first
    assert content(out) == content(tmp_path / "expected")
