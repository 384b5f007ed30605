"""Sources of hands as public writers make them: how each is read, or why it is refused.

The table of `docs/source/formats.md` is made of these entries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .table_forms import (
    FLAT,
    NUMBERS,
    class_numbers,
    decimal_commas,
    hagrid_annotations,
    numbered,
    own_labels,
    plain,
    resting,
    shares,
    splits_by_file,
    table_of_each_label,
    train_and_test,
    tsv,
    two_spellings,
    unusable,
    with_other_file,
    wrist,
)
from .tables import (
    AXES,
    JOINTS,
    LABELS,
    PER_LABEL,
    hands,
)


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


READ: dict[str, Read] = {
    "plain": Read("`x1, y1, z1 .. x21, y21, z21, label`", "as it is", plain()),
    "from_zero": Read(
        "columns counted from 0: `x0 .. z20`",
        "the first point is the wrist, as with 1",
        plain(header=[*numbered("{axis}{n}"), "label"]),
    ),
    "label_first": Read(
        "the label in the first column",
        "columns are found by name, in any order",
        plain(header=["label", *AXES], cells=lambda _, label, n: [label, *n]),
    ),
    "label_class": Read("`class`", "the label", plain(header=[*AXES, "class"])),
    "label_case": Read(
        "`Label`, `GESTURE`, `X1`",
        "names are read in any case",
        plain(header=[*(name.upper() for name in AXES), "GESTURE"]),
    ),
    "hand_n_axis": Read(
        "`hand_0_x`",
        "the number is that of the point",
        plain(header=[*numbered("hand_{n}_{axis}"), "label"]),
    ),
    "axis_n": Read(
        "`landmark_x_1`, `x[1]`, `lm1.x`",
        "words and signs around axis and number do not matter",
        plain(header=[*numbered("landmark_{axis}[{n}]", 1), "label"]),
    ),
    "hand_number": Read(
        "`hand0_lm5_x`",
        "the number that is the same everywhere is that of the hand",
        plain(header=[*numbered("hand0_lm{n}_{axis}"), "label"]),
    ),
    "joint_names": Read(
        "`WRIST_X .. PINKY_TIP_Z`",
        "MediaPipe's names of the points",
        plain(header=[*(f"{joint}_{axis}" for joint in JOINTS for axis in "XYZ"), "label"]),
    ),
    "axes_apart": Read(
        "`x1 .. x21, y1 .. y21, z1 .. z21`",
        "columns are found by name, in any order",
        plain(
            header=[*NUMBERS, "label"],
            cells=lambda _, label, n: [*n[::3], *n[1::3], *n[2::3], label],
        ),
    ),
    "repeated": Read(
        "`x, y, z, x, y, z ..`",
        "21 points in turn",
        plain(header=[*["x", "y", "z"] * 21, "label"]),
    ),
    "pandas_repeated": Read(
        "`x, y, z, x.1, y.1, z.1 ..`",
        "21 points in turn",
        plain(header=["x", "y", "z", *numbered("{axis}.{n}", 1)[:60], "label"]),
    ),
    "counted": Read(
        "`0, 1 .. 62, label`",
        "63 (or 42) counted columns are x, y, z of each point in turn",
        plain(header=[*map(str, range(63)), "label"]),
        note="63 counted columns were read as points in turn",
    ),
    "counted_label": Read(
        "`0, 1 .. 63`, the label counted too",
        "as without a header",
        plain(header=[*map(str, range(64))]),
        note="the label is column 64 of 64",
    ),
    "counted_names": Read(
        "`f1 .. f42, label`",
        "as above, without depth",
        plain(header=[*(f"f{n}" for n in range(1, 43)), "label"], depth=False),
        depth=False,
    ),
    "no_depth": Read(
        "42 columns `x1, y1 ..` without z",
        "each hand is given the depth of a drawn one, so that a model learns to ignore it",
        plain(header=[*FLAT, "label"], depth=False),
        depth=False,
        note="There is no depth",
    ),
    "no_header": Read(
        "no header, 63 numbers and the label",
        "the only column of words is the label",
        plain(header=None),
        note="the label is column 64 of 64",
    ),
    "no_header_first": Read(
        "no header, the label and 63 numbers",
        "the only column of words is the label",
        plain(header=None, cells=lambda _, label, n: [label, *n]),
        note="the label is column 1",
    ),
    "no_header_side": Read(
        "no header, with a column of `Left` and `Right`",
        "that column is the handedness",
        plain(header=None, cells=lambda i, label, n: [("Left", "Right")[i % 2], *n, label]),
    ),
    "no_header_index": Read(
        "no header, lines counted in the first column",
        "the count is left out",
        plain(header=None, cells=lambda i, label, n: [str(i), *n, label]),
    ),
    "class_numbers": Read(
        "class numbers in `keypoint.csv`, names in `keypoint_classifier_label.csv`",
        "a list of names beside the table, counted from 0, names the classes",
        class_numbers,
        depth=False,
        note="named in keypoint_classifier_label.csv",
    ),
    "number_and_name": Read(
        "`class` with numbers and `label` with names",
        "the column of words is the label",
        plain(
            header=["class", *AXES, "label"],
            cells=lambda _, label, n: [str(LABELS.index(label)), *n, label],
        ),
    ),
    "semicolons": Read("semicolons", "the delimiter is found", plain(delimiter=";")),
    "tabs": Read("tabs, `.tsv`", "the delimiter is found", tsv),
    "bars": Read("bars", "the delimiter is found", plain(delimiter="|")),
    "decimal_commas": Read(
        "semicolons and decimal commas",
        "the numbers of one table have one decimal mark",
        plain(delimiter=";", cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "quoted_commas": Read(
        'decimal commas in quotes: `"0,5","0,3"`',
        "as above",
        plain(cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "no_header_commas": Read(
        "no header, tabs and decimal commas",
        "as above",
        plain(header=None, delimiter="\t", cells=lambda _, label, n: [*decimal_commas(n), label]),
    ),
    "sep_line": Read(
        "`sep=;` as first line", "the delimiter", plain(first="sep=;\n", delimiter=";")
    ),
    "index": Read(
        "an index column without a name, as pandas writes it",
        "it is left out",
        plain(header=["", *AXES, "label"], cells=lambda i, label, n: [str(i), *n, label]),
    ),
    "row_names": Read(
        "a header with one cell fewer than the lines, as R writes it",
        "the first cell of a line is its name",
        plain(cells=lambda i, label, n: [str(i + 1), *n, label], quoting=1),
    ),
    "more_columns": Read(
        "handedness, score, image and other columns",
        "handedness and source are checked for what they reveal; the others are left out",
        plain(
            header=["image", *AXES, "handedness", "score", "label"],
            cells=lambda i, label, n: [f"{i}.jpg", *n, "Left", "0.9", label],
        ),
    ),
    "user_id": Read(
        "`user_id`, `person`, `subject`",
        "nobody is in two splits",
        plain(
            header=[*AXES, "label", "user_id"], cells=lambda i, label, n: [*n, label, f"u{i // 3}"]
        ),
        note="divided by user",
    ),
    "session": Read(
        "`session`, as the studio writes it",
        "no session is in two splits",
        plain(
            header=[*AXES, "label", "session"], cells=lambda i, label, n: [*n, label, str(i // 3)]
        ),
        note="divided by user",
    ),
    "byte_order_mark": Read(
        "UTF-8 with a byte order mark", "it is left out", plain(encoding="utf-8-sig")
    ),
    "utf_16": Read(
        "UTF-16, as Excel's Unicode text",
        "it is decoded",
        plain(encoding="utf-16", delimiter="\t"),
    ),
    "line_ends": Read("CR LF", "any line ends", plain(lineterminator="\r\n")),
    "empty_lines": Read(
        "lines without content",
        "they are no rows",
        plain(rows=hands(), lineterminator="\n\n,,,\n"),
    ),
    "own_labels": Read(
        "labels of one's own: `thumb`, `wave`",
        "a model learns the labels of its data; at least two, of three rows each",
        own_labels,
        labels=("thumb", "wave"),
        names={"fist": "thumb", "like": "wave"},
    ),
    "spellings": Read(
        "`Like` in some rows and `like` in others",
        "one label; case, spaces, `-` and `_` make no other one",
        two_spellings,
        note="'Like' as 'like' (1 rows)",
    ),
    "no_gesture": Read(
        "rows of `no_gesture` or `none`",
        "left out and counted (`params.ignore_labels`)",
        resting("no_gesture"),
        skipped={"ignored_label": 3},
    ),
    "none": Read(
        "MediaPipe Model Maker's label `none`",
        "as above",
        resting("None"),
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
        plain(
            header=[*AXES, "label", "Subset"],
            cells=lambda i, label, n: [*n, label, ("Train", "valid", "Test", "train")[i // 3 % 4]],
        ),
        splits=(12, 6, 6),
    ),
    "two_splits": Read(
        "`train.csv` and `test.csv` only",
        "val is taken from train, and said",
        train_and_test,
        note="no row to val",
    ),
    "shares": Read(
        "fractions 0..1 with the size of each picture", "multiplied by width and height", shares
    ),
    "wrist": Read("coordinates relative to the wrist", "as they are", wrist),
    "unusable": Read(
        "cells such as `1_0`, `nan`, nothing, digits of other scripts; rows without a label",
        "such rows are left out and counted",
        unusable,
        skipped={"missing_values": 6},
    ),
    "other_file": Read(
        "a table of something else in the folder",
        "named as not used",
        with_other_file,
        note="boxes.csv was not used",
    ),
    "zeros": Read(
        "rows of zeros, where no hand was detected",
        "left out and counted",
        plain(rows=[*hands(), *((label, 0 * points) for label, points in hands()[:2])]),
        skipped={"missing_values": 2},
    ),
    "float_labels": Read(
        "`0.0`, `1.0` as labels, and labels in quotes",
        "as `0`, `1`, and without quotes",
        plain(cells=lambda _, label, n: [*n, f"'{float(LABELS.index(label))}'"]),
        labels=("0", "1", "2"),
        names={label: str(n) for n, label in enumerate(LABELS)},
    ),
    "column_usage": Read(
        "a column `set`, `usage` or `partition` with names of splits only",
        "as `split`",
        plain(
            header=[*AXES, "label", "Usage"],
            cells=lambda number, label, n: [*n, label, ("train", "val", "test")[number // 3 % 3]],
        ),
        splits=(9, 9, 6),
    ),
    "table_per_label": Read(
        "`fist.csv`, `palm.csv`, .. without labels",
        "the name of each table is the label, without numbers and splits, and said",
        table_of_each_label("{label}.csv"),
        note="Its 8 rows have the label 'palm' by its name",
    ),
    "tables_per_label": Read(
        "`fist_1.csv`, `fist_2.csv`, ..",
        "as above",
        table_of_each_label("{label}_{part}.csv", header=False),
    ),
    "folder_per_label": Read(
        "`fist/1.csv`, `fist/2.csv`, .. without labels",
        "the name of each folder is the label, and said",
        table_of_each_label("data/{label}/{part}.csv"),
    ),
    "folder_per_label_sessions": Read(
        "`fist/session0.csv`, `fist/session1.csv`, .. without labels",
        "as above",
        table_of_each_label("data/{label}/session{part}.csv"),
    ),
    "tables_per_label_glued": Read(
        "`fist1.csv`, `fist2.csv`, `palm1.csv`, `palm2.csv`, .. without labels",
        "the name of each table without its number is the label",
        table_of_each_label("{label}{part}.csv"),
    ),
    "hagrid_1": Read(
        "HaGRID's annotations of 2022: `landmarks`",
        "x is multiplied by 0.75, the usual width / height there; `no_gesture` is counted",
        hagrid_annotations("ann_{split}/{label}.json", "landmarks"),
        skipped={"ignored_label": 3 * PER_LABEL},
        splits=(15, 6, 3),
        depth=False,
        note="multiplied by 0.75",
    ),
    "hagrid_2": Read(
        "HaGRID's annotations of 2024: `hand_landmarks`",
        "as above",
        hagrid_annotations("annotations/{split}/{label}.json", "hand_landmarks"),
        skipped={"ignored_label": 3 * PER_LABEL},
        splits=(15, 6, 3),
        depth=False,
    ),
}
