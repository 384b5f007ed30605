"""`mien batch`: every file once, in order, despite interruptions and faulty files."""

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

from mien import images, tasks
from mien.errors import ConfigError, DataError
from mien.model import runtime
from mien.stages.batch import inputs, scoring
from mien.stages.batch.inputs import BatchItem

from .drawn import draw, read, score


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


def test_batching_does_not_change_results(
    few_samples: Callable[[str], Path], tmp_path: Path, bundle: Path
) -> None:
    """The network runs once for eight small files: each gets the result that it gets alone, except
    for the last digits of its scores."""
    task = tasks.load("emotion")
    faces = sorted(few_samples("emotion").rglob("*.png"))[:140:7]
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


def test_few_results_are_in_memory() -> None:
    """Only a few of many jobs are read ahead; results come in order."""
    started = 0

    def jobs() -> Iterator[list[BatchItem]]:
        nonlocal started
        for started in range(1, 5001):
            yield [BatchItem(str(started), "")]

    ahead = 0
    for number, (job, rows) in enumerate(
        scoring.map_in_order(jobs(), lambda job: [{"name": job[0].name}], threads=3), 1
    ):
        ahead = max(ahead, started - number)
        assert job[0].name == rows[0]["name"] == str(number)
    assert started == 5000
    assert ahead <= 3 * scoring.JOBS_PER_THREAD


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


def test_the_command_prints_a_summary(
    tmp_path: Path, bundle: Path, command_line: CommandLine
) -> None:
    """Exit status 1 if a file failed, as for `mien predict`; the table is written anyway."""
    draw(tmp_path / "in/a.png")
    arguments = ["batch", str(tmp_path / "in"), "--bundle", str(bundle), "--out"]
    done = command_line(*arguments, str(tmp_path / "good.csv"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 rows" in done.stdout
    (tmp_path / "in/b.png").write_bytes(b"bad")
    done = command_line(*arguments, str(tmp_path / "bad.csv"), home=tmp_path)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 3
    done = command_line("batch", str(tmp_path / "in"), "--out", "r.csv", home=tmp_path)
    assert "There is no champion" in done.stderr
