"""Writes a repaired copy of a source: the same files, with the split of every hand beside it.

    tables      -> the same columns, a complete column `split`, and `mien_row` with the old name
    photos      -> the same bytes, and `splits.csv`
    annotations -> the same bytes, and `splits.csv`, which also says what is left out

Everything else in a source, such as its licence, is copied. Names stay, so that two versions can be
compared hand by hand.
"""

import csv
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.errors import DataError
from mien.task import Inspection, RepairPlan, Split

from . import checks, data, labels, photos, sources, splits, table
from .columns import ROW_NAME, Columns
from .inspection import inspect
from .params import Params
from .sources import EXCLUDED, SPLITS_FILE, GestureSource
from .table import SourceRow, SourceTable

_REPAIRS = {
    table.MISSING_VALUES: "without 63 numbers or without a label",
    data.IMPOSSIBLE_HAND: "that are impossible hands",
    checks.MIXED_UNITS: "in another unit than the rest of their table",
    photos.UNREADABLE: "that cannot be decoded",
    photos.NO_HAND: "without a detected hand",
}
"""What is left out beside the plan, by slug of the check."""


@dataclass(frozen=True)
class _Assignment:
    """The split of each hand, by name."""

    splits: Mapping[str, Split]
    dropped: Collection[str]
    people: Mapping[str, Split]
    """The split of each person who has one."""
    labels: Mapping[str, str]
    """New labels."""

    def of(self, row: SourceRow) -> Split:
        """The split of a hand: as inspected, else as its source says, else that of its person."""
        own = self.splits.get(row.name) or splits.parse_split(row.split)
        return own or self.people.get(row.user) or "train"


def repair(raw: Path, out: Path, plan: RepairPlan, params: Params, cache: Path) -> tuple[str, ...]:
    """Write a copy of `raw` to `out` by the plan; return what was left out beside the plan.

    Raises:
        DataError: the source cannot be read, or nothing of it would be left.
    """
    inspection = inspect(raw, params, cache)
    assignment, repairs = _assign(inspection, plan)
    if all(each.name in assignment.dropped for each in inspection.samples):
        raise DataError("nothing would be left of the data. Correct the source by hand.")
    source = sources.find_source(raw, params.ignore_labels)
    if plan.relabel and source.annotations and not (source.tables or source.photos):
        raise DataError(
            "the labels of annotations: expected a table or photos, found JSON, which is not "
            "rewritten. Correct the labels in the source."
        )
    for path in sorted(raw.rglob("*")):
        if path.is_file() and path not in _written(source):
            _copy(path, out / path.relative_to(raw))
    if source.tables:
        source_tables = sources.read_tables(source, cache, detect=False)
        for path, source_table in zip(source.tables, source_tables, strict=True):
            _write_table(path, source_table, out / path.relative_to(raw), assignment)
    else:
        _write_splits(source, assignment, cache, out)
    return repairs


def _assign(inspection: Inspection, plan: RepairPlan) -> tuple[_Assignment, tuple[str, ...]]:
    dropped, repairs = set(plan.drop), []
    for slug, reason in _REPAIRS.items() if plan.repair else ():
        more = set(inspection.issues[slug].names) - dropped
        dropped |= more
        if more:
            repairs.append(f"{len(more)} {'row' if len(more) == 1 else 'rows'} {reason} left out")
    samples = inspection.samples
    split_of = {each.name: each.split for each in samples if each.split} | dict(plan.move)
    people = {
        each.person: split_of[each.name]
        for each in samples
        if each.person and each.name in split_of
    }
    return _Assignment(split_of, dropped, people, plan.relabel), tuple(repairs)


def _written(source: GestureSource) -> set[Path]:
    """Files that are not simply copied."""
    photos = [] if source.tables else [photo.path for photo in source.photos]
    return {*source.tables, *photos, *([source.splits_file] if source.splits_file else [])}


def _write_table(
    path: Path, source_table: SourceTable, target: Path, assignment: _Assignment
) -> None:
    columns, lines = table.open_table(path)
    rows = zip(source_table.rows, lines, strict=True)
    staying = [(row, cells) for row, (_, cells) in rows if row.name not in assignment.dropped]
    if not staying:
        return
    header, positions = _repaired_header(columns)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row, cells in staying:
            values = [*cells, *[""] * len(header)][: len(header)]
            values[positions["split"]] = assignment.of(row)
            values[positions[ROW_NAME]] = row.name
            if "label" not in columns.roles or assignment.labels:  # numbers become their names
                values[positions["label"]] = assignment.labels.get(row.name, row.label)
            writer.writerow(values)


def _repaired_header(columns: Columns) -> tuple[list[str], Mapping[str, int]]:
    """The header with columns for label, split and old name, and their positions."""
    header = list(columns.header or columns.default_header())
    positions = dict(columns.roles)
    for key in ("label", "split", ROW_NAME):
        if key not in positions:
            positions[key] = len(header)
            header.append(key)
    return header, positions


def _write_splits(source: GestureSource, assignment: _Assignment, cache: Path, out: Path) -> None:
    """Photos that stay, and the list of all hands with their splits."""
    photo_paths = {photo.name: photo.path for photo in source.photos}
    target = out / SPLITS_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "split"])
        for row in _hands(source, cache):
            stays = row.name not in assignment.dropped
            name = _relabelled(row, assignment, out) if photo_paths else row.name
            if stays and photo_paths:
                _copy(photo_paths[row.name], out / name)
            if stays or not photo_paths:
                writer.writerow([name, assignment.of(row) if stays else EXCLUDED])
        writer.writerows(
            [name, EXCLUDED] for name in ([] if photo_paths else sources.excluded_names(source))
        )


def _relabelled(row: SourceRow, assignment: _Assignment, out: Path) -> str:
    """The path of a photo, in the folder of its new label if it has one."""
    if row.name not in assignment.labels:
        return row.name
    path = PurePosixPath(row.name)
    old, new = labels.normalize_spelling(row.label), assignment.labels[row.name]
    folders = [new if labels.normalize_spelling(each) == old else each for each in path.parts[:-1]]
    moved = PurePosixPath(*folders, path.name)
    while (out / moved).exists():
        moved = moved.with_stem(f"{moved.stem}_")
    return moved.as_posix()


def _hands(source: GestureSource, cache: Path) -> Iterator[SourceRow]:
    for source_table in sources.read_tables(source, cache, detect=False):
        yield from source_table.rows


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
