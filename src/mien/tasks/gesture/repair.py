"""Write a source anew, mended as a plan has it: the same files, with every hand's split beside it.

    tables      -> the same columns, a complete column `split`, and `mien_row` with the old name
    photos      -> the same bytes, and `splits.csv`
    annotations -> the same bytes, and `splits.csv`, which also says what is left out

Whatever else a source holds, such as its licence, is copied. Names stay, so that two versions can
be compared hand by hand.
"""

import csv
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError
from mien.task import Inspection, RepairPlan, Split

from . import inspection, sources, splits, table
from .params import Params
from .sources import NONE, SPLITS, Source
from .table import Part, Row

_REPAIRS = {
    inspection.MISSING: "without 63 numbers or without a label",
    inspection.IMPOSSIBLE: "that can be no hand",
    inspection.MIXED: "of another unit than the others of their table",
    inspection.BROKEN: "that cannot be read as photos",
    inspection.HANDLESS: "without a hand that the landmarker finds",
}
"""What is left out of its own accord, by gate."""


@dataclass(frozen=True)
class _Division:
    """Where each hand goes, by name."""

    splits: Mapping[str, Split]
    dropped: Collection[str]
    people: Mapping[str, Split]
    """The split of each person who is in one."""

    def of(self, row: Row) -> Split:
        """That of a hand; one that nobody divided has its own word, or goes with its person."""
        own = self.splits.get(row.name) or splits.read(row.split)
        return own or self.people.get(row.user) or "train"


def repair(raw: Path, out: Path, plan: RepairPlan, params: Params, cache: Path) -> tuple[str, ...]:
    """Write `raw` to `out` as `plan` has it; return what was left out beside the plan.

    Raises:
        DataError: the source cannot be understood, or nothing of it would be left.
    """
    known = inspection.inspect(raw, params, cache)
    division, told = _division(known, plan)
    if all(each.name in division.dropped for each in known.samples):
        raise DataError("nothing would be left of the data; mend the source by hand.")
    source = sources.find(raw, params.ignore_labels)
    for path in sorted(raw.rglob("*")):
        if path.is_file() and path not in _written(source):
            _copy(path, out / path.relative_to(raw))
    if source.tables:
        parts = sources.parts(source, cache, _nobody)
        for path, part in zip(source.tables, parts, strict=True):
            _write_table(path, part, out / path.relative_to(raw), division)
    else:
        _write_splits(source, division, cache, out)
    return told


def _division(known: Inspection, plan: RepairPlan) -> tuple[_Division, tuple[str, ...]]:
    dropped, told = set(plan.drop), []
    for gate, words in _REPAIRS.items() if plan.repair else ():
        more = set(known.faults.get(gate, ())) - dropped
        dropped |= more
        if more:
            told.append(f"{len(more)} {'row' if len(more) == 1 else 'rows'} {words} left out")
    divided = {each.name: each.split for each in known.samples if each.split} | dict(plan.move)
    people = {
        each.person: divided[each.name]
        for each in known.samples
        if each.person and each.name in divided
    }
    return _Division(divided, dropped, people), tuple(told)


def _written(source: Source) -> set[Path]:
    """Files that are not simply copied."""
    photos = [] if source.tables else [photo.path for photo in source.photos]
    return {*source.tables, *photos, *([source.splits] if source.splits else [])}


def _write_table(path: Path, part: Part, target: Path, division: _Division) -> None:
    header = table.columns(path)
    rows = zip(part.rows, table.records(path), strict=True)
    kept = [(row, cells) for row, (_, cells) in rows if row.name not in division.dropped]
    if not kept:
        return
    columns = [*header, *(name for name in ("split", table.NAME) if name not in header)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row, cells in kept:
            given = dict(zip(header, cells, strict=False))
            given |= {"split": division.of(row), table.NAME: row.name}
            writer.writerow([given.get(column, "") for column in columns])


def _write_splits(source: Source, division: _Division, cache: Path, out: Path) -> None:
    """Photos that stay, and the list of all hands with their splits."""
    places = {photo.name: photo.path for photo in source.photos}
    target = out / SPLITS
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "split"])
        for row in _hands(source, cache):
            stays = row.name not in division.dropped
            if stays and places:
                _copy(places[row.name], out / row.name)
            if stays or not places:
                writer.writerow([row.name, division.of(row) if stays else NONE])
        writer.writerows([name, NONE] for name in ([] if places else sources.left_out(source)))


def _hands(source: Source, cache: Path) -> Iterator[Row]:
    for part in sources.parts(source, cache, _nobody):
        yield from part.rows


def _nobody(label: str) -> bool:
    """No photo is to be looked at for its points."""
    return False


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
