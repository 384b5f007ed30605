"""The files of the samples: one for each answer, encrypted, bounded in age and size.

    review/key-check                  a sealed constant that tells a wrong key at the start
    review/<task>/<trace_id>.sample   a sealed sample
    review/<task>/labels.jsonl        what people said, see `labels.py`
    review/deleted/<trace_id>         empty: what is kept of the answer was deleted, and stays so

A trace_id begins with the time, so that neither age nor number of a day needs the key. Servers and
people may use a folder at the same time: a file is whole or absent.
"""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mien.errors import ConfigError, ReviewError
from mien.observability.review.encryption import Cipher
from mien.observability.review.labels import ReviewLabels
from mien.observability.review.sample import ReviewSample
from mien.storage.files import atomic_write, is_temporary

DAY_S = 86_400.0
SAMPLE, DELETED = ".sample", "deleted"
_KEY_CHECK = "key-check"


class ReviewStore:
    """The samples of a workspace, to write and to read with their key."""

    def __init__(self, folder: Path, key: str) -> None:
        """Check the key; the folder is made when something is written to it.

        Raises:
            ConfigError: no key, or another one than that of the samples.
        """
        self.folder = folder
        self._cipher = Cipher(key)
        check = folder / _KEY_CHECK
        if not check.is_file():
            return
        try:
            self._cipher.open(_KEY_CHECK, check.read_bytes())
        except ReviewError:
            raise ConfigError(
                f"MIEN_REVIEW_KEY: expected the key of the samples in {folder}, found another one. "
                "Set that key, or delete the folder with all its samples."
            ) from None

    def add(self, sample: ReviewSample) -> int:
        """Store a sample in place of an earlier one of the same answer; returns its bytes.

        Nothing is stored, and 0 returned, where `forget` has deleted it.

        Raises:
            OSError: it could not be written.
        """
        path = self.folder / sample.task / f"{sample.trace_id}{SAMPLE}"
        deleted = self.folder / DELETED / sample.trace_id
        if deleted.exists():
            return 0
        check = self.folder / _KEY_CHECK
        if not check.exists():
            _write(check, self._cipher.seal(_KEY_CHECK, b""))
        sealed = self._cipher.seal(sample.trace_id, sample.model_dump_json().encode())
        _write(path, sealed)
        if deleted.exists():  # meanwhile
            path.unlink(missing_ok=True)
        return len(sealed)

    def read(self, task: str, trace_id: str) -> ReviewSample:
        """Decrypt one sample.

        Raises:
            ReviewError: there is none, or it cannot be read.
        """
        try:
            sealed = (self.folder / task / f"{trace_id}{SAMPLE}").read_bytes()
        except OSError:
            raise ReviewError(
                f"{trace_id}: expected a sample of {task}, found none. It may have been deleted."
            ) from None
        return ReviewSample.model_validate_json(self._cipher.open(trace_id, sealed))

    def read_all(self, task: str) -> Iterator[ReviewSample]:
        """Every sample of a task, oldest first; one that is deleted meanwhile is left out."""
        for path in paths(self.folder, task):
            if path.exists():
                yield self.read(task, path.stem)

    def labels(self, task: str) -> ReviewLabels:
        """What people said about the samples of a task."""
        return ReviewLabels(self.folder / task / "labels.jsonl")


def tasks(folder: Path) -> list[str]:
    """The tasks that have samples."""
    return sorted({path.parent.name for path in paths(folder)})


def paths(folder: Path, task: str = "*") -> list[Path]:
    """Files of samples, oldest first."""
    files = folder.glob(f"{task}/*{SAMPLE}")
    return sorted((path for path in files if not is_temporary(path.name)), key=lambda it: it.name)


def deleted(folder: Path) -> set[str]:
    """The trace_ids whose samples `forget` deleted, while that is remembered."""
    return {path.name for path in (folder / DELETED).glob("*")}


def size(folder: Path) -> tuple[int, int]:
    """Count of samples, and their bytes."""
    sizes = [state for path in paths(folder) if (state := _size(path)) is not None]
    return len(sizes), sum(sizes)


def count_today(folder: Path, task: str, now: float) -> int:
    """How many samples of a task are of the present day (UTC)."""
    today = datetime.fromtimestamp(now, UTC).date()
    return sum(
        datetime.fromtimestamp(_timestamp(path), UTC).date() == today
        for path in paths(folder, task)
    )


def prune(folder: Path, max_age_days: float, max_size_mb: float, now: float | None = None) -> int:
    """Delete samples beyond the age, and the oldest while all are too large; returns how many."""
    oldest = (time.time() if now is None else now) - max_age_days * DAY_S
    for path in (folder / DELETED).glob("*"):
        if _timestamp(path) < oldest:
            path.unlink(missing_ok=True)
    present = paths(folder)
    excess = sum(_size(path) or 0 for path in present) - max_size_mb * 1e6
    expired = []
    for path in present:
        if _timestamp(path) >= oldest and excess <= 0:
            break
        excess -= _size(path) or 0
        expired.append(path)
    _delete(expired)
    return len(expired)


def forget(folder: Path, trace_id: str) -> list[str]:
    """Delete the sample of an answer and all that people said about it.

    A server that still has it in memory does not store it again.

    Returns:
        Tasks of which something was deleted.
    """
    marks = folder / DELETED
    marks.mkdir(parents=True, exist_ok=True)
    (marks / trace_id).touch(mode=0o600)
    deleted = []
    for task_folder in sorted(each for each in folder.glob("*") if each.is_dir()):
        path = task_folder / f"{trace_id}{SAMPLE}"
        if path.exists() or trace_id in ReviewLabels(task_folder / "labels.jsonl").trace_ids():
            _delete([path])
            deleted.append(task_folder.name)
    return deleted


def _delete(samples: Sequence[Path]) -> None:
    """Delete samples and what people said about them."""
    for path in samples:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in samples}:
        ids = {path.stem for path in samples if path.parent == folder}
        ReviewLabels(folder / "labels.jsonl").forget(ids)


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _timestamp(path: Path) -> float:
    return int(path.stem[:12], 16) / 1000
