"""Sources of hands as public writers make them: how each is read, or why it is refused.

The table of `docs/source/formats.md` is made of these entries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .tables import (
    AXES,
    JOINTS,
    LABELS,
    PER_LABEL,
    annotations,
    hands,
    parts,
    relabelled,
    table,
)

NUMBERS = [f"{axis}{point}" for axis in "xyz" for point in range(1, 22)]
FLAT = [name for name in AXES if name[0] != "z"]


@dataclass(frozen=True)
class Read:
    """A source that is read: what becomes of it."""

    habit: str
    reading: str
    write: Callable[[Path], None]
    labels: tuple[str, ...] = LABELS
    names: Mapping[str, str] = field(default_factory=dict)
    """Names in the prepared data of labels of the drawn hands."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    splits: tuple[int, int, int] | None = None
    """Rows in train, val and test, where the source says so."""
    depth: bool = True
    note: str = ""
    """Part of a sentence that the report says."""


@dataclass(frozen=True)
class Refused:
    """A source that is refused with a message."""

    habit: str
    reason: str
    write: Callable[[Path], None]
    message: str
    """Regular expression that the message matches."""


def numbered(pattern: str, first: int = 0) -> list[str]:
    return [pattern.format(n=n, axis=axis) for n in range(first, first + 21) for axis in "xyz"]


def decimal_commas(numbers: list[str]) -> list[str]:
    return [number.replace(".", ",") for number in numbers]


def splits_by_file(pattern: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for split, rows in parts(hands()):
            table(folder / pattern.format(split=split), rows)

    return write


def _class_numbers(folder: Path) -> None:
    """As a popular repository of gesture recognition writes its training data."""

    def cells(_: int, label: str, numbers: list[str]) -> list[str]:
        return [str(LABELS.index(label)), *numbers]

    rows = [
        (label, (points - points[0]) / abs(points - points[0]).max()) for label, points in hands()
    ]
    table(folder / "keypoint.csv", rows, header=None, cells=cells, depth=False)
    names = "\n".join(LABELS) + "\n"
    (folder / "keypoint_classifier_label.csv").write_text(names, encoding="utf-8-sig")


def _shares(folder: Path) -> None:
    rows = [(label, points / (4000, 2000, 1)) for label, points in hands()]
    table(
        folder / "hands.csv",
        rows,
        header=[*AXES, "label", "image_width", "image_height"],
        cells=lambda _, label, numbers: [*numbers, label, "4000", "2000"],
    )


def _wrist(folder: Path) -> None:
    table(folder / "hands.csv", [(label, points - points[0]) for label, points in hands()])


def _resting(word: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rest = relabelled(hands(per_label=1, seed=9), fist=word, like=word, palm=word)
        table(folder / "hands.csv", [*hands(), *rest])

    return write


def _annotations(pattern: str, key: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for split, rows in parts(hands()):
            for label in LABELS:
                own = [hand for hand in rows if hand[0] == label]
                annotations(folder / pattern.format(split=split, label=label), own, key)

    return write


def _unusable(folder: Path) -> None:
    broken = {0: "1_0", 1: "", 2: "nan", 3: "٣", 4: "tall"}

    def cells(number: int, label: str, numbers: list[str]) -> list[str]:
        return [broken.get(number, numbers[0]), *numbers[1:], label if number != 5 else ""]

    table(folder / "hands.csv", [*hands(seed=9)[:6], *hands()], cells=cells)


def _plain(**how: object) -> Callable[[Path], None]:
    return lambda folder: table(folder / "hands.csv", **how)  # type: ignore[arg-type]


def _tsv(folder: Path) -> None:
    table(folder / "hands.tsv", delimiter="\t")


def _with_other_file(folder: Path) -> None:
    table(folder / "hands.csv")
    (folder / "boxes.csv").write_text("image,x1,y1,x2,y2\na.jpg,1,2,3,4\n", encoding="utf-8")


def _two_spellings(folder: Path) -> None:
    rows = [("Like" if n == 1 else label, points) for n, (label, points) in enumerate(hands())]
    table(folder / "hands.csv", rows)


def _own_labels(folder: Path) -> None:
    table(folder / "hands.csv", relabelled(hands(LABELS[:2]), fist="thumb", like="wave"))


def _train_and_test(folder: Path) -> None:
    rows = hands()
    table(folder / "train.csv", rows[:18])
    table(folder / "test.csv", rows[18:])


READ: dict[str, Read] = {
    "plain": Read("`x1, y1, z1 .. x21, y21, z21, label`", "as it is", _plain()),
    "from_zero": Read(
        "columns counted from 0: `x0 .. z20`",
        "the first point is the wrist, as with 1",
        _plain(header=[*numbered("{axis}{n}"), "label"]),
    ),
    "label_first": Read(
        "the label in the first column",
        "columns are found by name, in any order",
        _plain(header=["label", *AXES], cells=lambda _, label, n: [label, *n]),
    ),
    "label_class": Read("`class`", "the label", _plain(header=[*AXES, "class"])),
    "label_case": Read(
        "`Label`, `GESTURE`, `X1`",
        "names are read in any case",
        _plain(header=[*(name.upper() for name in AXES), "GESTURE"]),
    ),
    "hand_n_axis": Read(
        "`hand_0_x`",
        "the number is that of the point",
        _plain(header=[*numbered("hand_{n}_{axis}"), "label"]),
    ),
    "axis_n": Read(
        "`landmark_x_1`, `x[1]`, `lm1.x`",
        "words and signs around axis and number do not matter",
        _plain(header=[*numbered("landmark_{axis}[{n}]", 1), "label"]),
    ),
    "hand_number": Read(
        "`hand0_lm5_x`",
        "the number that is the same everywhere is that of the hand",
        _plain(header=[*numbered("hand0_lm{n}_{axis}"), "label"]),
    ),
    "joint_names": Read(
        "`WRIST_X .. PINKY_TIP_Z`",
        "MediaPipe's names of the points",
        _plain(header=[*(f"{joint}_{axis}" for joint in JOINTS for axis in "XYZ"), "label"]),
    ),
    "axes_apart": Read(
        "`x1 .. x21, y1 .. y21, z1 .. z21`",
        "columns are found by name, in any order",
        _plain(
            header=[*NUMBERS, "label"],
            cells=lambda _, label, n: [*n[::3], *n[1::3], *n[2::3], label],
        ),
    ),
    "repeated": Read(
        "`x, y, z, x, y, z ..`",
        "21 points in turn",
        _plain(header=[*["x", "y", "z"] * 21, "label"]),
    ),
    "pandas_repeated": Read(
        "`x, y, z, x.1, y.1, z.1 ..`",
        "21 points in turn",
        _plain(header=["x", "y", "z", *numbered("{axis}.{n}", 1)[:60], "label"]),
    ),
    "counted": Read(
        "`0, 1 .. 62, label`",
        "63 (or 42) counted columns are x, y, z of each point in turn",
        _plain(header=[*map(str, range(63)), "label"]),
        note="63 counted columns were read as points in turn",
    ),
    "counted_label": Read(
        "`0, 1 .. 63`, the label counted too",
        "as without a header",
        _plain(header=[*map(str, range(64))]),
        note="the label is column 64 of 64",
    ),
    "counted_names": Read(
        "`f1 .. f42, label`",
        "as above, without depth",
        _plain(header=[*(f"f{n}" for n in range(1, 43)), "label"], depth=False),
        depth=False,
    ),
    "no_depth": Read(
        "42 columns `x1, y1 ..` without z",
        "each hand is given the depth of a drawn one, so that a model learns to ignore it",
        _plain(header=[*FLAT, "label"], depth=False),
        depth=False,
        note="There is no depth",
    ),
    "no_header": Read(
        "no header, 63 numbers and the label",
        "the only column of words is the label",
        _plain(header=None),
        note="the label is column 64 of 64",
    ),
    "no_header_first": Read(
        "no header, the label and 63 numbers",
        "the only column of words is the label",
        _plain(header=None, cells=lambda _, label, n: [label, *n]),
        note="the label is column 1",
    ),
    "no_header_side": Read(
        "no header, with a column of `Left` and `Right`",
        "that column is the handedness",
        _plain(header=None, cells=lambda i, label, n: [("Left", "Right")[i % 2], *n, label]),
    ),
    "no_header_index": Read(
        "no header, lines counted in the first column",
        "the count is left out",
        _plain(header=None, cells=lambda i, label, n: [str(i), *n, label]),
    ),
    "class_numbers": Read(
        "class numbers in `keypoint.csv`, names in `keypoint_classifier_label.csv`",
        "a list of names beside the table, counted from 0, names the classes",
        _class_numbers,
        depth=False,
        note="named in keypoint_classifier_label.csv",
    ),
    "number_and_name": Read(
        "`class` with numbers and `label` with names",
        "the column of words is the label",
        _plain(
            header=["class", *AXES, "label"],
            cells=lambda _, label, n: [str(LABELS.index(label)), *n, label],
        ),
    ),
    "semicolons": Read("semicolons", "the delimiter is found", _plain(delimiter=";")),
    "tabs": Read("tabs, `.tsv`", "the delimiter is found", _tsv),
    "bars": Read("bars", "the delimiter is found", _plain(delimiter="|")),
    "decimal_commas": Read(
        "semicolons and decimal commas",
        "the numbers of one table have one decimal mark",
        _plain(delimiter=";", cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "quoted_commas": Read(
        'decimal commas in quotes: `"0,5","0,3"`',
        "as above",
        _plain(cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "no_header_commas": Read(
        "no header, tabs and decimal commas",
        "as above",
        _plain(header=None, delimiter="\t", cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "sep_line": Read(
        "`sep=;` as first line", "the delimiter", _plain(first="sep=;\n", delimiter=";")
    ),
    "index": Read(
        "an index column without a name, as pandas writes it",
        "it is left out",
        _plain(header=["", *AXES, "label"], cells=lambda i, label, n: [str(i), *n, label]),
    ),
    "row_names": Read(
        "a header with one cell fewer than the lines, as R writes it",
        "the first cell of a line is its name",
        _plain(cells=lambda i, label, n: [str(i + 1), *n, label], quoting=1),
    ),
    "more_columns": Read(
        "handedness, score, image and other columns",
        "handedness and source are checked for what they reveal; the others are left out",
        _plain(
            header=["image", *AXES, "handedness", "score", "label"],
            cells=lambda i, label, n: [f"{i}.jpg", *n, "Left", "0.9", label],
        ),
    ),
    "user_id": Read(
        "`user_id`, `person`, `subject`",
        "nobody is in two splits",
        _plain(
            header=[*AXES, "label", "user_id"], cells=lambda i, label, n: [*n, label, f"u{i // 3}"]
        ),
        note="divided by user",
    ),
    "byte_order_mark": Read(
        "UTF-8 with a byte order mark", "it is left out", _plain(encoding="utf-8-sig")
    ),
    "utf_16": Read(
        "UTF-16, as Excel's Unicode text",
        "it is decoded",
        _plain(encoding="utf-16", delimiter="\t"),
    ),
    "line_ends": Read("CR LF", "any line ends", _plain(lineterminator="\r\n")),
    "empty_lines": Read(
        "lines without content",
        "they are no rows",
        _plain(rows=hands(), lineterminator="\n\n,,,\n"),
    ),
    "own_labels": Read(
        "labels of one's own: `thumb`, `wave`",
        "a model learns the labels of its data; at least two, of three rows each",
        _own_labels,
        labels=("thumb", "wave"),
        names={"fist": "thumb", "like": "wave"},
    ),
    "spellings": Read(
        "`Like` in some rows and `like` in others",
        "one label; case, spaces, `-` and `_` make no other one",
        _two_spellings,
        note="'Like' as 'like' (1 rows)",
    ),
    "no_gesture": Read(
        "rows of `no_gesture` or `none`",
        "left out and counted (`params.ignore_labels`)",
        _resting("no_gesture"),
        skipped={"ignored_label": 3},
    ),
    "none": Read(
        "MediaPipe Model Maker's label `none`",
        "as above",
        _resting("None"),
        skipped={"ignored_label": 3},
    ),
    "split_files": Read(
        "`train.csv`, `val.csv`, `test.csv`",
        "these are the splits",
        splits_by_file("{split}.csv"),
        splits=(15, 6, 3),
    ),
    "split_words": Read(
        "`keypoints_train.csv`",
        "a word of the name is the split",
        splits_by_file("keypoints_{split}.csv"),
        splits=(15, 6, 3),
    ),
    "split_folders": Read(
        "folders `train`, `val`, `test` of tables",
        "these are the splits",
        splits_by_file("{split}/landmarks.csv"),
        splits=(15, 6, 3),
    ),
    "split_column": Read(
        "a column `split` or `subset`",
        "it counts, before names of files",
        _plain(
            header=[*AXES, "label", "Subset"],
            cells=lambda i, label, n: [*n, label, ("Train", "valid", "Test", "train")[i // 3 % 4]],
        ),
        splits=(12, 6, 6),
    ),
    "two_splits": Read(
        "`train.csv` and `test.csv` only",
        "val is taken from train, and said",
        _train_and_test,
        note="no row to val",
    ),
    "shares": Read(
        "fractions 0..1 with the size of each picture", "multiplied by width and height", _shares
    ),
    "wrist": Read("coordinates relative to the wrist", "as they are", _wrist),
    "unusable": Read(
        "cells such as `1_0`, `nan`, nothing, digits of other scripts; rows without a label",
        "such rows are left out and counted",
        _unusable,
        skipped={"missing_values": 6},
    ),
    "other_file": Read(
        "a table of something else in the folder",
        "named as not used",
        _with_other_file,
        note="boxes.csv was not used",
    ),
    "hagrid_1": Read(
        "HaGRID's annotations of 2022: `landmarks`",
        "x is multiplied by 0.75, the usual width / height there; `no_gesture` is counted",
        _annotations("ann_{split}/{label}.json", "landmarks"),
        skipped={"ignored_label": 3 * PER_LABEL},
        splits=(15, 6, 3),
        depth=False,
        note="multiplied by 0.75",
    ),
    "hagrid_2": Read(
        "HaGRID's annotations of 2024: `hand_landmarks`",
        "as above",
        _annotations("annotations/{split}/{label}.json", "hand_landmarks"),
        skipped={"ignored_label": 3 * PER_LABEL},
        splits=(15, 6, 3),
        depth=False,
    ),
}


def _two_hands(folder: Path) -> None:
    sides = [f"{side}_{name}" for side in ("left", "right") for name in AXES]
    table(folder / "h.csv", header=[*sides, "label"], cells=lambda _, label, n: [*n, *n, label])


def _unquoted_commas(folder: Path) -> None:
    header = ",".join([*AXES, "label"])
    lines = [",".join([*decimal_commas([repr(x) for x in p.ravel()]), name]) for name, p in hands()]
    (folder / "hands.csv").write_text("\n".join([header, *lines]), encoding="utf-8")


def _two_decimal_marks(folder: Path) -> None:
    def cells(n: int, label: str, numbers: list[str]) -> list[str]:
        return [*(decimal_commas(numbers) if n else numbers), label]

    table(folder / "hands.csv", delimiter=";", cells=cells)


def _whole_numbers(folder: Path) -> None:
    table(
        folder / "hands.csv",
        header=None,
        cells=lambda _, label, n: [*(str(int(float(x))) for x in n), str(LABELS.index(label))],
    )


def _rare_label(folder: Path) -> None:
    table(folder / "hands.csv", [*hands(), *relabelled(hands()[:1], fist="lke")])


def _open_quote(folder: Path) -> None:
    table(folder / "hands.csv")
    text = (folder / "hands.csv").read_text(encoding="utf-8").split("\n")
    text[3] = '"' + text[3]
    text[5] = text[5].replace("fist", 'fist"').replace("like", 'like"').replace("palm", 'palm"')
    (folder / "hands.csv").write_text("\n".join(text), encoding="utf-8")


def _one_without_split(folder: Path) -> None:
    splits_by_file("{split}.csv")(folder)
    table(folder / "more.csv", hands(seed=9))


def _short_list(folder: Path) -> None:
    _class_numbers(folder)
    (folder / "keypoint_classifier_label.csv").write_text("fist\nlike\n", encoding="utf-8")


REFUSED: dict[str, Refused] = {
    "two_hands": Refused(
        "two hands in one row: `left_x1 .., right_x1 ..`",
        "it is unknown which one is labelled",
        _two_hands,
        r"h\.csv: expected the columns of one hand in each row, found 2 .*left_x1",
    ),
    "missing": Refused(
        "a column of the 63 is missing",
        "the message names it",
        _plain(header=[*AXES[:-1], "label"], cells=lambda _, label, n: [*n[:-1], label]),
        r"found 62 of the 63, missing: z21",
    ),
    "no_label": Refused(
        "no column with labels",
        "the message lists the columns",
        _plain(header=AXES, cells=lambda _, label, n: n),
        r"found no such column.*missing: label",
    ),
    "two_labels": Refused(
        "`label` and `gesture` with different words",
        "it is unknown which one counts",
        _plain(
            header=[*AXES, "label", "gesture"], cells=lambda _, label, n: [*n, label, label[::-1]]
        ),
        r"found several: gesture, label",
    ),
    "unquoted_commas": Refused(
        "decimal commas between commas",
        "numbers cannot be separated",
        _unquoted_commas,
        r"expected 64 cells in each line.*decimal comma",
    ),
    "two_decimal_marks": Refused(
        "decimal points and decimal commas in one table",
        "1.234 could be a thousand",
        _two_decimal_marks,
        r"expected one decimal mark",
    ),
    "no_header_62": Refused(
        "no header and another number of numbers",
        "it is unknown which ones are missing",
        _plain(header=None, cells=lambda _, label, n: [*n[:-1], label]),
        r"found 62 columns of numbers and 1 that may be labels",
    ),
    "whole_numbers": Refused(
        "no header, whole numbers in the first and in the last column",
        "either may be the class",
        _whole_numbers,
        r"found whole numbers in both",
    ),
    "fractions": Refused(
        "fractions 0..1 without the size of the pictures",
        "the hand's proportions are lost; `params.aspect_ratio` gives them",
        lambda folder: table(folder / "h.csv", [(a, p / (4000, 4000, 1)) for a, p in hands()]),
        r"--set params\.aspect_ratio=0\.75",
    ),
    "rare_label": Refused(
        "a label with fewer rows than a division needs",
        "named with the number of its rows",
        _rare_label,
        r"found 1 of 'lke' Did you mean 'like'.*ignore_labels=\[no_gesture,none,lke\]",
    ),
    "one_label": Refused(
        "one label only",
        "there is nothing to distinguish",
        lambda folder: table(folder / "hands.csv", hands(LABELS[:1])),
        r"found only 'fist'",
    ),
    "open_quote": Refused(
        "a quotation mark that is not closed",
        "it would swallow rows",
        _open_quote,
        r"hands\.csv: line 4: expected a line of 64 cells.*Close the quotation mark",
    ),
    "one_without_split": Refused(
        "`train.csv`, `test.csv` and a table whose name says no split",
        "it is unknown where its rows belong",
        _one_without_split,
        r"more\.csv:2: split: expected train, val or test",
    ),
    "short_list": Refused(
        "a list of class names that is too short",
        "a number has no name",
        _short_list,
        r"expected labels from 0 to 1, for which keypoint_classifier_label\.csv",
    ),
    "latin_1": Refused(
        "text in another encoding than UTF-8 and UTF-16",
        "letters could be other ones",
        lambda folder: table(
            folder / "h.csv", relabelled(hands(), fist="tsch\xfcss"), encoding="latin-1"
        ),
        r"expected a CSV file in UTF-8",
    ),
}
