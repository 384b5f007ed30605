"""From CSV tables to prepared splits: errors, skipped rows and notes."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError
from mien.observability.drift import NO_LABEL
from mien.storage.files import sha256_file
from mien.task import SPLITS, DataReport
from mien.tasks.gesture import data
from mien.tasks.gesture.data import examples, prepare, read_labels, read_split
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.sample import landmark_rows
from mien.tasks.gesture.table import COLUMNS, select_rows

PER_LABEL = 20
Table = list[dict[str, str]]


def rows(**more: Callable[[int], object]) -> Table:
    """Rows of the sample hands in pixels; `more` makes further columns from the row's number."""
    hands, labels = landmark_rows(PER_LABEL, 3)
    table = []
    for number, (hand, label) in enumerate(zip(hands, labels, strict=True)):
        cells = dict(zip(COLUMNS, map(str, hand.ravel().tolist()), strict=True))
        table.append({**cells, "label": label} | {k: str(f(number)) for k, f in more.items()})
    return table


def write(table: Table, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def prepared(table: Table, home: Path, params: Params | None = None) -> DataReport:
    """Prepare one table in `home`, into `home`/ready."""
    write(table, home / "raw" / "hands.csv")
    (home / "ready").mkdir(exist_ok=True)
    return prepare(home / "raw", home / "ready", params or Params(), home / "cache")


def splits_of(ready: Path) -> dict[bytes, str]:
    return {
        hand.tobytes(): split for split in SPLITS for hand in read_split(ready, split).landmarks
    }


def test_notes_that_differ_in_numbers_are_one() -> None:
    """Twelve tables do not print twelve lines; another text stays a line of its own."""
    notes = [f"{name}.csv: pixels (227 to {size})." for name, size in (("a", 300), ("b", 718))]
    grouped = data.group_notes([*notes, "c.csv: relative."])
    assert grouped == ["2 tables, such as a.csv: pixels (227 to 300).", "c.csv: relative."]


def test_examples_are_the_rows_in_the_configured_fractions(tmp_path: Path) -> None:
    """Nothing is lost between the source and the examples, and every label is in every split."""
    table = rows()
    report = prepared(table, tmp_path)
    assert {
        label: sum(report.counts[s][label] for s in SPLITS) for label in HAGRID_LABELS
    } == dict.fromkeys(HAGRID_LABELS, PER_LABEL)
    assert {split: set(report.counts[split].values()) for split in SPLITS} == {
        "train": {14},
        "val": {3},
        "test": {3},
    }
    given = Counter((tuple(float(row[c]) for c in COLUMNS), row["label"]) for row in table)
    found = Counter(
        (tuple(np.ravel(example.request.body.landmarks).tolist()), example.label)  # type: ignore[union-attr]
        for split in SPLITS
        for example in examples(tmp_path / "ready", split)
    )
    assert found == given
    assert report.skipped == {}
    assert "pixels" in report.notes[0]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    """Preparation is deterministic."""
    for home in ("one", "two"):
        (tmp_path / home).mkdir()
        prepared(rows(), tmp_path / home)
    for split in SPLITS:
        files = [tmp_path / home / "ready" / f"{split}.csv" for home in ("one", "two")]
        assert sha256_file(files[0]) == sha256_file(files[1])


def test_the_order_of_rows_does_not_change_their_split(tmp_path: Path) -> None:
    """A sorted and a shuffled copy of a table get the same splits."""
    table = rows()
    shuffled = [table[place] for place in np.random.default_rng(0).permutation(len(table))]
    for home, each in (("one", table), ("two", shuffled)):
        (tmp_path / home).mkdir()
        prepared(each, tmp_path / home)
    assert splits_of(tmp_path / "one" / "ready") == splits_of(tmp_path / "two" / "ready")


def test_nobody_is_in_two_splits(tmp_path: Path) -> None:
    """Rows that name a user stay together, and the splits keep their fractions."""
    report = prepared(rows(user=lambda n: f"u{n % 40}"), tmp_path)
    users = [set(read_split(tmp_path / "ready", split).users) for split in SPLITS]
    assert sum(map(len, users)) == len(set.union(*users)) == 40
    total = PER_LABEL * len(HAGRID_LABELS)
    assert sum(report.counts["train"].values()) == pytest.approx(0.7 * total, rel=0.1)
    assert any("by user" in note for note in report.notes)


def test_a_split_column_is_used(tmp_path: Path) -> None:
    """Under any of the usual names of splits."""
    words = ("train", "train", "valid", "Test")
    table = rows(split=lambda n: words[n % 4], user=lambda n: n // 4)
    report = prepared(table, tmp_path)
    assert [sum(report.counts[split].values()) for split in SPLITS] == [180, 90, 90]


def test_the_splits_of_the_source_can_be_left_out(tmp_path: Path) -> None:
    """With words that are no splits among them; all rows are divided as without the column."""
    prepared(rows(user=lambda n: n // 4), tmp_path)
    divided = splits_of(tmp_path / "ready")
    table = rows(split=lambda n: "extra" if n == 7 else "train", user=lambda n: n // 4)
    with pytest.raises(DataError, match=r"--set params\.splits=drawn"):
        prepared(table, tmp_path)
    prepared(table, tmp_path, Params(splits="drawn"))
    assert splits_of(tmp_path / "ready") == divided


def test_a_split_that_the_source_leaves_out_is_taken_from_train(tmp_path: Path) -> None:
    """Many sets have train and test only; the test rows stay as they are, and a note says so."""
    report = prepared(rows(split=lambda n: "test" if n % 5 == 0 else "train"), tmp_path)
    assert sum(report.counts["test"].values()) == 72
    assert sum(report.counts["val"].values()) > 0
    assert any("no row to val" in note for note in report.notes)


@pytest.mark.parametrize(("word", "message"), [("trian", "Did you mean 'train'"), ("", "found ''")])
def test_a_split_column_must_be_complete(tmp_path: Path, word: str, message: str) -> None:
    """A typo must not move rows to another split."""
    with pytest.raises(DataError, match=message):
        prepared(rows(split=lambda n: word if n == 7 else "train"), tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """62 of 63 columns is no table of landmarks."""
    table = rows()
    for row in table:
        del row["y17"]
    with pytest.raises(DataError, match=r"found 62 of the 63, missing: y17"):
        prepared(table, tmp_path)


def test_a_duplicate_column_is_refused(tmp_path: Path) -> None:
    """It is ambiguous which of the two is meant."""
    path = tmp_path / "raw" / "hands.csv"
    write(rows(), path)
    path.write_text(path.read_text(encoding="utf-8").replace("z2,", "z1,", 1), encoding="utf-8")
    with pytest.raises(DataError, match="missing: z2"):
        prepare(tmp_path / "raw", tmp_path, Params(), tmp_path / "cache")
    write(rows(again=lambda n: n), path)
    path.write_text(path.read_text(encoding="utf-8").replace("again", "label", 1), encoding="utf-8")
    with pytest.raises(DataError, match="found several: label"):
        prepare(tmp_path / "raw", tmp_path, Params(), tmp_path / "cache")


def test_a_label_with_too_few_rows_is_named_with_their_number_and_the_nearest(
    tmp_path: Path,
) -> None:
    """A misspelt label would be a label of its own; the setting that leaves it out is named."""
    table = rows()
    table[0]["label"] = "peace_invertd"
    table[4]["label"] = table[5]["label"] = "heart"
    with pytest.raises(DataError, match="at least 3 usable rows of each label") as caught:
        prepared(table, tmp_path)
    text = str(caught.value)
    assert "2 of 'heart'; 1 of 'peace_invertd' Did you mean 'peace_inverted'" in text
    assert "--set 'params.ignore_labels=[no_gesture, none, heart, peace_invertd]'" in text
    params = Params(ignore_labels=("no_gesture", "none", "heart", "peace_invertd"))
    assert prepared(table, tmp_path, params).skipped == {"ignored_label": 3}


def test_labels_are_those_of_the_data(tmp_path: Path) -> None:
    """In the order of the alphabet, whatever HaGRID has; rows of a single label are refused."""
    names = {"fist": "wave", "palm": "Ärger"}
    table = [dict(row, label=names[row["label"]]) for row in rows() if row["label"] in names]
    report = prepared(table, tmp_path)
    assert [list(each) for each in report.counts.values()] == [["wave", "Ärger"]] * 3
    assert read_labels(tmp_path / "ready") == ("wave", "Ärger")
    with pytest.raises(DataError, match="at least two labels, found only 'wave'"):
        prepared([row for row in table if row["label"] == "wave"], tmp_path)


@pytest.mark.parametrize(
    ("label", "message"),
    [(NO_LABEL, "stands for 'no hand'"), ("a" * 101, "at most 100"), ("a\u200bb", "printable")],
)
def test_labels_that_would_break_metrics_are_refused(
    tmp_path: Path, label: str, message: str
) -> None:
    """Also the word for no hand, for users who want to learn their class of that name."""
    table = [dict(row, label=label if row["label"] == "fist" else row["label"]) for row in rows()]
    with pytest.raises(DataError, match=message):
        prepared(table, tmp_path, Params(ignore_labels=()))


def test_a_row_that_is_lost_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the source are those that are used and those that are counted as skipped."""
    monkeypatch.setattr(data, "with_depth", lambda rows, _: (select_rows(rows, range(350)), ()))
    with pytest.raises(DataError, match=r"expected 360 rows .* found 350 used and 0 skipped"):
        prepared(rows(), tmp_path)


def test_ignored_labels_are_skipped_and_counted(tmp_path: Path) -> None:
    """HaGRID's no_gesture rows need a param, not an edit of the file."""
    table = rows()
    for row in table[:4]:
        row["label"] = "no_gesture"
    report = prepared(table, tmp_path, Params(ignore_labels=("no_gesture",)))
    assert report.skipped == {"ignored_label": 4}
    assert sum(sum(each.values()) for each in report.counts.values()) == len(table) - 4


def test_unusable_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    """Text, gaps, infinities, a missing label, and a hand whose points coincide."""
    table = rows()
    table[0]["x3"], table[1]["y4"], table[2]["z5"] = "abc", "", "inf"
    table[3]["label"] = ""
    table[4].update(dict.fromkeys(COLUMNS, "300"))
    report = prepared(table, tmp_path)
    assert report.skipped == {"missing_values": 4, "impossible_hand": 1}
    assert sum(sum(each.values()) for each in report.counts.values()) == len(table) - 5


def test_copies_stay_in_one_split(tmp_path: Path) -> None:
    """A copy of a training row in the test split would be memorized, not recognized."""
    table = rows()
    prepared(table + table[:10], tmp_path)
    splits_by_content: dict[bytes, set[str]] = {}
    for split in SPLITS:
        for hand in read_split(tmp_path / "ready", split).landmarks:
            splits_by_content.setdefault(hand.tobytes(), set()).add(split)
    assert len(splits_by_content) == len(table)
    assert all(len(each) == 1 for each in splits_by_content.values())


def test_twelve_of_eighteen_gestures_are_a_data_set(tmp_path: Path) -> None:
    """A model of them learns these twelve, and a note says so."""
    table = [row for row in rows() if row["label"] in HAGRID_LABELS[:12]]
    report = prepared(table, tmp_path)
    assert [tuple(report.counts[split]) for split in SPLITS] == [HAGRID_LABELS[:12]] * 3
    assert any("12 of HaGRID's 18 labels" in note for note in report.notes)


def test_several_tables_are_read_each_by_its_own_convention(tmp_path: Path) -> None:
    """A folder may hold tables of different origin; other CSV files are reported."""
    table = rows(width=lambda n: 4000, height=lambda n: 2000)
    shares = [
        {
            c: str(float(v) / {"x": 4000, "y": 2000}.get(c[0], 1))
            for c, v in row.items()
            if c in COLUMNS
        }
        | {c: v for c, v in row.items() if c not in COLUMNS}
        for row in table
    ]
    write(shares, tmp_path / "raw" / "shares.csv")
    write([{"photo": "a.jpg"}], tmp_path / "raw" / "photos.csv")
    report = prepared(table, tmp_path)
    notes = "\n".join(report.notes)
    assert "hands.csv: x and y were read as pixels" in notes
    assert "shares.csv: x and y were read as fractions" in notes
    assert "multiplied by the row's width and height" in notes
    assert "photos.csv was not used" in notes
    assert sum(sum(each.values()) for each in report.counts.values()) == 2 * len(table)
    pixels = np.sort(
        np.concatenate([read_split(tmp_path / "ready", s).landmarks[:, 4, 0] for s in SPLITS])
    )
    np.testing.assert_allclose(pixels[::2], pixels[1::2])


def test_rows_without_picture_size_are_skipped(tmp_path: Path) -> None:
    """Fractions of an unknown width have lost the proportions."""
    table = rows(width=lambda n: "" if n < 3 else 4000, height=lambda n: 4000)
    for row in table:
        row.update({c: str(float(row[c]) / 4000) for c in COLUMNS if c[0] != "z"})
    report = prepared(table, tmp_path)
    assert report.skipped == {"missing_image_size": 3}
    assert prepared(table, tmp_path, Params(aspect_ratio=1.0)).skipped == {}


def test_lost_proportions_need_a_param(tmp_path: Path) -> None:
    """Without the pictures' sizes the message names file and key; with the key it succeeds."""
    table = rows()
    for row in table:
        row.update({c: str(float(row[c]) / 4000) for c in COLUMNS if c[0] != "z"})
    with pytest.raises(DataError, match=r"hands\.csv: .*params\.aspect"):
        prepared(table, tmp_path)
    report = prepared(table, tmp_path, Params(aspect_ratio=1.0))
    assert "params.aspect_ratio = 1.0" in report.notes[0]


def test_a_configured_convention_is_used_and_reported(tmp_path: Path) -> None:
    """Values that are ambiguous need the param."""
    table = rows()
    for row in table:
        row.update({c: str(float(row[c]) / 100) for c in COLUMNS if c[0] != "z"})
    with pytest.raises(DataError, match=r"hands\.csv: the convention"):
        prepared(table, tmp_path)
    report = prepared(table, tmp_path, Params(convention="pixels"))
    assert "(params.convention = pixels)" in report.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a table with the columns"),
        (",".join([*COLUMNS, "label"]).encode() + b"\n", "only a header"),
        (",".join([*COLUMNS, "label"]).encode() + b"\n\xff\xfe\n", "UTF-8"),
        (",".join([*COLUMNS, "label"]).encode() + b"\n1,2,3\n", "missing_values: 1"),
    ],
    ids=["empty", "header", "binary", "short"],
)
def test_files_without_usable_rows_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """Each with its own message."""
    (tmp_path / "hands.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, tmp_path, Params(), tmp_path / "cache")


def test_too_few_rows_to_divide_are_refused(tmp_path: Path) -> None:
    """A split without rows would make the scores meaningless."""
    table = rows(user=lambda n: "one")
    with pytest.raises(DataError, match="expected rows for val, found none"):
        prepared(table, tmp_path)


def test_unprepared_data_are_an_error(tmp_path: Path) -> None:
    """The message names the command."""
    with pytest.raises(DataError, match="mien data"):
        read_split(tmp_path, "val")


def test_examples_carry_what_slices_are_made_of(tmp_path: Path) -> None:
    """Handedness, source and number of the session, and how much of the picture a hand covers."""
    table = rows(
        handedness=lambda n: "Left" if n % 2 else "Right",
        source=lambda n: "phone",
        user=lambda n: f"{n % 9}",
        width=lambda n: 4000,
        height=lambda n: 2000,
    )
    prepared(table, tmp_path)
    every = [each for split in SPLITS for each in examples(tmp_path / "ready", split)]
    assert {each.metadata["handedness"] for each in every} == {"Left", "Right"}
    assert {each.metadata["source"] for each in every} == {"phone"}
    assert {each.metadata["session"] for each in every} == set("012345678")
    first = np.array([float(table[0][name]) for name in COLUMNS]).reshape(21, 3)
    expected = np.ptp(first[:, 0]) * np.ptp(first[:, 1]) / 4000 / 2000
    (found,) = [each for each in every if each.name == "hands.csv:2"]
    assert found.metadata["subject_size"] == pytest.approx(expected, abs=1e-4)


def test_a_hand_without_a_picture_has_no_size(tmp_path: Path) -> None:
    """Pixels of a picture of unknown size; and the name of a person is in no slice."""
    prepared(rows(user=lambda n: f"person {n % 9}"), tmp_path)
    assert {*next(examples(tmp_path / "ready", "val")).metadata} == set()
