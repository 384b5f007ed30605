"""Data sets of hands that are refused, each with the message."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .table_forms import (
    class_numbers,
    decimal_commas,
    plain,
    splits_by_file,
    table_of_each_label,
)
from .tables import (
    AXES,
    LABELS,
    hands,
    relabelled,
    table,
)


@dataclass(frozen=True)
class Refused:
    """A source that is refused with a message."""

    habit: str
    reason: str
    write: Callable[[Path], None]
    message: str
    """Regular expression that the message matches."""


def _of_two_people(folder: Path) -> None:
    for person in ("anna", "ben"):
        table_of_each_label(f"{person}/{{label}}.csv")(folder)


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
    class_numbers(folder)
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
        plain(header=[*AXES[:-1], "label"], cells=lambda _, label, n: [*n[:-1], label]),
        r"found 62 of the 63, missing: z21",
    ),
    "other_file": Refused(
        "tables as `.xlsx`, `.parquet`, `.npy`, `.txt`",
        "the message says to export a CSV",
        lambda folder: table(folder / "hands.txt"),
        r"read as \.csv or \.tsv: export hands\.txt so",
    ),
    "person_or_label": Refused(
        "`anna/fist.csv`, `anna/palm.csv`, .. without labels",
        "folders and files may both be the labels",
        _of_two_people,
        r"folders \(anna, ben\) or of the files \(fist, like, palm\): anna/\w+.csv may be",
    ),
    "no_label": Refused(
        "no column with labels",
        "the message lists the columns",
        plain(header=AXES, cells=lambda _, label, n: n),
        r"found no such column.*missing: label",
    ),
    "two_labels": Refused(
        "`label` and `gesture` with different words",
        "it is unknown which one counts",
        plain(
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
        plain(header=None, cells=lambda _, label, n: [*n[:-1], label]),
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
        r"found 1 of 'lke' Did you mean 'like'.*ignore_labels=\[no_gesture, none, lke\]",
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
