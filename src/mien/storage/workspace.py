"""The folder tree of an installation: where each stage writes its results.

    data/raw/<task>/               versions of raw data, see `storage/versions`
    data/checked/<task>/<key>/     the check report of a version
    data/cache/<task>/             results of single files by their content; may be deleted
    data/processed/<task>/<key>/   what the trainer reads, and the data report
    models/<task>/trained/<key>/   one bundle for each candidate and variant, not yet measured
    models/<task>/pulled/<key>/    bundles of public pretrained models
    models/<task>/evaluated/<key>/ the same bundles with metrics, figures and card
    models/<task>/versions/<n>/    bundles of the registry, served from here
    models/<task>/aliases.json     the registry's aliases, for servers without a tracker
    models/<task>/shadow.json      the version that answers beside the champion, if any
    reports/<task>/                the newest reports and figures, for people
    mlflow.db, mlruns/             runs and registry
    predictions.db                 the prediction log: answers, and feedback on them
    review/<task>/                 encrypted inputs that wait for people, and the labels they gave

A stage's folder is named by a key of all its inputs. It is written under a temporary name and
renamed at the end: a folder with its final name is complete, and the stage can be skipped.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mien.config import SchemaT
from mien.errors import MienError, RegistryError
from mien.storage.files import atomic_write, is_temporary, locked, sha256_file, write_json
from mien.storage.registry import read_registry

_log = logging.getLogger(__name__)
CHAMPION = "champion"
EXPORT_CONTENTS = "export.json"
"""In an export: the list of its models; a folder that has it may be replaced by the next export."""
MANIFEST = "bundle.json"
"""In a bundle: its manifest, whose SHA-256 is the digest of the bundle."""
WORK = "work"
"""Beside trained bundles: what a trainer stores to resume; never part of a bundle."""
DATA = "data.txt"
"""Beside trained bundles: the name of the prepared data that they were trained on."""
VARIANTS = "variants.json"
"""Beside trained bundles: the candidates without variants, and the reasons."""
SWEEPS = "sweeps"
"""In a task's models: sweeps, each with its own lock."""
REPORT = "report.json"
"""Beside prepared data: the data report."""
DATA_QUALITY = "data_quality.json"
"""Beside the report of a check: what an evaluation reads of it."""
DETAILS = "details"
"""Beside evaluated bundles: what a report shows of each candidate, with pictures of the data."""
RESULT = "evaluation.json"
"""Beside evaluated bundles: the leaderboard and the policy's choice."""


def model_name(task: str) -> str:
    """Name of a task's registered model."""
    return f"mien-{task}"


@dataclass(frozen=True)
class Workspace:
    """The folder tree of one installation; a folder is made when something is written to it."""

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

    def pulled(self, task: str) -> Path:
        return self.models(task) / "pulled"

    def evaluated(self, task: str) -> Path:
        return self.models(task) / "evaluated"

    def version(self, task: str, number: int) -> Path:
        return self.models(task) / "versions" / str(number)

    def exported_versions(self, task: str) -> list[int]:
        """Numbers of the versions whose bundles are here, newest first."""
        folders = self.version(task, 0).parent.glob("*")
        names = [folder.name for folder in folders if folder.is_dir()]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def reports(self, task: str) -> Path:
        return self.home / "reports" / task

    @property
    def prediction_log(self) -> Path:
        """The default file of a server's prediction log."""
        return self.home / "predictions.db"

    @property
    def review(self) -> Path:
        """Inputs that a server keeps for review, where its settings say so."""
        return self.home / "review"

    @property
    def database(self) -> Path:
        """Runs and registry in MLflow."""
        return self.home / "mlflow.db"

    def aliases(self, task: str) -> dict[str, int]:
        """Aliases of the registered model: `champion`, `challenger`.

        Those of MLflow where its database is here, else as last exported. Only a version counts
        whose bundle MLflow names, see `is_registered`, and no champion that was set in MLflow's
        page and is not trusted; see `stages/register`.

        Raises:
            RegistryError: there is no database, and the export cannot be read.
        """
        registry = read_registry(self.database, model_name(task))
        if registry is None:
            return self.exported_aliases(task)
        aliases = dict(registry.aliases)
        if aliases.get(CHAMPION) in registry.untrusted:
            del aliases[CHAMPION]
            before = self.exported_aliases(task).get(CHAMPION)
            aliases |= {CHAMPION: before} if before is not None else {}
        return {
            alias: number
            for alias, number in aliases.items()
            if self._holds(task, number, registry.digests.get(number, frozenset()))
        }

    def is_registered(self, task: str, number: int) -> bool:
        """Whether the bundle of a version is the one that MLflow names.

        It is not where somebody else's code registered the version, where the registered model was
        deleted and made again, or where the folder was altered. Without MLflow's database every
        version counts, and so does one whose bundle is not here.
        """
        registry = read_registry(self.database, model_name(task))
        if registry is None:
            return True
        return self._holds(task, number, registry.digests.get(number, frozenset()))

    def _holds(self, task: str, number: int, digests: Set[str]) -> bool:
        manifest = self.version(task, number) / MANIFEST
        return bool(digests) and (not manifest.is_file() or sha256_file(manifest) in digests)

    def exported_aliases(self, task: str) -> dict[str, int]:
        """The aliases in `aliases.json`.

        Raises:
            RegistryError: the file exists and cannot be read.
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
        """The first of these tasks that has a champion, and the champion's version; warns if
        others have one, too.

        Raises:
            RegistryError: none of them has one.
        """
        versions = {task: self.aliases(task).get(CHAMPION) for task in tasks}
        champions = [(task, number) for task, number in versions.items() if number is not None]
        if champions:
            (task, number), *rest = champions
            if rest:
                names = " or ".join(name for name, _ in rest)
                _log.warning("Using the champion of %s; --task %s uses another.", task, names)
            return task, number
        hints = [
            f"`mien models {task}` gives the reason why a version is not champion. "
            for task in tasks
            if self.exported_versions(task)
        ]
        raise RegistryError(
            f"There is no champion of {' or '.join(tasks)} in {self.home.resolve()}. "
            f"{''.join(hints)}Train one "
            "with `mien run TASK --source PATH`, or name a bundle with --bundle."
        )

    @contextmanager
    def locked(self, task: str) -> Iterator[None]:
        """Let one process at a time change what belongs to a task; others wait with a message.

        Unfinished files of killed processes are removed first: only the holder of the lock writes
        to these folders, so no other process is still working on them.
        """
        waiting = f"Another run of {task} is in progress here; waiting for it."
        with locked(self.models(task) / "lock", waiting):
            self._remove_unfinished(task)
            yield

    def _remove_unfinished(self, task: str) -> None:
        raw = self.raw(task)
        shallow = [raw, raw / "shards", raw / "versions"]
        shallow += [self.checked(task), self.processed(task), self.cache(task)]
        for folder in shallow:
            _remove_temporary(folder, deep=False)  # deeper files came with their whole folder
        for folder in (self.models(task), self.reports(task)):
            _remove_temporary(folder, deep=True)

    def write_aliases(self, task: str, aliases: Mapping[str, int]) -> None:
        path = self.models(task) / "aliases.json"
        write_json(path, dict(aliases), sort_keys=True, indent=None)


def _remove_temporary(folder: Path, deep: bool) -> None:
    for parent, folders, files in os.walk(folder):
        for name in filter(is_temporary, folders):
            shutil.rmtree(Path(parent, name))
        for name in filter(is_temporary, files):
            Path(parent, name).unlink()
        # A sweep has its own lock, and removes its own unfinished files.
        finished = [name for name in folders if not is_temporary(name)]
        folders[:] = [name for name in finished if deep and name != SWEEPS]


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
