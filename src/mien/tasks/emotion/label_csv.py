"""A table that lies beside the pictures and says what each of them shows, as its makers wrote it.

Knows columns, spellings and what two sources of one truth can say against each other; knows nothing
of boxes and pixels. Such tables hold other labels than the set itself where somebody has cleaned
one of the two.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.task import Gate

from . import yolo
from .params import LABELS
from .yolo import plain

ROW_WITHOUT_PICTURE = "legend rows without picture"
PICTURE_WITHOUT_ROW = "pictures without legend row"
ROW_WITHOUT_LABEL = "legend rows without a known label"
CONTRADICTION = "pictures that the legend calls two things"
OTHER_LABEL = "legend says another label"
MIXED_CASE = "labels in mixed case"
GATES: Mapping[str, Gate] = {
    ROW_WITHOUT_PICTURE: Gate("The legend is of another state of the set."),
    PICTURE_WITHOUT_ROW: Gate("Their labels cannot be held against the legend."),
    ROW_WITHOUT_LABEL: Gate("The legend calls them nothing that the task knows."),
    CONTRADICTION: Gate("At least one of the two labels is wrong."),
    OTHER_LABEL: Gate("The set or the legend is wrong about what they show."),
}

Fault = Callable[[str, str], None]
"""Is told a gate, and which sample or row is at fault."""
_PICTURE = ("image", "picture", "file", "filename", "file_name", "path", "name")
_LABEL = ("emotion", "label", "class", "expression")
_MEANT: Mapping[str, str] = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Other words for the same emotions."""


@dataclass(frozen=True)
class Row:
    """One row, as it is written."""

    place: str
    """File and line."""
    picture: str
    """Name of the file without folder and ending: sets are saved anew as another type."""
    written: str

    @property
    def label(self) -> str | None:
        """The task's own word for what is written; None where it has none."""
        word = plain(self.written)
        word = _MEANT.get(word, word)
        return word if word in LABELS else None


def find(raw: Path) -> list[Path]:
    """The legends of a set: every legend*.csv, wherever it lies."""
    return sorted(path for path in raw.rglob("*.csv") if path.name.lower().startswith("legend"))


def read(path: Path) -> list[Row]:
    """The rows of a legend; none where it has no columns for a picture and its emotion."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        table = csv.DictReader(stream)
        columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
        picture = next((columns[name] for name in _PICTURE if name in columns), None)
        label = next((columns[name] for name in _LABEL if name in columns), None)
        if picture is None or label is None:
            return []
        return [
            Row(
                f"{path.name}:{table.line_num}",
                yolo.stem(PurePosixPath((each[picture] or "").strip()).name),
                each[label] or "",
            )
            for each in table
        ]


def repair(path: Path, target: Path) -> int:
    """Write a legend anew with its labels in small letters; return how many were changed."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        lines = list(csv.reader(stream))
    head = [name.strip().lower() for name in lines[0]] if lines else []
    column = next((head.index(name) for name in _LABEL if name in head), None)
    changed = 0
    for line in lines[1:]:
        if column is not None and column < len(line) and line[column] != plain(line[column]):
            line[column] = plain(line[column])
            changed += 1
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return changed


def compare(
    rows: Sequence[Row], samples: Mapping[str, Sequence[tuple[str, str]]], fault: Fault
) -> dict[str, int]:
    """Hold a legend against a set, and tell what each says that the other does not.

    Args:
        rows: of all legends.
        samples: name and label of each sample with one label, by the stem of its picture's name.

    Returns:
        By gate, how many things were looked at.
    """
    said: dict[str, set[str]] = {}
    for row in rows:
        if row.label is None:
            fault(ROW_WITHOUT_LABEL, f"{row.place} {row.written!r}")
        else:
            said.setdefault(row.picture, set()).add(row.label)
        if row.written != plain(row.written):
            fault(MIXED_CASE, f"{row.place} {row.written!r}")
        if row.picture not in samples:
            fault(ROW_WITHOUT_PICTURE, row.place)
    listed = {row.picture for row in rows}
    for picture, found in samples.items():
        for name, label in found:
            for gate in _against(label, picture in listed, said.get(picture, set())):
                fault(gate, name)
    count = sum(map(len, samples.values()))
    return {
        **dict.fromkeys((ROW_WITHOUT_LABEL, ROW_WITHOUT_PICTURE), len(rows)),
        **dict.fromkeys((PICTURE_WITHOUT_ROW, CONTRADICTION, OTHER_LABEL), count),
    }


def _against(label: str, listed: bool, said: set[str]) -> Iterator[str]:
    """What is wrong between one picture's label and all that the legend says of it."""
    if not listed:
        yield PICTURE_WITHOUT_ROW
    if len(said) > 1:
        yield CONTRADICTION
    if said and label not in said:
        yield OTHER_LABEL
