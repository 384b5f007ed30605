"""A CSV file beside the images with the label of each, as the makers of the set wrote it.

Knows columns, spellings and contradictions; knows neither boxes nor pixels. Its labels differ from
those of the label files where somebody has corrected one of the two.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .dataset.class_names import label_of, normalize
from .dataset.file_tree import stem

ROW_WITHOUT_IMAGE = "csv_row_without_image"
IMAGE_WITHOUT_ROW = "image_without_csv_row"
UNKNOWN_LABEL = "csv_unknown_label"
CONFLICTING_LABELS = "csv_conflicting_labels"
LABEL_MISMATCH = "csv_label_mismatch"
MIXED_CASE = "mixed_case_label"

ReportIssue = Callable[[str, str], None]
"""Receives the slug of a check, and the sample or row with the issue."""
_IMAGE_COLUMNS = ("image", "picture", "file", "filename", "file_name", "path", "name")
_LABEL_COLUMNS = ("emotion", "label", "class", "expression")


@dataclass(frozen=True)
class LabelRow:
    """One row, as written."""

    location: str
    """File and line."""
    image_stem: str
    """Name of the image without folder and suffix: sets are saved again as another file type."""
    written_label: str

    @property
    def label(self) -> str | None:
        """The task's label for the written one; None where there is none."""
        return label_of(self.written_label)


def find(raw: Path) -> list[Path]:
    """The label CSV files of a set: every legend*.csv, in any folder."""
    return sorted(path for path in raw.rglob("*.csv") if path.name.lower().startswith("legend"))


def read(path: Path) -> list[LabelRow]:
    """The rows of a label CSV; none where it lacks a column for the image or its label."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        table = csv.DictReader(stream)
        columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
        image = next((columns[name] for name in _IMAGE_COLUMNS if name in columns), None)
        label = next((columns[name] for name in _LABEL_COLUMNS if name in columns), None)
        if image is None or label is None:
            return []
        return [
            LabelRow(
                f"{path.name}:{table.line_num}",
                stem(PurePosixPath((row[image] or "").strip()).name),
                row[label] or "",
            )
            for row in table
        ]


def repair(path: Path, target: Path) -> int:
    """Write a copy of a label CSV with its labels in lower case; return how many changed."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        lines = list(csv.reader(stream))
    header = [name.strip().lower() for name in lines[0]] if lines else []
    column = next((header.index(name) for name in _LABEL_COLUMNS if name in header), None)
    changed = 0
    for line in lines[1:]:
        if column is None or column >= len(line):
            continue
        if line[column] != normalize(line[column]):
            line[column] = normalize(line[column])
            changed += 1
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return changed


def compare(
    rows: Sequence[LabelRow],
    samples: Mapping[str, Sequence[tuple[str, str]]],
    report_issue: ReportIssue,
) -> dict[str, int]:
    """Compare label CSV files with a set, and report the differences.

    Args:
        rows: of all label CSV files.
        samples: name and label of each sample with one label, by the stem of its image's name.
        report_issue: receives each difference.

    Returns:
        How many items were compared, by slug of the check.
    """
    labels_of: dict[str, set[str]] = {}
    for row in rows:
        if row.label is None:
            report_issue(UNKNOWN_LABEL, f"{row.location} {row.written_label!r}")
        else:
            labels_of.setdefault(row.image_stem, set()).add(row.label)
        if row.written_label != normalize(row.written_label):
            report_issue(MIXED_CASE, f"{row.location} {row.written_label!r}")
        if row.image_stem not in samples:
            report_issue(ROW_WITHOUT_IMAGE, row.location)
    listed = {row.image_stem for row in rows}
    for image_stem, of_stem in samples.items():
        for name, label in of_stem:
            csv_labels = labels_of.get(image_stem, set())
            for slug in _differences(label, image_stem in listed, csv_labels):
                report_issue(slug, name)
    count = sum(map(len, samples.values()))
    return {
        **dict.fromkeys((UNKNOWN_LABEL, ROW_WITHOUT_IMAGE), len(rows)),
        **dict.fromkeys((IMAGE_WITHOUT_ROW, CONFLICTING_LABELS, LABEL_MISMATCH), count),
    }


def _differences(label: str, listed: bool, csv_labels: set[str]) -> Iterator[str]:
    """The differences between an image's label and its labels in the CSV files."""
    if not listed:
        yield IMAGE_WITHOUT_ROW
    if len(csv_labels) > 1:
        yield CONFLICTING_LABELS
    if csv_labels and label not in csv_labels:
        yield LABEL_MISMATCH
