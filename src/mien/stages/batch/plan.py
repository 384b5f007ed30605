"""The plan of a batch that is written in parts: which items each part holds, and what scores them.

`_plan/plan.json` is the plan, with one digest over all that it says; `_plan/list-*.jsonl` names
every item with its size and time, one line each, so that a process reads the lines of its part
only: memory does not grow with the number of items. Both are made once and never changed.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from mien.config import Schema
from mien.errors import ConfigError, DataError, MienError, RequestError
from mien.storage import buckets
from mien.storage.buckets import BucketPath, Location, write_once
from mien.task import Task

from . import inputs, scoring
from .inputs import NO_STAMP, BatchInput, BatchItem
from .result import BatchIdentity

PART_ROWS = 512
"""A part is full with so many rows; a multiple of `BATCH_SIZE`, or the last job would be smaller
than in one table, and scores would differ in the last digit."""
PLAN = "_plan/plan.json"
"""Readers of tables, such as pyarrow and Spark, skip names that begin with an underscore."""


class PlannedPart(Schema):
    """Consecutive items, and where the list names them."""

    first: int
    """Items before it."""
    rows: int
    offset: int
    """Bytes of the list before it."""
    digest: str
    """SHA-256 of its lines."""


class Plan(Schema):
    """All that determines the parts; the same on every machine that makes it."""

    format_version: Literal[1] = 1
    identity: BatchIdentity
    key_column: str
    suffix: str
    """Of the parts; their format."""
    fingerprint: str
    """Digest of all names, sizes and times."""
    rows: int
    list_file: str
    parts: tuple[PlannedPart, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return sha256(self.model_dump_json().encode()).hexdigest()

    def part_file(self, number: int) -> str:
        """The name of a part; one of another plan has another name."""
        return f"part-{number:06}-{self.digest[:8]}{self.suffix}"

    @classmethod
    def make(cls, folder: Location, batch_input: BatchInput, base: Location, **about: Any) -> Self:
        """Make the plan and its list, unless another process was faster with the same one.

        Raises:
            ConfigError: files changed meanwhile, or another plan is there.
        """
        list_file = f"_plan/list-{batch_input.fingerprint[:16]}.jsonl"
        with write_once(folder / list_file) as temporary:
            parts = tuple(_write_list(temporary, batch_input, base, about["identity"].sequence))
        plan = cls(
            key_column=batch_input.key_column, fingerprint=batch_input.fingerprint,
            rows=batch_input.count, list_file=list_file, parts=parts, **about,
        )  # fmt: skip
        with write_once(folder / PLAN) as temporary:
            document = {"digest": plan.digest, "plan": plan.model_dump()}
            temporary.write_text(json.dumps(document), encoding="utf-8")
        return plan

    @classmethod
    def read(cls, folder: Location) -> Self | None:
        """The plan of a folder; None if there is none.

        Raises:
            DataError: it is damaged, or of another version of mien.
        """
        path = folder / PLAN
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            plan, digest = cls.model_validate(document["plan"]), document["digest"]
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise DataError(f"{path} cannot be read ({error}). {_AGAIN}") from None
        if plan.digest != digest:
            raise DataError(f"{path}: expected digest {digest}, found {plan.digest}. {_AGAIN}")
        return plan

    def require(self, folder: Location, identity: BatchIdentity, suffix: str) -> None:
        """Refuse a plan of another run.

        Raises:
            ConfigError: it has another identity or format.
        """
        other = identity.difference(vars(self.identity))
        if other is None and suffix != self.suffix:
            other = f"another --format: expected {suffix}, found {self.suffix}"
        if other:
            raise refused(folder, f"belongs to {other}")

    def names(self, folder: Location, number: int) -> Iterator[str]:
        """The names of a part's items."""
        for record in self._records(folder, number):
            yield record[0]

    def _records(self, folder: Location, number: int) -> list[list[Any]]:
        part, last = self.parts[number], number + 1 == len(self.parts)
        end = None if last else self.parts[number + 1].offset
        lines = b""
        with suppress(FileNotFoundError):
            lines = buckets.read_range(folder / self.list_file, part.offset, end)
        if sha256(lines).hexdigest() != part.digest:
            raise DataError(f"{folder / self.list_file} is not the list of the plan. {_AGAIN}")
        return [json.loads(line) for line in lines.splitlines()]


class PlannedItems:
    """Reads the items of parts, and refuses files that are not as the plan lists them."""

    def __init__(self, plan: Plan, folder: Location, source: Location, task: Task[Any]) -> None:
        self.plan, self.folder, self.source, self._task = plan, folder, source, task
        self._rows: Iterator[BatchItem] = iter(())
        self._next: int | None = None
        """The number of the row of a CSV that comes next."""

    def of(self, number: int) -> Iterator[BatchItem]:
        """The items of a part, in order.

        Raises:
            ConfigError: a file has changed since the plan was made.
        """
        records = self.plan._records(self.folder, number)
        if self.plan.key_column == "row":
            yield from self._table_rows(number, records)
            return
        base = base_of(self.source)
        for name, stamp, fault, path in records:
            if fault is not None:
                yield BatchItem(name, stamp, body=RequestError(fault))
                continue
            source = base / (path or name)
            if isinstance(source, Path):  # of an object, the request that reads it asks
                self._require(name, stamp, inputs.stamp_of(source))
            yield BatchItem(name, stamp, source)

    def _table_rows(self, number: int, records: list[list[Any]]) -> Iterator[BatchItem]:
        part, source = self.plan.parts[number], self.source
        assert isinstance(source, Path), "a CSV is on disk"
        if self._next is None or part.first < self._next:
            self._rows, self._next = inputs.table_rows(source, self._task), 0
        rows = islice(self._rows, part.first - self._next, part.first - self._next + part.rows)
        self._next = part.first + part.rows
        now = inputs.stamp_of(source)
        for record, item in zip(records, rows, strict=True):
            self._require(source.name, record[1], now)
            yield item

    def _require(self, name: str, expected: str, now: str) -> None:
        if expected != now:
            size, other = (text.partition(" ")[0] for text in (expected, now))
            raise refused(
                self.folder,
                f"was planned for another version of {name}: expected {size} bytes as of then, "
                f"found {'none' if now == NO_STAMP else other}",
            )


def base_of(source: Location) -> Location:
    """The folder that the names of items are relative to."""
    return source if isinstance(source, BucketPath) or source.is_dir() else source.parent


def refused(folder: Location, reason: str) -> ConfigError:
    """The error for a folder that another run wrote."""
    return ConfigError(f"{folder} {reason}. Give another --out, or --force to replace it.")


def _write_list(
    path: Path, batch_input: BatchInput, base: Location, sequence: bool
) -> Iterator[PlannedPart]:
    """Write a line for each item; a part ends with the job that fills it."""
    first, offset, lines = 0, 0, list[bytes]()
    with path.open("wb") as stream:
        for job in scoring.split(_unchanged(batch_input), sequence):
            lines += [_line(item, base, batch_input.key_column) for item in job]
            if len(lines) < PART_ROWS and first + len(lines) < batch_input.count:
                continue
            text = b"".join(lines)
            stream.write(text)
            digest = sha256(text).hexdigest()
            yield PlannedPart(first=first, rows=len(lines), offset=offset, digest=digest)
            first, offset, lines = first + len(lines), offset + len(text), []


def _unchanged(batch_input: BatchInput) -> Iterator[BatchItem]:
    """The items, once more; they must be those that were counted."""
    state = sha256()
    for item in batch_input.items():
        state.update(inputs.mark(item))
        yield item
    if state.hexdigest() != batch_input.fingerprint:
        raise DataError("Files changed while they were listed. Run the command again.")


def _line(item: BatchItem, base: Location, key_column: str) -> bytes:
    fault = str(item.body) if key_column == "file" and isinstance(item.body, MienError) else None
    path = None
    if isinstance(item.path, Path) and item.path != base / item.name:
        path = os.path.relpath(item.path, str(base))  # the name has escaped bytes
    return json.dumps([item.name, item.stamp, fault, path]).encode() + b"\n"


_AGAIN = "Give another --out, or --force to begin again."
