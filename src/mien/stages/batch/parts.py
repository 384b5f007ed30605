"""The parts of a batch: written once, believed only if whole, and closed by one file.

Any number of processes on any number of machines may score parts of one plan. The name of a part
follows from the plan, a name is given to a whole file only and never taken away, and
`_SUCCESS.json` is written when every part is there. Knows neither models nor engines.
"""

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mien.config import Schema
from mien.errors import ConfigError, DataError
from mien.storage import buckets
from mien.storage.buckets import Location, local_copy, matching, write_once
from mien.storage.files import is_temporary, sha256_file

from . import tables
from .plan import PLAN, Plan

COMMIT = "_SUCCESS.json"
_PART = re.compile(r"part-\d{6,}-[0-9a-f]{8}\.\w+")
"""`Plan.part_file`; parts of other programs are named in other ways."""
CHECKS = 16
"""Parts in a bucket that are read at a time."""
MAX_NAMES = 10
"""Missing parts that a message names."""


class PartRecord(Schema):
    """What is known of a whole part."""

    file: str
    rows: int
    failed: int
    size_bytes: int
    sha256: str


class Commit(Schema):
    """The content of `_SUCCESS.json`; the table is these parts in this order, and nothing else."""

    format_version: Literal[1] = 1
    plan: str
    """Digest of the plan."""
    rows: int
    failed: int
    parts: tuple[PartRecord, ...]


def write(
    folder: Location,
    plan: Plan,
    number: int,
    rows: Iterable[dict[str, Any]],
    schema: tables.TableSchema,
    write_table: tables.TableWriter,
) -> PartRecord:
    """Write a part unless it is there, and return what is there.

    Raises:
        DataError: another process wrote something else in its place.
    """
    with write_once(folder / plan.part_file(number)) as temporary:
        write_table(temporary, iter(rows), schema)
    if record := check(folder, plan, number):
        return record
    raise DataError(f"{folder / plan.part_file(number)} was damaged while it was written.")


def check(folder: Location, plan: Plan, number: int) -> PartRecord | None:
    """Read a part and compare its rows with the plan; None if it is absent or damaged."""
    path = folder / plan.part_file(number)
    rows = failed = 0
    try:
        with local_copy(path) as local:
            table = tables.read_back(local, plan.key_column)
            for name, row in zip_longest(plan.names(folder, number), table):
                if row is None or row[0] != name:
                    return None
                rows, failed = rows + 1, failed + row[1]
            return PartRecord(
                file=path.name, rows=rows, failed=failed, size_bytes=local.stat().st_size,
                sha256=sha256_file(local),
            )  # fmt: skip
    except (FileNotFoundError, ValueError, LookupError):
        return None
    except OSError as error:
        if error.errno is None:  # pyarrow's own errors have no number
            return None
        raise  # the fault of the disk or the network, not of the part


def present(folder: Location, plan: Plan, numbers: Iterable[int]) -> dict[int, PartRecord]:
    """The whole parts among these; damaged ones are removed, so that they can be written again."""
    names = buckets.sizes(folder)  # looked at first: another process may write a part just now
    existing = [number for number in numbers if plan.part_file(number) in names]
    records = dict(zip(existing, _checked(folder, plan, existing), strict=True))
    for number, record in records.items():
        if record is None:
            (folder / plan.part_file(number)).unlink(missing_ok=True)
    return {number: record for number, record in records.items() if record}


def missing(folder: Location, plan: Plan) -> list[int]:
    """The numbers of the parts that have no file."""
    names = buckets.sizes(folder)
    return [each for each in range(len(plan.parts)) if plan.part_file(each) not in names]


def commit(folder: Location, plan: Plan) -> Commit:
    """Check every part and write the file that makes them a result.

    Raises:
        DataError: parts are missing or damaged.
    """
    records = _checked(folder, plan, range(len(plan.parts)))
    lacking = [number for number, record in enumerate(records) if record is None]
    if lacking:
        names = ", ".join(map(str, lacking[:MAX_NAMES])) + (" ..." if lacking[MAX_NAMES:] else "")
        raise DataError(
            f"{folder}: expected {len(records)} parts, {len(lacking)} of them are missing or "
            f"damaged: {names}. Run `mien batch` with the same arguments, or these shards, again."
        )
    parts = tuple(record for record in records if record)
    rows, failed = sum(each.rows for each in parts), sum(each.failed for each in parts)
    document = Commit(plan=plan.digest, rows=rows, failed=failed, parts=parts)
    with write_once(folder / COMMIT) as temporary:
        temporary.write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for path in _temporary(folder):
        path.unlink(missing_ok=True)
    return document


def committed(folder: Location, plan: Plan) -> Commit | None:
    """The commit of the plan; None if there is none.

    Raises:
        DataError: it is damaged, or a part has not the size that it says.
    """
    path = folder / COMMIT
    if not path.exists():
        return None
    try:
        document = Commit.model_validate(json.loads(path.read_text(encoding="utf-8")))
        sizes = buckets.sizes(folder)
        wrong = [part.file for part in document.parts if sizes.get(part.file) != part.size_bytes]
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path}: expected a commit and its parts, found {error}.") from None
    if document.plan != plan.digest or wrong:
        raise DataError(f"{path} does not describe this folder{': ' if wrong else ''}{wrong[:1]}.")
    return document


def require_own(folder: Location) -> None:
    """Refuse a folder with files that no batch wrote.

    Raises:
        ConfigError: there are such files.
    """
    if (folder / PLAN).exists() or not folder.is_dir():
        return
    if strange := [path.name for path in matching(folder, "[!_.]*")]:
        raise ConfigError(
            f"{folder} was not written by `mien batch`: it has {strange[0]}. Give another --out."
        )


def remove(folder: Location) -> None:
    """Delete what a batch wrote, the commit first and the plan last; nothing without a plan: other
    programs name their files alike."""
    if not (folder / PLAN).exists():
        return
    parts = [path for path in matching(folder, "part-*-*") if _PART.fullmatch(path.name)]
    lists = matching(folder / "_plan", "list-*.jsonl")
    for path in [folder / COMMIT, *parts, *_temporary(folder), *lists, folder / PLAN]:
        path.unlink(missing_ok=True)


def _checked(folder: Location, plan: Plan, numbers: Iterable[int]) -> list[PartRecord | None]:
    """`check` of these, several at a time where a network is in between."""
    if isinstance(folder, Path):
        return [check(folder, plan, number) for number in numbers]
    with ThreadPoolExecutor(CHECKS) as pool:
        return list(pool.map(lambda number: check(folder, plan, number), numbers))


def _temporary(folder: Location) -> Iterator[Path]:
    """What killed processes left; in a bucket, they leave nothing."""
    if isinstance(folder, Path):
        yield from (path for path in folder.rglob(".*") if is_temporary(path.name))
