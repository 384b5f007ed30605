"""Where things lie at run time, and how a finished stage differs from an unfinished one.

    data/raw/<task>/               versions of raw data, see `store`
    data/checked/<task>/<key>/     the check report of a version
    data/cache/<task>/             what was slow to find out; may be deleted at any time
    data/processed/<task>/<key>/   what the trainer reads, and the data report
    models/<task>/trained/<key>/   one bundle for each candidate and variant, not yet measured
    models/<task>/evaluated/<key>/ the same bundles with metrics, figures and card
    models/<task>/versions/<n>/    bundles of the registry, served from here
    models/<task>/aliases.json     the registry's aliases, for servers without a tracker
    reports/<task>/                the newest reports and figures, for people
    mlflow.db, mlruns/             runs and registry
    predictions.db                     answers that were given, and what people said of them

A stage's folder is named by a key of all that went into it, is filled under another name and
moved into place at the end: a folder that is there is whole, and the stage can be skipped.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mien.config import SchemaT
from mien.errors import MienError, RegistryError
from mien.storage.files import atomic_write, is_temporary, write_json

_log = logging.getLogger(__name__)
CHAMPION = "champion"
WORK = "work"
"""Beside trained bundles: what a trainer keeps to resume, never part of a bundle."""
DATA = "data.txt"
"""Beside trained bundles: the name of the prepared data that they were trained on."""
VARIANTS = "variants.json"
"""Beside trained bundles: which variants were made of them, and why others were not."""
SWEEPS = "sweeps"
"""Among a task's models: studies of settings, each with a lock of its own."""
REPORT = "report.json"
"""Beside prepared data: what the data stage found in it."""
DATA_QUALITY = "data_quality.json"
"""Beside the report of a check: what an evaluation must know of it."""
RESULT = "evaluation.json"
"""Beside evaluated bundles: the table of all candidates and the policy's choice."""


@dataclass(frozen=True)
class Workspace:
    """The folder tree of one installation; makes no folder before something is written."""

    home: Path

    def raw(self, task: str) -> Path:
        return self.home / "data" / "raw" / task

    def cache(self, task: str) -> Path:
        return self.home / "data" / "cache" / task

    def checked(self, task: str) -> Path:
        return self.home / "data" / "checked" / task

    def processed(self, task: str) -> Path:
        return self.home / "data" / "processed" / task

    def models(self, task: str) -> Path:
        return self.home / "models" / task

    def trained(self, task: str) -> Path:
        return self.models(task) / "trained"

    def evaluated(self, task: str) -> Path:
        return self.models(task) / "evaluated"

    def version(self, task: str, number: int) -> Path:
        return self.models(task) / "versions" / str(number)

    def reports(self, task: str) -> Path:
        return self.home / "reports" / task

    @property
    def prediction_log(self) -> Path:
        """Where a server keeps its answers by default."""
        return self.home / "predictions.db"

    def aliases(self, task: str) -> dict[str, int]:
        """Aliases of the registered model as last exported: `champion`, `challenger`.

        Raises:
            RegistryError: the file is there and cannot be read.
        """
        path = self.models(task) / "aliases.json"
        if not path.is_file():
            return {}
        try:
            return {str(name): int(number) for name, number in json.loads(path.read_text()).items()}
        except (ValueError, TypeError, AttributeError):
            raise RegistryError(
                f"{path} is not readable; write it again with `mien promote {task} VERSION`."
            ) from None

    def champion(self, tasks: Sequence[str]) -> tuple[str, int]:
        """The first of some tasks that has a champion, and the champion's version; it is said
        where others have one too.

        Raises:
            RegistryError: none of them has one.
        """
        known = {task: self.aliases(task).get(CHAMPION) for task in tasks}
        found = [(task, number) for task, number in known.items() if number is not None]
        if found:
            (task, number), *others = found
            if others:
                more = " or ".join(each for each, _ in others)
                _log.warning("The champion of %s answers; --task %s asks another.", task, more)
            return task, number
        waiting = [
            f"`mien models {task}` tells why a version waits. "
            for task in tasks
            if self.aliases(task)
        ]
        raise RegistryError(
            f"There is no champion of {' or '.join(tasks)} in {self.home.resolve()}. "
            f"{''.join(waiting)}Train one "
            "with `mien run configs/TASK.yaml --source PATH`, or name a bundle with --bundle."
        )

    @contextmanager
    def locked(self, task: str) -> Iterator[None]:
        """Let one process at a time change what belongs to a task; others wait and say so.

        What a killed process left half made is removed first: the holder of the lock is the only
        one that writes in these folders, so nobody is at work on it.
        """
        from filelock import FileLock, Timeout

        self.models(task).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.models(task) / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("Another run of %s is going on here; waiting for it.", task)
            lock.acquire()
        try:
            self._sweep(task)
            yield
        finally:
            lock.release()

    def _sweep(self, task: str) -> None:
        raw = self.raw(task)
        kept = (self.checked(task), self.processed(task), self.cache(task))
        for folder in (raw, raw / "shards", raw / "versions", *kept):
            _remove_half_made(folder, deep=False)  # what lies deeper was moved there as a whole
        for folder in (self.models(task), self.reports(task)):
            _remove_half_made(folder, deep=True)

    def write_aliases(self, task: str, aliases: Mapping[str, int]) -> None:
        path = self.models(task) / "aliases.json"
        write_json(path, dict(aliases), sort_keys=True, indent=None)


def _remove_half_made(folder: Path, deep: bool) -> None:
    for parent, folders, files in os.walk(folder):
        for name in filter(is_temporary, folders):
            shutil.rmtree(Path(parent, name))
        for name in filter(is_temporary, files):
            Path(parent, name).unlink()
        whole = [name for name in folders if not is_temporary(name)]
        # A sweep holds a lock of its own, and clears up after itself.
        folders[:] = [name for name in whole if deep and name != SWEEPS]


def write_latest(folder: Path, name: str, target: str) -> None:
    """Record under `name` which of the folders in `folder` was made last."""
    with atomic_write(folder / f"{name}.latest") as temporary:
        temporary.write_text(target + "\n")


def read_latest(folder: Path, name: str, remedy: str) -> Path:
    """Return the folder that `write_latest` recorded.

    Raises:
        MienError: there is none; the message ends with `remedy`.
    """
    path = folder / f"{name}.latest"
    if path.is_file() and (folder / path.read_text().strip()).is_dir():
        return folder / path.read_text().strip()
    raise MienError(f"There is nothing for {name!r} in {folder} yet. {remedy}")


def read_document(schema: type[SchemaT], path: Path, remedy: str) -> SchemaT:
    """Read a JSON document that an earlier stage wrote.

    Raises:
        MienError: it is missing, damaged or of another version of mien; ends with `remedy`.
    """
    try:
        return schema.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MienError(
            f"{path}: expected a document of this version of mien ({reason}). {remedy}"
        ) from None
