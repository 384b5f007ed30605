"""An inspection lists every hand with the split that `prepare` gives it, and records issues."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError
from mien.task import SPLITS, Inspection
from mien.tasks.gesture import data
from mien.tasks.gesture.checks import CHECKS
from mien.tasks.gesture.drawing import load_sample_picture
from mien.tasks.gesture.inspection import inspect
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.sample import landmark_rows
from mien.tasks.gesture.table import COLUMNS

PER_LABEL = 16
THIRDS = Params(val_fraction=0.3, test_fraction=0.3)
Table = list[dict[str, str]]


def rows(per_label: int = PER_LABEL, **more: Callable[[int], object]) -> Table:
    """Sample hands in pixels; `more` makes further columns from the row's number."""
    hands, labels = landmark_rows(per_label, 3)
    return [
        dict(zip(COLUMNS, map(str, hand.ravel().tolist()), strict=True))
        | {"label": label}
        | {column: str(make(number)) for column, make in more.items()}
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    ]


def write(table: Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def inspected(table: Table, home: Path, params: Params | None = None) -> Inspection:
    write(table, home / "raw" / "hands.csv")
    return inspect(home / "raw", params or Params(), home / "cache")


def prepared(home: Path, params: Params | None = None) -> dict[str, str]:
    """The split of each row by name, as the trainer gets it."""
    (home / "ready").mkdir(exist_ok=True)
    data.prepare(home / "raw", home / "ready", params or Params(), home / "cache")
    return {
        name: split for split in SPLITS for name in data.read_split(home / "ready", split).names
    }


def issues(found: Inspection) -> dict[str, tuple[str, ...]]:
    """Names by slug of the checks that found some."""
    return {slug: each.names for slug, each in found.issues.items() if each.names}


def divided(found: Inspection) -> dict[str, str]:
    return {each.name: each.split for each in found.samples if each.split}


def broken(table: Table) -> Table:
    """Every fault that a row can have and that `prepare` leaves out."""
    table[0]["x3"], table[1]["y4"], table[2]["z5"] = "abc", "", "inf"
    table[3]["label"] = ""
    table[4].update(dict.fromkeys(COLUMNS, "300"))
    return [*table, table[9]]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"user": lambda n: f"u{n % 23}"},
        {"split": lambda n: ("train", "train", "Valid", "testing")[n % 4]},
        {"split": lambda n: "test" if n % 5 == 0 else "train", "user": lambda n: n // 3},
    ],
    ids=["alone", "users", "split", "no val"],
)
def test_splits_are_those_of_the_prepared_data(
    tmp_path: Path, more: dict[str, Callable[[int], object]]
) -> None:
    """By name, whatever decides them, with rows in between that are left out."""
    found = inspected(broken(rows(**more)), tmp_path)
    assert divided(found) == prepared(tmp_path)
    assert len(divided(found)) == PER_LABEL * len(HAGRID_LABELS) + 1 - 5
    assert len(found.samples) == PER_LABEL * len(HAGRID_LABELS) + 1


def test_a_sample_contains_the_data_of_its_row(tmp_path: Path) -> None:
    """Label, person, features, and metadata that might leak the label."""
    table = rows(2, user=lambda n: f"u{n}", handedness=lambda _: "Left")
    sizes = [{**row, "width": "4000", "height": "3000"} for row in table]
    first = inspected(sizes, tmp_path).samples[0]
    assert (first.name, first.labels, first.person) == ("hands.csv:2", (table[0]["label"],), "u0")
    assert first.metadata == {"file": "hands.csv", "handedness": "Left", "picture": "4000x3000"}
    assert first.image_path is None
    assert first.values is not None
    points = np.array(first.values).reshape(21, 3)
    assert not points[0].any()
    assert (points[:, :2] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=1e-3)


def test_the_digest_is_that_of_the_numbers(tmp_path: Path) -> None:
    """Only copies have the same one, also under another label."""
    table = rows(4)
    found = inspected([*table, dict(table[5], label="rock")], tmp_path).samples
    assert found[5].digest == found[-1].digest
    assert len({each.digest for each in found}) == len(table)


def test_valid_rows_have_no_issues(tmp_path: Path) -> None:
    """Every check has its total."""
    found = inspected(rows(), tmp_path)
    assert issues(found) == {}
    assert list(found.issues) == [check.slug for check in CHECKS]
    assert found.issues["missing_values"].total == PER_LABEL * len(HAGRID_LABELS)


def test_invalid_rows_are_issues_and_not_an_error(tmp_path: Path) -> None:
    """Text, gaps, infinities, no label, coincident points, a misplaced one, a misspelt label."""
    table = broken(rows())
    table[7].update(x9="9000", y9="9000")
    table[8]["label"] = "peaace"
    faults = issues(inspected(table, tmp_path))
    assert faults["missing_values"] == tuple(f"hands.csv:{line}" for line in (2, 3, 4, 5))
    assert set(faults["impossible_hand"]) == {"hands.csv:6", "hands.csv:9"}
    assert faults["rare_label"] == ("hands.csv:10",)


def test_ignored_labels_are_no_samples(tmp_path: Path) -> None:
    """Ignored rows are not checked."""
    table = rows(2)
    table[0]["label"] = "no_gesture"
    found = inspected(table, tmp_path, Params(ignore_labels=("no_gesture",)))
    assert len(found.samples) == len(table) - 1
    assert found.labels == HAGRID_LABELS


def test_ambiguous_units_are_an_issue(tmp_path: Path) -> None:
    """Pixels divided by a hundred fit no convention; the param resolves it."""
    table = rows(4)
    for row in table:
        row.update({c: str(float(row[c]) / 300) for c in COLUMNS if c[0] != "z"})
    found = inspected(table, tmp_path)
    assert issues(found)["ambiguous_units"] == ("hands.csv",)
    assert found.issues["ambiguous_units"].total == 1
    assert divided(found) == {}
    params = Params(convention="pixels")
    assert issues(inspected(table, tmp_path, params)) == {}


def test_rows_of_another_unit_are_named(tmp_path: Path) -> None:
    """A few rows of another table; zeros stand for a hand that was missed, and have no unit."""
    table = rows(4)
    for row in table[:2]:
        row.update({c: str(float(row[c]) / 4000) for c in COLUMNS if c[0] != "z"})
    table[2].update(dict.fromkeys(COLUMNS, "0"))
    found = inspected(table, tmp_path)
    assert issues(found)["mixed_units"] == ("hands.csv:2", "hands.csv:3")
    assert issues(found)["missing_values"] == ("hands.csv:4",)
    assert len(divided(found)) == len(table) - 3


def test_fractions_without_picture_sizes_are_named(tmp_path: Path) -> None:
    """All rows without the columns, single ones with them, none with params.aspect_ratio."""
    table = rows(6)
    for row in table:
        row.update({c: str(float(row[c]) / 4000) for c in COLUMNS if c[0] != "z"})
    assert len(issues(inspected(table, tmp_path))["missing_image_size"]) == len(table)
    assert issues(inspected(table, tmp_path, Params(aspect_ratio=1.0))) == {}
    sized = [dict(row, width="4000", height="" if n < 3 else "4000") for n, row in enumerate(table)]
    found = inspected(sized, tmp_path)
    assert issues(found)["missing_image_size"] == ("hands.csv:2", "hands.csv:3", "hands.csv:4")
    assert divided(found) == prepared(tmp_path)


def test_landmarks_in_another_order_are_an_issue(tmp_path: Path) -> None:
    """A model of such a table would predict served hands at random."""
    table = rows(4)
    for row in table:
        cells = [row[column] for column in COLUMNS]
        row.update(zip(COLUMNS, cells[0::3] + cells[1::3] + cells[2::3], strict=True))
    assert issues(inspected(table, tmp_path))["landmark_order"] == ("hands.csv",)


def test_hands_unlike_all_others_are_named(tmp_path: Path) -> None:
    """A possible hand that differs from these data: its depth is inverted and shuffled."""
    table = rows(40)
    depths = [column for column in COLUMNS if column[0] == "z"]
    table[100].update({c: str(500 * (-1) ** place) for place, c in enumerate(depths)})
    found = inspected(table, tmp_path)
    assert "hands.csv:102" in issues(found)["outlier_hand"]
    assert len(issues(found)["outlier_hand"]) < 0.01 * len(table)


def test_unknown_splits_are_named(tmp_path: Path) -> None:
    """The other rows keep their splits."""
    table = rows(4, split=lambda n: "trian" if n == 7 else ("train", "val", "test")[n % 3])
    found = inspected(table, tmp_path)
    assert issues(found)["unknown_split"] == ("hands.csv:9",)
    assert len(divided(found)) == len(table) - 1


def test_a_table_without_depth_is_an_issue(tmp_path: Path) -> None:
    """Served hands have a depth."""
    table = rows(4)
    for row in table:
        row.update({column: "0" for column in COLUMNS if column[0] == "z"})
    found = inspected(table, tmp_path)
    assert issues(found) == {"missing_depth": ("hands.csv",)}
    assert not np.array(found.samples[0].values).reshape(21, 3)[:, 2].any()
    assert divided(found) == prepared(tmp_path)


def test_tables_with_the_same_file_name_get_unique_titles(tmp_path: Path) -> None:
    """A sample's name is unique, and is that of the prepared row."""
    write(rows(4), tmp_path / "raw" / "a" / "hands.csv")
    table = [dict(row, x1=str(float(row["x1"]) + 1)) for row in rows(4)]
    found = inspect_both(tmp_path, table)
    assert {each.name.partition(":")[0] for each in found.samples} == {"a/hands.csv", "b/hands.csv"}
    assert divided(found) == prepared(tmp_path)
    for folder in ("a", "b"):
        write(
            [dict(row, mien_row=f"r{n}") for n, row in enumerate(table)],
            tmp_path / "raw" / folder / "hands.csv",
        )
    found = inspect(tmp_path / "raw", Params(), tmp_path / "cache")
    assert len({each.name for each in found.samples}) == len(found.samples)
    assert divided(found) == prepared(tmp_path)


def inspect_both(home: Path, table: Table) -> Inspection:
    write(table, home / "raw" / "b" / "hands.csv")
    return inspect(home / "raw", Params(), home / "cache")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of the drawn hand, one of a wall, one that is no photo."""
    home = tmp_path_factory.mktemp("photos")
    for number in range(12):
        folder = home / "raw" / ("like", "fist", "palm")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (580, 512), (180, 180, 180))
        picture.paste(load_sample_picture(), (number * 5, 0))
        picture.save(folder / f"{number}.png")
    Image.new("RGB", (580, 512), (180, 180, 180)).save(home / "raw" / "like" / "wall.png")
    (home / "raw" / "fist" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    people = [
        "image,user",
        *(f"{('like', 'fist', 'palm')[n % 3]}/{n}.png,u{n // 2}" for n in range(12)),
    ]
    (home / "raw" / "photos.csv").write_text("\n".join(people) + "\n")
    return home


def test_photos_are_samples_with_numbers_and_a_picture(photos: Path) -> None:
    """With the users of a CSV; photos without a hand are named."""
    found = inspect(photos / "raw", THIRDS, photos / "cache")
    assert issues(found) == {
        "no_hand_detected": ("like/wall.png",),
        "unreadable": ("fist/broken.jpg",),
    }
    by_name = {each.name: each for each in found.samples}
    assert len(by_name) == 14
    first = by_name["like/0.png"]
    assert first.labels == ("like",)
    assert first.person == "u0"
    assert first.image_path == photos / "raw" / "like" / "0.png"
    assert first.values is not None
    assert first.metadata["type"] == "png"
    assert first.metadata["picture"] == "580x512"
    assert by_name["like/wall.png"].values is None
    assert divided(found) == prepared(photos, THIRDS)
    assert (
        len({split for name, split in divided(found).items() if by_name[name].person == "u0"}) == 1
    )


def test_the_data_report_counts_photos_without_a_hand(photos: Path) -> None:
    """And every other photo is a row."""
    (photos / "other").mkdir(exist_ok=True)
    report = data.prepare(photos / "raw", photos / "other", THIRDS, photos / "cache")
    assert report.skipped == {"no_hand_detected": 1, "unreadable": 1}
    assert sum(sum(each.values()) for each in report.counts.values()) == 12
    assert any("Hands were detected" in note for note in report.notes)


def test_labels_with_too_few_photos_are_refused_before_the_detection(tmp_path: Path) -> None:
    """HaGRID's no_gesture is left out."""
    for folder in ("like", "no_gesture", "thumbs"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        (tmp_path / "raw" / folder / "a.jpg").write_bytes(b"\xff\xd8\xff no photo")
    with pytest.raises(DataError, match=r"found 1 of 'like'; 1 of 'thumbs'"):
        prepared(tmp_path)
    found = inspect(tmp_path / "raw", Params(), tmp_path / "cache")
    assert issues(found)["rare_label"] == ("like/a.jpg", "thumbs/a.jpg")
    params = Params(ignore_labels=("no_gesture", "thumbs"))
    assert len(inspect(tmp_path / "raw", params, tmp_path / "cache").samples) == 1


def test_a_misspelled_label_to_ignore_is_refused(tmp_path: Path) -> None:
    """The labels that are ignored by default may be absent, all others must be in the source."""
    write(rows(4), tmp_path / "raw" / "hands.csv")
    params = Params(ignore_labels=("no_gesture", "plam"))
    message = r"no row has the label 'plam'. Did you mean 'palm'\?"
    with pytest.raises(DataError, match=message):
        inspect(tmp_path / "raw", params, tmp_path / "cache")
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, params=params)


def test_a_file_that_is_the_label_is_no_metadata(tmp_path: Path) -> None:
    """A model cannot be misled by the name of a file that gives the label."""
    for label in ("fist", "palm"):
        one = [{name: each[name] for name in COLUMNS} for each in rows(4) if each["label"] == label]
        write(one, tmp_path / "raw" / label / "session0.csv")
    found = inspect(tmp_path / "raw", Params(), tmp_path / "cache")
    assert {each.labels for each in found.samples} == {("fist",), ("palm",)}
    assert not any("file" in each.metadata for each in found.samples)


def test_pictures_of_something_else_are_refused(tmp_path: Path) -> None:
    """The folders of a data set of faces name no gesture."""
    (tmp_path / "raw" / "train" / "images").mkdir(parents=True)
    (tmp_path / "raw" / "train" / "images" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="no row has a label: expected one in each of 1 rows"):
        inspect(tmp_path / "raw", Params(), tmp_path / "cache")
    with pytest.raises(DataError, match="expected a label for each hand, found none"):
        prepared(tmp_path)


def test_annotations_are_samples(tmp_path: Path) -> None:
    """With people and without depth; hands without points are named."""
    hands, labels = landmark_rows(4, 0)
    document = {
        f"p{number}": {
            "bboxes": [[0, 0, 1, 1]] * 2,
            "labels": [label, "no_gesture"],
            "hand_landmarks": [(hand[:, :2] / 4000).tolist(), []],
            "user_id": f"u{number % 9}",
        }
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    }
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "all.json").write_text(json.dumps(document))
    params = Params(aspect_ratio=1.0, ignore_labels=("no_gesture",))
    found = inspect(tmp_path / "raw", params, tmp_path / "cache")
    assert issues(found) == {"missing_depth": ("all.json",)}
    assert found.samples[0].person == "u0"
    assert divided(found) == prepared(tmp_path, params)
    usual = inspect(tmp_path / "raw", Params(), tmp_path / "cache")
    assert issues(usual) == {"missing_depth": ("all.json",)}, "they need no params"


@pytest.mark.parametrize(
    ("file", "params"), [("iti", {}), ("photos", {}), ("crops12", {"aspect_ratio": 1.0})]
)
def test_real_tables_pass_their_checks(
    real_data: Path, tmp_path: Path, file: str, params: dict[str, float]
) -> None:
    """Nothing in them is beyond a limit."""
    (tmp_path / f"landmarks_{file}.csv").symlink_to(real_data / "gesture" / f"landmarks_{file}.csv")
    found = inspect(tmp_path, Params.model_validate(params), tmp_path / "cache")
    over = {
        check.slug: len(found.issues[check.slug].names)
        for check in CHECKS
        if len(found.issues[check.slug].names) > check.limit * found.issues[check.slug].total
    }
    assert over == {}
