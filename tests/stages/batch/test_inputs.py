"""What `mien batch` scores: folders, links, names, tables of landmarks, lists of files, videos."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import tasks
from mien.errors import ConfigError, DataError, RequestError
from mien.model import runtime
from mien.stages import batch as stage
from mien.stages.batch import inputs, scoring
from mien.task import Request

from .drawn import draw, read, score


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
    monkeypatch.setattr(scoring, "VIDEO_CHUNK_FRAMES", 5)
    out = tmp_path / "r.jsonl"
    score(tmp_path / "in", out, hands, threads=2, sequence=True)
    rows = read(out)
    assert [row["file"] for row in rows] == list(frames)
    with runtime.load(hands) as model:
        for index, (row, frame) in enumerate(zip(rows, frames.values(), strict=True)):
            if index in (0, 5, 7):  # the start of a folder or of a chunk
                predict_frame = stage.frame_predictor(task, model)
            best = predict_frame(Request(image=np.asarray(frame))).best
            assert best is not None
            assert (row["label"], row["confidence"]) == (best.label, best.confidence)
            assert tuple(row[f"box_{side}"] for side in ("x1", "y1", "x2", "y2")) == best.box
    with pytest.raises(ConfigError, match="another setting of --sequence"):
        score(tmp_path / "in", out, hands)
