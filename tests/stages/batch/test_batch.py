"""`mien batch`: every file once, in order, despite interruptions and faulty files."""

import csv
import io
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import ROOT, mien
from waiting import PATIENCE

from mien import images, tasks
from mien.errors import ConfigError, DataError, RequestError
from mien.model import runtime
from mien.stages import batch as stage
from mien.stages.batch import inputs
from mien.stages.batch.checkpoint import BatchIdentity, open_checkpoint
from mien.stages.batch.inputs import BatchItem
from mien.storage.workspace import Workspace
from mien.task import Request


@pytest.fixture
def bundle(drawn_detector: Path) -> Path:
    """A bundle that takes pictures."""
    return drawn_detector


@pytest.fixture
def hands(fitted_gesture: Path) -> Path:
    """A bundle that takes landmarks and pictures."""
    return fitted_gesture


def draw(path: Path, shade: int = 90, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(shade).integers(0, shade + 1, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path, path.suffix[1:].replace("jpg", "jpeg"))


def score(source: Path, out: Path, bundle: Path | None, **options: Any) -> stage.BatchResult:
    workspace = options.pop("workspace", Workspace(out.parent))
    return stage.batch(source, out, workspace, bundle=bundle, **options)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_a_folder_is_scored_file_by_file(tmp_path: Path, bundle: Path) -> None:
    """Rows in the order of names, images recognised by content; faulty files have an error."""
    folder = tmp_path / "pictures"
    for name in ("b.png", "a.jpg", "sub/a.jpg", "sub/deep/a.jpg", ".hidden/a.jpg", "._a.jpg"):
        draw(folder / name)
    tasks.load("emotion").inference.sample_picture().convert("RGB").save(folder / "face.webp")
    (folder / "no_ending").write_bytes((folder / "b.png").read_bytes())
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:100])
    (folder / "page.png").write_text("<html>")
    (folder / "notes.txt").write_text("no picture, and does not claim to be one")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    out = folder / "results.jsonl"
    result = score(folder, out, bundle)
    rows = {row["file"]: row for row in read(out)}
    own = ["a.jpg", "b.png", "cut.jpg", "face.webp", "gone.png", "no_ending", "page.png"]
    assert list(rows) == [*own, "sub/a.jpg", "sub/deep/a.jpg"]
    faults = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert list(faults) == ["cut.jpg", "gone.png", "page.png"]
    assert (result.rows, result.failed, result.already_complete) == (9, 3, False)
    assert "cannot be read" in faults["gone.png"]
    with runtime.load(bundle) as model:
        task = tasks.load("emotion")
        expected = task.inference.predict(
            task.inference.read((folder / "face.webp").read_bytes()), model
        )
        face, best = rows["face.webp"], expected.best
        assert best is not None
        assert (face["label"], face["confidence"]) == (best.label, round(best.confidence, 6))
        assert face["outcome"] == expected.outcome
        scores = {label: round(score, 6) for label, score in best.scores.items()}
        assert {label: face[f"score_{label}"] for label in task.default_labels} == scores
        box = [face[f"box_{side}"] for side in ("x1", "y1", "x2", "y2")]
        assert box == best.as_json()["box"]
        assert face["model"] == "mien-emotion"
        assert face["digest"] == model.bundle.digest
    assert [path.name for path in folder.glob(".r*")] == [".results.jsonl.done"]


def test_batching_does_not_change_results(tmp_path: Path, bundle: Path) -> None:
    """The network runs once for eight small files: each gets the result that it gets alone, except
    for the last digits of its scores."""
    task = tasks.load("emotion")
    for seed in range(2):
        (tmp_path / f"drawn{seed}").mkdir()
        task.data.write_sample(tmp_path / f"drawn{seed}", seed)
    faces = sorted(tmp_path.glob("drawn*/**/*.png"))[::40][:20]
    for number, face in enumerate(faces):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number:02}.png").write_bytes(face.read_bytes())
    score(tmp_path / "in", tmp_path / "r.jsonl", bundle)
    rows = read(tmp_path / "r.jsonl")
    assert len(rows) == len(faces) == 20
    with runtime.load(bundle) as model:
        for row, face in zip(rows, faces, strict=True):
            single = task.inference.predict(task.inference.read(face.read_bytes()), model)
            best = single.best
            assert row["outcome"] == single.outcome
            assert row["label"] == (best.label if best else None)
            if best:
                scores = {label: row[f"score_{label}"] for label in task.default_labels}
                assert scores == pytest.approx(dict(best.scores), abs=1e-5)


def test_links_are_followed_except_into_a_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be listed gets a row with an error."""
    draw(tmp_path / "in/a/one.png")
    draw(tmp_path / "elsewhere/two.png")
    (tmp_path / "in/a/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/unreadable").mkdir()
    real_scandir = os.scandir

    def scandir(path: Path) -> Any:
        if path.name == "unreadable":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = list(inputs.list_images(tmp_path / "in"))
    assert [item.name for item in items] == ["a/one.png", "other/two.png", "unreadable/"]
    assert isinstance(items[2].body, RequestError)
    with pytest.raises(RequestError, match="Permission denied"):
        items[2].to_request(tasks.load("emotion"))


def test_a_name_that_is_not_utf_8_is_escaped(tmp_path: Path, bundle: Path) -> None:
    """In every format."""
    draw(tmp_path / "in/a.png")
    (tmp_path / "in/a.png").rename(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    for ending in ("jsonl", "csv", "parquet"):
        score(tmp_path / "in", tmp_path / f"r.{ending}", bundle)
    assert read(tmp_path / "r.jsonl")[0]["file"] == r"\xff.png"


def test_the_three_formats_contain_the_same(tmp_path: Path, bundle: Path) -> None:
    """Parquet has the model in its metadata, the others in columns; null stays null."""
    from pyarrow import parquet

    tasks.load("emotion").inference.sample_picture().convert("RGB").save(tmp_path / "face.png")
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "face.png").rename(folder / "face.png")
    (folder / "bad.png").write_bytes(b"bad")
    for ending in ("jsonl", "csv", "parquet"):
        score(folder, tmp_path / f"r.{ending}", bundle)
    lines = read(tmp_path / "r.jsonl")
    table = parquet.read_table(tmp_path / "r.parquet")
    model = {
        name: table.schema.metadata[f"mien.{name}".encode()].decode()
        for name in ("model", "version", "digest")
    }
    assert [{**row, **model} for row in table.to_pylist()] == lines
    with (tmp_path / "r.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row) for row in rows] == [list(line) for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}


def test_landmarks_of_a_table_are_scored_row_by_row(tmp_path: Path, hands: Path) -> None:
    """With the columns of the gesture task's tables; an invalid row gets an error."""
    task = tasks.load("gesture")
    task.data.write_sample(tmp_path, 0)
    table = next(tmp_path.rglob("*.csv"))
    lines = table.read_text().splitlines()[:40]
    lines[2] = lines[2].replace(lines[2].split(",")[4], "tall", 1)
    (tmp_path / "hands.csv").write_text("\n".join(lines) + "\n")
    result = score(tmp_path / "hands.csv", tmp_path / "r.jsonl", hands, threads=2)
    rows = read(tmp_path / "r.jsonl")
    assert [row["row"] for row in rows] == list(range(1, 40))
    assert (result.rows, result.failed) == (39, 1)
    assert "numbers of 21 points" in rows[1]["error"]
    column = lines[0].split(",").index("label")
    correct = [
        row["label"] == line.split(",")[column] for row, line in zip(rows, lines[1:], strict=True)
    ]
    assert np.mean(correct) > 0.8


def test_relative_landmarks_of_a_table_are_converted_to_pixels(tmp_path: Path) -> None:
    """That needs the width and height of the image; a table without them is refused."""
    read_table = tasks.load("gesture").inference.table_requests
    assert read_table is not None
    columns = [f"{axis}{point}" for point in range(1, 22) for axis in "xyz"]
    relative = np.random.default_rng(1).uniform(0.2, 0.8, (3, 63)).round(4)
    for extra, size in (([], []), (["width", "height"], [400, 300])):
        with (tmp_path / "t.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*columns, *extra])
            writer.writerows([[*row, *size] for row in relative])
        if not extra:
            with pytest.raises(DataError, match="width and height"):
                read_table(tmp_path / "t.csv")
    bodies = read_table(tmp_path / "t.csv")
    assert bodies is not None
    first: Any = next(bodies)
    assert first.landmarks[0] == pytest.approx(relative[0, :3] * (400, 300, 1))
    (tmp_path / "t.csv").write_text("file\na.png\n")
    assert read_table(tmp_path / "t.csv") is None


def test_a_csv_may_name_files(tmp_path: Path, bundle: Path) -> None:
    """Relative to its folder, in its order; a missing file gets a row with an error."""
    draw(tmp_path / "b.png")
    draw(tmp_path / "sub/a.png")
    (tmp_path / "list.csv").write_text("label,File\nx,sub/a.png\n,gone.png\n\nx,b.png\ny,\n")
    score(tmp_path / "list.csv", tmp_path / "r.jsonl", bundle)
    rows = read(tmp_path / "r.jsonl")
    assert [row["file"] for row in rows] == ["sub/a.png", "gone.png", "b.png", ""]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]


def test_the_images_of_a_folder_are_frames_of_one_video(
    tmp_path: Path, hands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predicted in the order of names, with the state of that folder only, in chunks."""
    task, frames = tasks.load("gesture"), {}
    hand = task.inference.sample_picture().convert("RGB")
    for folder, angles in (("a", range(0, 35, 5)), ("b", (33, 28, 23))):
        for number, angle in enumerate(angles):
            frames[f"{folder}/{number}.png"] = hand.rotate(angle, fillcolor=hand.getpixel((2, 2)))
    for name, frame in frames.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        frame.save(tmp_path / "in" / name)
    monkeypatch.setattr(stage, "VIDEO_CHUNK_FRAMES", 5)
    out = tmp_path / "r.jsonl"
    score(tmp_path / "in", out, hands, threads=2, sequence=True)
    rows = read(out)
    assert [row["file"] for row in rows] == list(frames)
    assert task.inference.video_predictor is not None
    with runtime.load(hands) as model:
        for index, (row, frame) in enumerate(zip(rows, frames.values(), strict=True)):
            if index in (0, 5, 7):  # the start of a folder or of a chunk
                predict_frame = task.inference.video_predictor(model)
            best = predict_frame(Request(image=np.asarray(frame))).best
            assert best is not None
            assert (row["label"], row["confidence"]) == (best.label, best.confidence)
            assert tuple(row[f"box_{side}"] for side in ("x1", "y1", "x2", "y2")) == best.box
    with pytest.raises(ConfigError, match="another setting of --sequence"):
        score(tmp_path / "in", out, hands)


def test_wrong_arguments_are_refused(tmp_path: Path, bundle: Path) -> None:
    """The message has the expectation and the cause; no file is left behind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.csv").write_text("name,age\nx,3\n")
    draw(tmp_path / "in/a.png")
    for source, out, message in (
        ("empty", "r.csv", "nothing to score"),
        ("absent", "r.csv", "expected a folder of images or a CSV"),
        ("odd.csv", "r.csv", "expected a column file, .*; found name, age"),
        ("in/a.png", "r.csv", "expected a folder or a CSV file in UTF-8"),
        ("in", "r.xlsx", "expected one of .parquet, .csv, .jsonl"),
        ("in", "no/r.csv", "existing folder"),
    ):
        with pytest.raises((DataError, ConfigError), match=message):
            score(tmp_path / source, tmp_path / out, bundle)
    assert not list(tmp_path.glob(".*"))


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
from mien.stages.batch.checkpoint import BatchCheckpoint
from mien.storage.workspace import Workspace
batch.PART_INTERVAL_S, batch.BATCH_SIZE = 0.0, 3
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


def kill(command: list[str], parts: int, seconds: float) -> None:
    """Let the program write `parts` parts, and kill it `seconds` after the next one starts."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin
        assert running.stdout
        patience = threading.Timer(PATIENCE, running.kill)
        patience.start()
        try:
            for _ in range(parts + 1):
                assert running.stdout.readline() == "part\n", "it ended, or hangs"
                running.stdin.write("\n")
                running.stdin.flush()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass  # a part is written in less time than a sleep takes
        finally:
            patience.cancel()
            running.kill()


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
    """It is not deleted without a word."""
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


def test_few_results_are_in_memory() -> None:
    """Only a few of many jobs are read ahead; results come in order."""
    started = 0

    def jobs() -> Iterator[list[BatchItem]]:
        nonlocal started
        for started in range(1, 5001):
            yield [BatchItem(str(started), "")]

    ahead = 0
    for number, (job, rows) in enumerate(
        stage.map_in_order(jobs(), lambda job: [{"name": job[0].name}], threads=3), 1
    ):
        ahead = max(ahead, started - number)
        assert job[0].name == rows[0]["name"] == str(number)
    assert started == 5000
    assert ahead <= 3 * stage.JOBS_PER_THREAD


def test_one_faulty_file_does_not_end_the_batch(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception of a library becomes the row's error; a too large file is not read."""
    draw(tmp_path / "in/a.png")
    draw(tmp_path / "in/b.png", side=200)
    (tmp_path / "in/c.png").write_bytes(b"")
    os.truncate(tmp_path / "in/c.png", int(inputs.MAX_FILE_MB * 1e6) + 1)
    real_open = images.Image.open

    def fails(stream: io.BytesIO, *rest: Any, **options: Any) -> Any:
        if len(stream.getvalue()) > 50_000:
            raise RuntimeError("codec")
        return real_open(stream, *rest, **options)

    monkeypatch.setattr(images.Image, "open", fails)
    result = score(tmp_path / "in", tmp_path / "r.jsonl", bundle)
    first, faulty, large = read(tmp_path / "r.jsonl")
    assert result.failed == 2
    assert first["error"] is None
    assert "RuntimeError: codec" in faulty["error"]
    assert "at most 200 MB" in large["error"]


def test_the_command_prints_a_summary(tmp_path: Path, bundle: Path) -> None:
    """Exit status 1 if a file failed, as for `mien predict`; the table is written anyway."""
    draw(tmp_path / "in/a.png")
    arguments = ["batch", str(tmp_path / "in"), "--bundle", str(bundle), "--out"]
    done = mien(*arguments, str(tmp_path / "good.csv"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 rows" in done.stdout
    (tmp_path / "in/b.png").write_bytes(b"bad")
    done = mien(*arguments, str(tmp_path / "bad.csv"), home=tmp_path)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 3
    done = mien("batch", str(tmp_path / "in"), "--out", "r.csv", home=tmp_path)
    assert "There is no champion" in done.stderr
