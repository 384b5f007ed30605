"""What a mended source is: the same hands but those left out, in exactly the splits of the plan."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError
from mien.task import SPLITS, Inspection, RepairPlan, Split
from mien.tasks.gesture import data
from mien.tasks.gesture.drawing import load_sample_picture
from mien.tasks.gesture.inspection import inspect
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.repair import repair
from mien.tasks.gesture.sample import landmark_rows
from mien.tasks.gesture.table import COLUMNS

Table = list[dict[str, str]]
SQUARE = Params(aspect_ratio=1.0, ignore_labels=("no_gesture",))


def rows(per_label: int = 8, seed: int = 3, **more: str) -> Table:
    hands, labels = landmark_rows(per_label, seed)
    return [
        {"image": f"{seed}-{number}.jpg"}
        | dict(zip(COLUMNS, map(str, hand.ravel().tolist()), strict=True))
        | {"label": label, "user": f"u{number % 31}", **more}
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    ]


def write(table: Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def read(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def inspected(home: Path, name: str = "raw", params: Params | None = None) -> Inspection:
    return inspect(home / name, params or Params(), home / "cache")


def mended(
    home: Path, plan: RepairPlan | None = None, params: Params | None = None
) -> tuple[str, ...]:
    return repair(
        home / "raw", home / "out", plan or RepairPlan(), params or Params(), home / "cache"
    )


def prepared(folder: Path, home: Path, params: Params | None = None) -> dict[str, str]:
    ready = home / f"ready-{folder.name}"
    ready.mkdir(exist_ok=True)
    data.prepare(folder, ready, params or Params(), home / "cache")
    return {name: split for split in SPLITS for name in data.read_split(ready, split).names}


def divided(found: Inspection) -> dict[str, Split]:
    return {each.name: each.split for each in found.samples if each.split}


def moves(before: Mapping[str, Split]) -> dict[str, Split]:
    """Some of train to test, some of test to train."""
    test = [name for name, split in before.items() if split == "test"][:3]
    train = [name for name, split in before.items() if split == "train"][:4]
    return {**dict.fromkeys(test, "train"), **dict.fromkeys(train, "test")}


def test_an_empty_plan_changes_no_hand(tmp_path: Path) -> None:
    """The computed splits become a column; the numbers keep their text."""
    table = rows()
    write(table, tmp_path / "raw" / "hands.csv")
    before = divided(inspected(tmp_path))
    assert mended(tmp_path) == ()
    out = read(tmp_path / "out" / "hands.csv")
    assert [{key: row[key] for key in table[0]} for row in out] == table
    assert {row["mien_row"]: row["split"] for row in out} == before
    assert list(out[0]) == [*table[0], "split", "mien_row"]


def test_the_plan_is_applied(tmp_path: Path) -> None:
    """Moved rows are in the other split, dropped ones are removed, all others stay."""
    write(rows(), tmp_path / "raw" / "a" / "hands.csv")
    write(rows(4, 5), tmp_path / "raw" / "b" / "hands.csv")
    (tmp_path / "raw" / "LICENCE").write_text("share alike")
    before = divided(inspected(tmp_path))
    move = moves(before)
    drop = frozenset(list(before)[10:15])
    mended(tmp_path, RepairPlan(drop, move))
    expected = {name: move.get(name, split) for name, split in before.items() if name not in drop}
    assert prepared(tmp_path / "out", tmp_path) == expected
    assert divided(inspected(tmp_path, "out")) == expected
    assert (tmp_path / "out" / "LICENCE").read_text() == "share alike"


def test_a_repaired_source_can_be_repaired_again(tmp_path: Path) -> None:
    """Names stay, so that versions can be compared, and an existing column is not overwritten."""
    write(rows(split="train"), tmp_path / "raw" / "hands.csv")
    before = divided(inspected(tmp_path))
    first = next(iter(before))
    mended(tmp_path, RepairPlan(frozenset({first})))
    again = divided(inspected(tmp_path, "out"))
    assert again == {name: split for name, split in before.items() if name != first}
    (tmp_path / "raw").rename(tmp_path / "old")
    (tmp_path / "out").rename(tmp_path / "raw")
    mended(tmp_path, RepairPlan(move={list(again)[5]: "test"}))
    assert divided(inspected(tmp_path, "out")) == again | {list(again)[5]: "test"}
    assert list(read(tmp_path / "out" / "hands.csv")[0]).count("split") == 1


def faulty(table: Table) -> Table:
    table[0]["x3"] = "abc"
    table[1]["label"] = ""
    table[2].update(dict.fromkeys(COLUMNS, "300"))
    table[3].update(x9="9000", y9="9000")
    return table


def test_unusable_rows_are_removed_and_reported(tmp_path: Path) -> None:
    """Rows that no model can learn from."""
    write(faulty(rows()), tmp_path / "raw" / "hands.csv")
    messages = mended(tmp_path)
    assert messages == (
        "2 rows without 63 numbers or without a label left out",
        "2 rows that are impossible hands left out",
    )
    assert not any(each.names for each in inspected(tmp_path, "out").issues.values())
    assert len(read(tmp_path / "out" / "hands.csv")) == 8 * len(HAGRID_LABELS) - 4


def test_without_repair_only_the_plan_is_applied(tmp_path: Path) -> None:
    """Invalid rows stay, in some split."""
    write(faulty(rows()), tmp_path / "raw" / "hands.csv")
    before = divided(inspected(tmp_path))
    assert mended(tmp_path, RepairPlan(repair=False)) == ()
    out = read(tmp_path / "out" / "hands.csv")
    assert len(out) == 8 * len(HAGRID_LABELS)
    assert {row["split"] for row in out} == set(SPLITS)
    assert prepared(tmp_path / "out", tmp_path) == before


def test_rows_of_another_unit_are_removed(tmp_path: Path) -> None:
    """The rest can be prepared, which the table could not."""
    table = rows()
    table[5].update({c: str(float(table[5][c]) / 4000) for c in COLUMNS if c[0] != "z"})
    write(table, tmp_path / "raw" / "hands.csv")
    with pytest.raises(DataError, match="convention"):
        prepared(tmp_path / "raw", tmp_path)
    (message,) = mended(tmp_path)
    assert message.startswith("1 row in another unit")
    assert prepared(tmp_path / "out", tmp_path) == divided(inspected(tmp_path))


def test_a_row_with_an_unknown_label_gets_the_split_of_its_person(tmp_path: Path) -> None:
    """A later correction of the label must not put a person into two splits."""
    table = [dict(row, label="Peace" if n < 31 else row["label"]) for n, row in enumerate(rows())]
    write(table, tmp_path / "raw" / "hands.csv")
    people = {each.person: each.split for each in inspected(tmp_path).samples if each.split}
    assert set(people.values()) == set(SPLITS)
    mended(tmp_path)
    written = read(tmp_path / "out" / "hands.csv")
    assert [row["split"] for row in written] == [people[row["user"]] for row in table]


def test_a_row_with_a_split_keeps_it(tmp_path: Path) -> None:
    """Also one with an unknown label."""
    table = [dict(row, split=("train", "val", "test")[n % 3]) for n, row in enumerate(rows())]
    table[4]["label"] = "Peace"
    table[5]["split"] = "tset"
    write(table, tmp_path / "raw" / "hands.csv")
    mended(tmp_path)
    written = [row["split"] for row in read(tmp_path / "out" / "hands.csv")]
    assert written[:6] == ["train", "val", "test", "train", "val", written[5]]
    assert written[5] in SPLITS


def test_removing_everything_is_an_error(tmp_path: Path) -> None:
    """An empty version of the data would only fail later."""
    write(rows(1), tmp_path / "raw" / "hands.csv")
    every = frozenset(each.name for each in inspected(tmp_path).samples)
    with pytest.raises(DataError, match="nothing would be left"):
        mended(tmp_path, RepairPlan(every))


def test_a_table_without_remaining_rows_is_not_written(tmp_path: Path) -> None:
    """The others are."""
    write(rows(), tmp_path / "raw" / "a.csv")
    write(rows(1, 9), tmp_path / "raw" / "b.csv")
    names = [each.name for each in inspected(tmp_path).samples]
    mended(tmp_path, RepairPlan(frozenset(name for name in names if name.startswith("b.csv"))))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.csv"]
    assert len(prepared(tmp_path / "out", tmp_path)) == 8 * len(HAGRID_LABELS)


def draw(folder: Path) -> None:
    """Twelve photos of the drawn hand, and one of a wall."""
    for number in range(12):
        path = folder / ("like", "fist", "palm")[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (580, 512), (180, 180, 180))
        picture.paste(load_sample_picture(), (number * 5, 0))
        picture.save(path)
    Image.new("RGB", (580, 512), (180, 180, 180)).save(folder / "like" / "wall.png")


def test_photos_keep_their_bytes_and_get_a_list_of_splits(tmp_path: Path) -> None:
    """The photo without a hand is removed; `splits.csv` lists every photo that stays."""
    draw(tmp_path / "raw" / "set")
    before = divided(inspected(tmp_path))
    drop, move = frozenset({"fist/1.png"}), {"like/0.png": "test", "palm/2.png": "val"}
    plan = RepairPlan(drop, {name: split for name, split in move.items() if split in SPLITS})  # type: ignore[misc]
    assert mended(tmp_path, plan) == ("1 row without a detected hand left out",)
    expected = {name: move.get(name, split) for name, split in before.items() if name not in drop}
    assert {row["name"]: row["split"] for row in read(tmp_path / "out" / "splits.csv")} == expected
    assert prepared(tmp_path / "out", tmp_path) == expected
    assert divided(inspected(tmp_path, "out")) == expected
    for name in expected:
        source, target = (tmp_path / place / name for place in ("raw/set", "out"))
        assert source.read_bytes() == target.read_bytes()
    assert not (tmp_path / "out" / "like" / "wall.png").exists()


def test_annotations_keep_their_bytes_and_get_a_list_of_splits(tmp_path: Path) -> None:
    """Hands are excluded by the word `none`, also after a second repair."""
    hands, labels = landmark_rows(6, 0)
    document = {
        f"p{number}": {
            "bboxes": [[0, 0, 1, 1]],
            "labels": [label],
            "hand_landmarks": [(hand[:, :2] / 4000).tolist()],
        }
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    }
    (tmp_path / "raw").mkdir()
    source = tmp_path / "raw" / "all.json"
    source.write_text(json.dumps(document))
    before = divided(inspected(tmp_path, params=SQUARE))
    move, drop = moves(before), frozenset({"all.json:p7:1", "all.json:p9:1"})
    mended(tmp_path, RepairPlan(drop, move), SQUARE)
    assert (tmp_path / "out" / "all.json").read_bytes() == source.read_bytes()
    expected = {name: move.get(name, split) for name, split in before.items() if name not in drop}
    assert prepared(tmp_path / "out", tmp_path, SQUARE) == expected
    (tmp_path / "raw").rename(tmp_path / "old")
    (tmp_path / "out").rename(tmp_path / "raw")
    mended(tmp_path, RepairPlan(frozenset({"all.json:p20:1"})), SQUARE)
    del expected["all.json:p20:1"]
    assert divided(inspected(tmp_path, "out", SQUARE)) == expected
    assert len(read(tmp_path / "out" / "splits.csv")) == len(labels)


def test_labels_of_annotations_are_not_rewritten(tmp_path: Path) -> None:
    """The message says so, instead of a version without the corrections."""
    hands, _ = landmark_rows(1, 0)
    document = {"p": {"bboxes": [[0, 0, 1, 1]], "labels": ["like"]}}
    document["p"]["hand_landmarks"] = [(hands[0][:, :2] / 4000).tolist()]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "all.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="the labels of annotations"):
        mended(tmp_path, RepairPlan(relabel={"all.json:p:1": "fist"}, repair=False), SQUARE)


def test_a_photo_moves_to_the_folder_of_its_new_label(tmp_path: Path) -> None:
    """Its bytes and its split stay, and no photo of that folder is replaced."""
    draw(tmp_path / "raw")
    before = divided(inspected(tmp_path))
    mended(tmp_path, RepairPlan(relabel={"like/0.png": "fist"}, repair=False))
    moved = (tmp_path / "out" / "fist").glob("0*.png")
    source = (tmp_path / "raw" / "like" / "0.png").read_bytes()
    name = next(path.name for path in moved if path.read_bytes() == source)
    after = divided(inspected(tmp_path, "out"))
    assert after == {
        (f"fist/{name}" if each == "like/0.png" else each): split for each, split in before.items()
    }


def test_a_photo_that_the_list_does_not_name_is_an_error(tmp_path: Path) -> None:
    """Photos that are added to a repaired folder need a split."""
    draw(tmp_path / "raw")
    mended(tmp_path)
    (tmp_path / "out" / "like" / "new.png").write_bytes(
        (tmp_path / "raw" / "like" / "0.png").read_bytes()
    )
    with pytest.raises(DataError, match=r"like/new\.png: split: expected train"):
        prepared(tmp_path / "out", tmp_path)
    assert inspected(tmp_path, "out").issues["unknown_split"].names == ("like/new.png",)


def test_numbers_of_classes_become_names_where_a_label_is_corrected(tmp_path: Path) -> None:
    """A name among numbers would be a class of its own."""
    table = rows(2)
    names = sorted({row["label"] for row in table})
    for row in table:
        row["label"] = str(names.index(row["label"]))
    write(table, tmp_path / "raw" / "hands.csv")
    (tmp_path / "raw" / "labels.csv").write_text("\n".join(names) + "\n", encoding="utf-8")
    before = inspected(tmp_path).samples
    mended(tmp_path, RepairPlan(relabel={"hands.csv:2": names[5]}, repair=False))
    after = inspected(tmp_path, "out").samples
    assert after[0].labels == (names[5],)
    assert [each.labels for each in after[1:]] == [each.labels for each in before[1:]]


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    """Their text is copied, not formatted again."""
    table = rows(2)
    table[0]["x1"] = "3.07000e+02"
    write(table, tmp_path / "raw" / "hands.csv")
    mended(tmp_path)
    assert read(tmp_path / "out" / "hands.csv")[0]["x1"] == "3.07000e+02"
    one, other = (
        np.array(sorted(each.digest for each in inspected(tmp_path, name).samples))
        for name in ("raw", "out")
    )
    assert (one == other).all()
