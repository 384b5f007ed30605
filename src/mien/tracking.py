"""Runs and registry in MLflow on SQLite; the only importer of mlflow.

The rest of mien knows runs as objects with `log` and versions as whole numbers. Nothing here
knows a task, a metric's name or a stage.
"""

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import RegistryError
from mien.storage.files import atomic_write
from mien.storage.registry import (
    ARTIFACTS,
    DIGEST,
    HISTORY,
    AliasChange,
    ModelVersion,
    read_registry,
    refuse_lost,
    relocate,
)
from mien.storage.workspace import CHAMPION, Workspace

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHALLENGER = "challenger"
COMMITTED = "mien.committed"
"""Tag of a version that was trained with uncommitted changes: the commit that holds them since."""
_LINEAGE = "lineage"
"""Prefix of a run's tags, and the name of its artifact that holds all of it."""
_MAX_TAG = 500
"""Characters of a tag of the lineage: MLflow cuts or refuses long ones, depending on the call."""
_RUN_FILE = "run.txt"
_WORK = "mien.work"
_RUNNING, _FINISHED = "RUNNING", "FINISHED"
_ACTIVE = "active"


@contextmanager
def _registry_errors() -> Iterator[None]:
    """Turn errors of MLflow and its database into one `RegistryError`."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "sqlalchemy")):
            raise
        reason = str(error).splitlines()[0][:300]
        raise RegistryError(
            f"The registry (mlflow.db) cannot do this: {reason} If the database was deleted or "
            "damaged, bring it back, or move models/ away and train again."
        ) from error


class TrackedRun:
    """An MLflow run that is going on."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Store the metrics of one step, in one transaction; those that are no number are not."""
        from mlflow.entities import Metric

        now = int(datetime.now(UTC).timestamp() * 1000)
        # MLflow stores NaN as 0 and infinity as the largest float.
        finite = {name: float(value) for name, value in metrics.items() if isfinite(value)}
        rows = [Metric(name, value, now, step) for name, value in finite.items()]
        self._client.log_batch(self.run_id, metrics=rows)


class Tracker:
    """The runs and the registry of one workspace."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._database = Workspace(self._home).database

    @contextmanager
    def run(
        self,
        task: str,
        candidate: str,
        work: Path,
        params: Mapping[str, Any],
        lineage: Mapping[str, Any],
    ) -> Iterator[TrackedRun]:
        """Open the run of a training, or the one that an interrupted training left in `work`; a
        new one where that was deleted in MLflow.

        Raises:
            RegistryError: the experiment was deleted in MLflow.
        """
        note = work / _RUN_FILE
        run_id = note.read_text().strip() if note.is_file() else ""
        if run_id and self._is_active(run_id):
            self._client.set_tag(run_id, "mien.resumed", "true")
        else:
            run_id = self._start(task, candidate, work, params, lineage)
            with atomic_write(note) as temporary:
                temporary.write_text(run_id + "\n")
        try:
            with _registry_errors():
                yield TrackedRun(self._client, run_id)
                self._client.set_terminated(run_id, status=_FINISHED)
        except BaseException as error:
            if self._is_active(run_id):
                self._client.set_terminated(run_id, status="FAILED")
            elif isinstance(error, RegistryError):
                raise RegistryError(
                    f"Run {run_id} was deleted in MLflow during its training. Run the same "
                    "command again: it goes on in a new run."
                ) from error
            raise

    @_registry_errors()
    def complete(
        self, work: Path, metrics: Mapping[str, float], folders: Mapping[str, Path]
    ) -> None:
        """Add final metrics and artifact folders to the run that was started in `work`.

        Raises:
            RegistryError: that run was deleted in MLflow.
        """
        run_id = run_of(work)
        self._require_run(run_id, work)
        TrackedRun(self._client, run_id).log(0, metrics)
        for name, folder in folders.items():
            self._client.log_artifacts(run_id, str(folder), name)
        # A process that was killed between its last file and its last word left the run open.
        if self._client.get_run(run_id).info.status == _RUNNING:
            self._client.set_terminated(run_id, status=_FINISHED)

    @_registry_errors()
    def register(
        self,
        model: str,
        work: Path,
        digest: str,
        tags: Mapping[str, str],
        taken: Callable[[int], bool],
    ) -> ModelVersion:
        """Return the version that holds this bundle, made now if there is none yet.

        Args:
            model: name of the registered model.
            work: where the run was started that trained the bundle.
            digest: of the bundle.
            tags: of the version.
            taken: whether a number belongs to another bundle: MLflow counts from 1 again where a
                registered model was deleted, and bundles of the deleted one are never overwritten.

        Raises:
            RegistryError: that run was deleted in MLflow.
        """
        versions = [version for version in self.versions(model) if version.digest == digest]
        if versions:
            return versions[0]
        run_id = run_of(work)
        self._require_run(run_id, work)
        if not self._models(model):
            self._client.create_registered_model(model)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/bundle"
        while True:
            made = self._client.create_model_version(
                model, source, run_id, tags={DIGEST: digest, **tags}
            )
            if not taken(int(made.version)):
                return self._version(made, {})
            self._client.delete_model_version(model, made.version)

    @_registry_errors()
    def lineage(self, run_id: str) -> Any:
        """What was recorded of a run when it began, as JSON values."""
        path = Path(self._client.download_artifacts(run_id, f"{_LINEAGE}.json"))
        return json.loads(path.read_text(encoding="utf-8"))

    @_registry_errors()
    def set_tag(self, model: str, number: int, tag: str, value: str) -> None:
        """Write a tag of a version; "" takes it away."""
        if value:
            self._client.set_model_version_tag(model, str(number), tag, value)
        elif tag in next(each.tags for each in self.versions(model) if each.number == number):
            self._client.delete_model_version_tag(model, str(number), tag)

    @_registry_errors()
    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a registered model, oldest first; none if it is not registered."""
        models = self._models(model)
        if not models:
            return []
        aliases: dict[int, list[str]] = {}
        for alias, number in models[0].aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        records = self._client.search_model_versions(f"name = '{model}'", max_results=1000)
        return sorted((self._version(each, aliases) for each in records), key=lambda v: v.number)

    @_registry_errors()
    def aliases(self, model: str) -> dict[str, int]:
        """Which version each alias names."""
        registry = read_registry(self._database, model)
        if registry is not None:
            return dict(registry.aliases)
        models = self._models(model)
        return {name: int(number) for name, number in models[0].aliases.items()} if models else {}

    @_registry_errors()
    def move(self, model: str, alias: str, number: int, action: str, reason: str) -> AliasChange:
        """Let an alias name another version, and record it in the history.

        Raises:
            RegistryError: there is no such version.
        """
        known = [version.number for version in self.versions(model)]
        if number not in known:
            raise RegistryError(f"{model} has no version {number}; it has {known or 'none'}.")
        change = AliasChange.now(action, reason, alias, self.aliases(model).get(alias), number)
        taken = [int(tag.rpartition(".")[2]) for tag in self._history_tags(model)]
        index = max(taken, default=0) + 1  # not their number: people delete tags
        self._client.set_registered_model_alias(model, alias, str(number))
        for other in (CHALLENGER,) if alias == CHAMPION else ():
            if self.aliases(model).get(other) == number:
                self._client.delete_registered_model_alias(model, other)
        entry = json.dumps(vars(change))
        self._client.set_registered_model_tag(model, f"{HISTORY}.{index:06d}", entry)
        return change

    @_registry_errors()
    def history(self, model: str) -> list[AliasChange]:
        """Every move of an alias, oldest first."""
        return [AliasChange.parse(*pair) for pair in self._history_tags(model).items()]

    def _history_tags(self, model: str) -> dict[str, str]:
        models = self._models(model)
        tags = models[0].tags if models else {}
        entry = re.compile(rf"{re.escape(HISTORY)}\.\d+")
        return {name: tags[name] for name in sorted(tags) if entry.fullmatch(name)}

    def serve_page(self, host: str, port: int) -> int:
        """Run MLflow's page of this workspace until it is stopped; return its exit status."""
        store = self._client.tracking_uri  # the tables exist now, and moved paths are corrected
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
        command += ["--host", host, "--port", str(port), "--workers", "1"]
        # Its job runners are for features of MLflow that need a language model.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return subprocess.run(command, env=environment, check=False).returncode

    @cached_property
    def _client(self) -> "MlflowClient":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from filelock import FileLock
        from mlflow.tracking import MlflowClient

        self._home.mkdir(parents=True, exist_ok=True)
        # Two processes that make the tables at once leave one of them with an error.
        with FileLock(self._database.with_suffix(".lock")):
            if not self._database.is_file():
                refuse_lost(self._database, self._home)
                # A process killed on the way would leave tables that MLflow refuses for good.
                unfinished = self._database.with_name(".mlflow.db.unfinished")
                for left in self._home.glob(f"{unfinished.name}*"):
                    left.unlink()
                _opened(MlflowClient, unfinished)
                unfinished.replace(self._database)
            relocate(self._database, self._home)
            return _opened(MlflowClient, self._database)

    @_registry_errors()
    def _start(
        self,
        task: str,
        candidate: str,
        work: Path,
        params: Mapping[str, Any],
        lineage: Mapping[str, Any],
    ) -> str:
        experiment = self._client.get_experiment_by_name(task)
        self._require_active(experiment)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(task, (self._home / ARTIFACTS / task).as_uri())
        )
        relative_path = os.path.relpath(work.resolve(), self._home)
        run_id = self._left_open(number, relative_path)
        if run_id is None:
            texts = {f"{_LINEAGE}.{name}": _text(value) for name, value in lineage.items()}
            tags = {name: text for name, text in texts.items() if len(text) <= _MAX_TAG}
            run = self._client.create_run(
                number, run_name=candidate, tags={**tags, _WORK: relative_path}
            )
            run_id = str(run.info.run_id)
        self._client.log_dict(run_id, dict(lineage), f"{_LINEAGE}.json")
        self._client.log_param(run_id, "candidate", candidate)
        for name, value in params.items():
            self._client.log_param(run_id, name, _text(value))
        return run_id

    def _is_active(self, run_id: str) -> bool:
        """Whether the run exists and was not deleted."""
        return self._lifecycle(run_id) == _ACTIVE

    def _lifecycle(self, run_id: str) -> str | None:
        """`active` or `deleted`; None for a run that the database does not hold."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

        try:
            return str(self._client.get_run(run_id).info.lifecycle_stage)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return None

    def _require_run(self, run_id: str, work: Path) -> None:
        """Raise RegistryError where a run that was started in `work` is not there any more."""
        lifecycle = self._lifecycle(run_id)
        if lifecycle is None:
            raise RegistryError(
                f"Run {run_id} is not in {self._database}: it was deleted for good, or the "
                "database is an older copy. Bring the newer one back, or delete "
                f"{work.parents[1]} and run again, which trains again."
            )
        if lifecycle != _ACTIVE:
            experiment = self._client.get_run(run_id).info.experiment_id
            self._require_active(self._client.get_experiment(experiment))
            restore = self._restore(f"runs restore -r {run_id}")
            raise RegistryError(f"Run {run_id} was deleted in MLflow. {restore}.")

    def _require_active(self, experiment: Any) -> None:
        """Raise RegistryError where an experiment was deleted, and its runs with it."""
        if experiment and experiment.lifecycle_stage != _ACTIVE:
            restore = self._restore(f"experiments restore -x {experiment.experiment_id}")
            raise RegistryError(
                f"The experiment {experiment.name!r} was deleted in MLflow. {restore}."
            )

    def _restore(self, command: str) -> str:
        """How a person undoes a deletion in MLflow."""
        store = f"sqlite:///{self._database}"
        return f"Restore it: `MLFLOW_TRACKING_URI={shlex.quote(store)} mlflow {command}`"

    def _left_open(self, experiment: str, relative_path: str) -> str | None:
        """The run of a process that was killed before it could note the run's name in `work`."""
        query = f"tags.`{_WORK}` = '{relative_path}' and attributes.status = '{_RUNNING}'"
        runs = self._client.search_runs([experiment], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _models(self, model: str) -> list[Any]:
        if not self._database.is_file():
            return []  # asking makes no database
        return list(self._client.search_registered_models(f"name = '{model}'"))

    def _version(self, record: Any, aliases: Mapping[int, list[str]]) -> ModelVersion:
        number = int(record.version)
        tags = dict(record.tags)
        return ModelVersion(
            number=number,
            run_id=record.run_id,
            digest=tags.get(DIGEST, ""),
            aliases=tuple(sorted(aliases.get(number, []))),
            tags=tags,
        )


def _opened(client: "type[MlflowClient]", database: Path) -> "MlflowClient":
    """A client of a database; its tables are made where they are not there."""
    store = f"sqlite:///{database}"
    made = client(tracking_uri=store, registry_uri=store)
    made.search_experiments(max_results=1)
    return made


def run_of(work: Path) -> str:
    """Return the id of the run that was started in `work`."""
    return (work / _RUN_FILE).read_text().strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
