"""The recorded samples: a table of the task with label, session and split, whole at every moment.

The file is what import and export share and what the pipeline takes as its source. Each change
writes it again under a temporary name: it stays small, and a kill leaves the state before.
"""

import csv
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path

from mien.errors import RequestError
from mien.storage.files import atomic_write
from mien.task import SPLITS, RecordedSubject, Split

MAX_SAMPLES, MAX_PER_LABEL, MAX_LABELS, MAX_SESSIONS = 2000, 300, 40, 20
MAX_LABEL_LENGTH = 40
_MAX_UNDO = 50
_FACTS = ("label", "session", "split", "handedness", "width", "height")


@dataclass(frozen=True)
class RecordedSample:
    """One subject that was recorded, as a row of the table."""

    label: str
    session: int
    subject: RecordedSubject
    size: tuple[int, int]
    """Width and height of the picture."""

    @property
    def name(self) -> str:
        """Equal for equal samples: neither a picture nor a file is recorded twice."""
        text = f"{self.label}\n{self.session}\n{self.subject.numbers}"
        return sha256(text.encode()).hexdigest()[:16]


class Recording:
    """All samples of a task, in the order of their recording. Several threads may use it."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Read what is there.

        Raises:
            RequestError: the file is no recording.
        """
        self.path, self._columns, self._lock = path, tuple(columns), threading.Lock()
        self._samples: dict[str, RecordedSample] = {}
        self._before: list[tuple[str, dict[str, RecordedSample]]] = []
        if path.is_file():
            self._samples = {each.name: each for each in self._parse(path.read_bytes())}

    @property
    def samples(self) -> tuple[RecordedSample, ...]:
        return tuple(self._samples.values())

    @property
    def undoable(self) -> bool:
        """Whether there is a change of this process that can be undone."""
        return bool(self._before)

    def add(self, samples: Iterable[RecordedSample], step: str) -> int:
        """Add samples that are new; returns how many. Changes of one `step` are undone together.

        Raises:
            RequestError: a label that cannot be one, or more samples than a recording holds.
        """

        def added(present: dict[str, RecordedSample]) -> dict[str, RecordedSample]:
            result = dict(present)
            for each in samples:
                _require_valid(each)
                result.setdefault(each.name, each)
            _require_room(result.values())
            return result

        return self._change(added, step)

    def delete(self, names: Iterable[str], step: str) -> int:
        """Delete samples by their names; returns how many there were."""
        unwanted = frozenset(names)
        return -self._change(
            lambda present: {key: each for key, each in present.items() if key not in unwanted},
            step,
        )

    def undo(self) -> int:
        """Undo the last step; returns by how many samples the recording grew.

        Raises:
            RequestError: there is nothing to undo.
        """
        with self._lock:
            if not self._before:
                raise RequestError("There is nothing to undo.")
            _, before = self._before[-1]
            self._write(before)
            count = len(before) - len(self._samples)
            self._samples = before
            self._before.pop()
            return count

    def text(self) -> str:
        """The recording as it lies in its file."""
        return self._render(self._samples)

    def parse(self, data: bytes) -> list[RecordedSample]:
        """The samples of a file that `text` wrote, or a table with the same columns; a row without
        a session counts for session 1.

        Raises:
            RequestError: it is no such table.
        """
        return self._parse(data)

    def _change(
        self,
        change: Callable[[dict[str, RecordedSample]], dict[str, RecordedSample]],
        step: str,
    ) -> int:
        with self._lock:
            after = change(self._samples)
            count = len(after) - len(self._samples)
            if after.keys() == self._samples.keys():
                return 0
            self._write(after)
            if not self._before or self._before[-1][0] != step:
                self._before = [*self._before[1 - _MAX_UNDO :], (step, self._samples)]
            self._samples = after
            return count

    def _write(self, samples: dict[str, RecordedSample]) -> None:
        with atomic_write(self.path) as temporary:
            temporary.write_text(self._render(samples), encoding="utf-8", newline="")

    def _render(self, samples: dict[str, RecordedSample]) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_FACTS, *self._columns])
        rows = list(samples.values())
        for each, split in zip(rows, splits(rows), strict=True):
            facts = (each.label, each.session, split, each.subject.side, *each.size)
            writer.writerow([*facts, *each.subject.numbers])
        return file.getvalue()

    def _parse(self, data: bytes) -> list[RecordedSample]:
        try:
            rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
            missing = [each for each in ("label", *self._columns) if each not in _names(rows)]
            if missing:
                raise RequestError(
                    f"A recording is a CSV with the columns label and {self._columns[0]} .. "
                    f"{self._columns[-1]}: expected {missing[0]}, found no such column."
                )
            return [self._sample(row, number) for number, row in enumerate(rows, 2)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise RequestError(
                f"A recording is a CSV in UTF-8; it cannot be read: {error}."
            ) from None

    def _sample(self, row: dict[str, str], line: int) -> RecordedSample:
        try:
            numbers = tuple(float(row[name]) for name in self._columns)
            session = int(row.get("session") or 1)
            size = (int(float(row.get("width") or 0)), int(float(row.get("height") or 0)))
        except (TypeError, ValueError, OverflowError):
            raise RequestError(
                f"line {line}: expected numbers in every column of a point."
            ) from None
        if not all(map(isfinite, numbers)):
            raise RequestError(f"line {line}: expected finite numbers.")
        subject = RecordedSubject(numbers, row.get("handedness") or "")
        return RecordedSample(row["label"].strip(), session, subject, size)


def splits(samples: Sequence[RecordedSample]) -> list[Split]:
    """The split of each sample, by session and label.

    Of three sessions or more, the last one is test, the one before it val. Of two, the second one
    is val in its first half and test in the other. One alone is train: it cannot be measured.
    """
    by_label: dict[str, dict[int, list[int]]] = {}
    for index, each in enumerate(samples):
        by_label.setdefault(each.label, {}).setdefault(each.session, []).append(index)
    result: list[Split] = [SPLITS[0]] * len(samples)
    for sessions in by_label.values():
        *_, last = numbers = sorted(sessions)
        if len(numbers) == 2:
            middle = len(sessions[last]) // 2
            held_out = (sessions[last][:middle], sessions[last][middle:])
        elif len(numbers) > 2:
            held_out = (sessions[numbers[-2]], sessions[last])
        else:
            continue
        for split, indices in zip(SPLITS[1:], held_out, strict=True):
            for index in indices:
                result[index] = split
    return result


def _names(rows: "csv.DictReader[str]") -> Sequence[str]:
    return rows.fieldnames or ()


def _require_valid(sample: RecordedSample) -> None:
    label = sample.label
    if not 0 < len(label) <= MAX_LABEL_LENGTH or not label.isprintable() or label != label.strip():
        raise RequestError(
            f"The name of a class: expected 1 to {MAX_LABEL_LENGTH} printable characters."
        )
    if not 1 <= sample.session <= MAX_SESSIONS:
        raise RequestError(f"The session: expected a number from 1 to {MAX_SESSIONS}.")


def _require_room(samples: Iterable[RecordedSample]) -> None:
    counts = Counter(each.label for each in samples)
    if len(counts) > MAX_LABELS:
        raise RequestError(f"A recording holds {MAX_LABELS} classes. Delete one first.")
    if max(counts.values(), default=0) > MAX_PER_LABEL:
        raise RequestError(f"A class holds {MAX_PER_LABEL} samples. Delete some first.")
    if counts.total() > MAX_SAMPLES:
        raise RequestError(f"A recording holds {MAX_SAMPLES} samples. Delete some first.")
