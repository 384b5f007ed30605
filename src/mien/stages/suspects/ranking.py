"""The ranking as a CSV file that a person corrects: the column `label` is what counts.

    name, split, label, suggested_label, score

`score` is the out-of-fold score of the label. To correct a sample, write the right label into its
column `label`; the other columns are for orientation, and rows may be deleted.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from mien.errors import DataError, nearest
from mien.task import Inspection

COLUMNS = ("name", "split", "label", "suggested_label", "score")
_MAX_NAMES = 3


@dataclass(frozen=True)
class Suspect:
    """A sample whose label was judged."""

    name: str
    split: str
    label: str
    suggested_label: str
    """The other label with the best score."""
    score: float
    """Of its label, in 0..1, by a classifier that has not seen the sample."""


def to_csv(ranked: Sequence[Suspect]) -> str:
    """The text of the file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*astuple(each)[:-1], f"{each.score:.4f}") for each in ranked)
    return stream.getvalue()


def read_labels(path: Path) -> dict[str, str]:
    """The label of each sample by name, as corrected.

    Raises:
        DataError: no such file, a missing column, or two labels for one sample.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, found none ({error}).") from None
    header = text.partition("\n")[0]
    separator = ";" if header.count(";") > header.count(",") else ","  # as spreadsheets write
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    if not {"name", "label"} <= set(rows.fieldnames or ()):
        raise DataError(
            f"{path}: expected the columns name and label, found {header.strip()!r}. Correct a "
            "file that `mien data suspects` has written."
        )
    labels: dict[str, str] = {}
    for row in rows:
        name, label = row["name"] or "", (row["label"] or "").strip()
        if labels.setdefault(name, label) != label:
            raise DataError(
                f"{path}:{rows.line_num}: expected one label of {name}, found {labels[name]!r} and "
                f"{label!r}. Delete one of the rows."
            )
    return labels


def changes(
    inspection: Inspection, labels: Mapping[str, str], default_labels: Sequence[str], path: Path
) -> dict[str, tuple[str, str]]:
    """Old and new label of each sample whose label differs.

    Raises:
        DataError: an unknown sample, an unknown label, or no difference.
    """
    by_name = {each.name: each for each in inspection.samples if each.labels}
    unknown = [name for name in labels if name not in by_name]
    if unknown:
        raise DataError(
            f"{path}: expected labelled samples of the version, found {len(unknown):,} other names "
            f"({', '.join(unknown[:_MAX_NAMES])}). Name the version by --source @VERSION, or "
            "delete these rows."
        )
    known = default_labels if inspection.labels is None else inspection.labels
    for name, label in labels.items():
        if label not in known:
            raise DataError(
                f"{path}: {name}: expected one of {', '.join(known)}; found {label!r}."
                f"{nearest(label, known)}"
            )
    pairs = {name: (by_name[name].labels[0], label) for name, label in labels.items()}
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if not different:
        raise DataError(
            f"{path}: expected corrected labels, found those of the version. Write the right label "
            "into the column label."
        )
    return different
