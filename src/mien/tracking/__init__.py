"""Runs and registry in MLflow, on SQLite or a server; the only importer of mlflow.

The rest of mien knows runs as objects with `log` and versions as whole numbers. Nothing here
knows a task, a metric's name or a stage. `entries.py`: what MLflow shows of a run and a model;
`page.py`: its own page; `lock.py`: one change of a model at a time, on a server.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mien.config import settings
from mien.errors import RegistryError
from mien.storage.registry import (
    ARTIFACTS,
    DIGEST,
    HISTORY,
    AliasChange,
    ModelVersion,
    read_registry,
    user_name,
)
from mien.storage.registry_server import bind, from_environment, read_binding
from mien.storage.workspace import CHAMPION, Workspace

from . import deleted, experiments, page
from .client import TrackedRun as TrackedRun
from .client import connect, open_client, registry_errors
from .entries import COMMIT as COMMIT
from .entries import NOTE, SOURCE, USER, remember_run
from .entries import ModelPage as ModelPage
from .entries import TrackedData as TrackedData
from .entries import has_run as has_run
from .entries import run_of as run_of
from .lock import locked

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHALLENGER = "challenger"
COMMITTED = "mien.committed"
"""Tag of a version that was trained with uncommitted changes: the commit that holds them since."""
_LINEAGE = "lineage.json"
"""The artifact of a run that holds what it was made of: MLflow cuts long tags."""
_MODEL = "model"
"""The artifact of a run that a version of the registry refers to: bundle, signature, example."""
BUNDLE_ARTIFACT = f"{_MODEL}/bundle"
_WORK = "mien.work"
_FINISHED = "FINISHED"
_DELETED = (
    "Run {} was deleted in MLflow during its training. Run the same command again: it goes on in a "
    "new run."
)


class Tracker:
    """The runs and the registry of one workspace: its own, or those of its team's server.

    Raises:
        RegistryError: the workspace's registry is a server, which `MLFLOW_TRACKING_URI` lacks.
    """

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._database = Workspace(self._home).database
        self.server = from_environment(settings())
        if self.server is None and (binding := read_binding(self._home)):
            raise RegistryError(
                f"{self._home}: its registry is {binding.server}, and MLFLOW_TRACKING_URI is not "
                "set. Set it to that address, or name another workspace with --home or MIEN_HOME."
            )

    def open(self) -> None:
        """Import MLflow and make its tables where there are none: later calls take no seconds.

        Raises:
            RegistryError: the database is missing where models were registered.
        """
        _ = self._client

    @contextmanager
    def run(
        self,
        task: str,
        candidate: str,
        work: Path,
        params: Mapping[str, Any],
        lineage: Mapping[str, Any],
        data: TrackedData | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        is_new: bool = False,
    ) -> Iterator[TrackedRun]:
        """Open the run of a training, or the one that an interrupted training left in `work`; a
        new one where that was deleted in MLflow, or `is_new`: no training was ever there. MLflow
        gets `lineage` whole, `tags` for searches.

        Raises:
            RegistryError: the experiment was deleted in MLflow.
        """
        run_id = run_of(work) if has_run(work) else ""
        if run_id and self._is_active(run_id):
            self._client.set_tag(run_id, "mien.resumed", "true")
        else:
            run_id = self._start(task, candidate, work, lineage, tags or {}, is_new)
            if data:
                self._client.log_inputs(run_id, data.inputs())
            remember_run(work, run_id)
        first = {"candidate": candidate, **params}
        try:
            with registry_errors():
                with TrackedRun(self._client, run_id, first) as tracked:
                    yield tracked
                self._client.set_terminated(run_id, status=_FINISHED)
        except BaseException as error:
            if self._is_active(run_id):
                self._client.set_terminated(run_id, status="FAILED")
            elif isinstance(error, RegistryError):
                raise RegistryError(_DELETED.format(run_id)) from error
            raise

    @property
    def is_there(self) -> bool:
        """Whether the registry exists: a workspace's own one is made by its first run."""
        return self.server is not None or self._database.is_file()

    @registry_errors()
    def complete(
        self,
        work: Path,
        metrics: Mapping[str, float],
        bundle: Path,
        model: ModelPage,
        description: str,
        folders: Mapping[str, Path] | None = None,
    ) -> None:
        """Add final metrics, the model and a description to the run that was started in `work`.

        Args:
            work: of the run.
            metrics: its final ones.
            bundle: the folder of its bundle.
            model: what the registry shows of the bundle.
            description: of the run, as Markdown.
            folders: further artifacts by name.

        Raises:
            RegistryError: that run was deleted in MLflow.
        """
        run_id = self.log_final(work, metrics, {NOTE: description})
        with TemporaryDirectory(prefix="mien-model-") as folder:
            model.write(Path(folder), run_id)
            self._client.log_artifacts(run_id, folder, _MODEL)
        for name, path in {BUNDLE_ARTIFACT: bundle, **(folders or {})}.items():
            self._client.log_artifacts(run_id, str(path), name)
        if self._client.get_run(run_id).info.status == experiments.RUNNING:  # of a kill
            self._client.set_terminated(run_id, status=_FINISHED)

    @registry_errors()
    def log_final(
        self, work: Path, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None
    ) -> str:
        """Add final metrics and tags to the run that was started in `work`, and return its id;
        raises as `complete`."""
        run_id = run_of(work)
        self._require_run(run_id, work)
        tracked = TrackedRun(self._client, run_id)
        tracked.log(0, metrics)
        tracked.flush(tags)
        return run_id

    @registry_errors()
    def attach(self, work: Path, name: str, folder: Path) -> None:
        """Add a folder to the run that was started in `work`, if that is still in MLflow."""
        run_id = run_of(work)
        if self._is_active(run_id):
            self._client.log_artifacts(run_id, str(folder), name)

    @registry_errors()
    def register(
        self,
        model: str,
        work: Path,
        digest: str,
        tags: Mapping[str, str],
        taken: Callable[[int], bool],
        descriptions: tuple[str, str] = ("", ""),
    ) -> ModelVersion:
        """Return the version that holds this bundle, made now if there is none yet.

        Args:
            model: name of the registered model.
            work: where the run was started that trained the bundle.
            digest: of the bundle.
            tags: of the version.
            taken: whether a number belongs to another bundle: MLflow counts from 1 again where a
                registered model was deleted, and bundles of the deleted one are never overwritten.
            descriptions: of the registered model, and of the version, as Markdown.

        Raises:
            RegistryError: that run was deleted in MLflow.
        """
        versions = [version for version in self.versions(model) if version.digest == digest]
        if versions:
            return versions[0]
        run_id = run_of(work)
        self._require_run(run_id, work)
        if not self._models(model):
            self._client.create_registered_model(model, description=descriptions[0])
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_MODEL}"
        while True:
            named, text = {DIGEST: digest, **tags}, descriptions[1]
            made = self._client.create_model_version(model, source, run_id, named, description=text)
            if not taken(int(made.version)):
                return self._version(made, {})
            self._client.delete_model_version(model, made.version)

    @registry_errors()
    def lineage(self, run_id: str) -> Any:
        """What was recorded of a run when it began, as JSON values."""
        with TemporaryDirectory(prefix="mien-lineage-") as folder:
            path = Path(self._client.download_artifacts(run_id, _LINEAGE, folder))
            return json.loads(path.read_text(encoding="utf-8"))

    @registry_errors()
    def store_bundle(self, run_id: str, bundle: Path) -> None:
        """Replace the files of a run's bundle, if the run is still in MLflow."""
        if self._is_active(run_id):
            self._client.log_artifacts(run_id, str(bundle), BUNDLE_ARTIFACT)

    @contextmanager
    def exclusive(self, model: str, as_seen: bool = False) -> Iterator[None]:
        """Let one machine at a time change a model of a server. A workspace's own registry needs
        no more than `Workspace.locked`.

        Raises:
            RegistryError: another machine takes too long; or, with `as_seen`, it moved an alias
                while this one waited.
        """
        if self.server is None:
            yield
            return
        earlier = self._history_tags(model).keys()
        name = bind(self._home, self.server.address).workspace
        with registry_errors(), locked(self._client, model, f"{name} {self._home}"):
            later = self.history(model)[-1:] if self._history_tags(model).keys() - earlier else []
            if later and as_seen:
                raise RegistryError(
                    f"{model} changed while this waited: {later[0].sentence} Nothing was done. "
                    "`mien models` lists versions and aliases; run the same command again if it "
                    "still makes sense."
                )
            yield

    @registry_errors()
    def set_tag(self, model: str, number: int, tag: str, value: str) -> None:
        """Write a tag of a version; "" takes it away."""
        if value:
            self._client.set_model_version_tag(model, str(number), tag, value)
        elif tag in next(each.tags for each in self.versions(model) if each.number == number):
            self._client.delete_model_version_tag(model, str(number), tag)

    @registry_errors()
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

    @registry_errors()
    def aliases(self, model: str) -> dict[str, int]:
        """Which version each alias names."""
        registry = None if self.server else read_registry(self._database, model)
        if registry is not None:
            return dict(registry.aliases)
        models = self._models(model)
        return {name: int(number) for name, number in models[0].aliases.items()} if models else {}

    @registry_errors()
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

    @registry_errors()
    def history(self, model: str) -> list[AliasChange]:
        """Every move of an alias, oldest first."""
        return [AliasChange.parse(*pair) for pair in self._history_tags(model).items()]

    def _history_tags(self, model: str) -> dict[str, str]:
        models = self._models(model)
        tags = models[0].tags if models else {}
        entry = re.compile(rf"{re.escape(HISTORY)}\.\d+")
        return {name: tags[name] for name in sorted(tags) if entry.fullmatch(name)}

    @registry_errors()
    def comparison(self, task: str | None) -> str:
        """The part of the page's address that compares the candidates of the newest training, of
        one task or of all; "" where nothing was trained."""
        return page.comparison(self._client, _WORK, task)

    def serve_page(self, host: str, port: int, start: str) -> None:
        """Run MLflow's page of this workspace until it is stopped; open `start` in a browser. A
        server has a page of its own."""
        if self.server:
            page.show(start)
            return
        # The tables exist now, and moved paths are corrected.
        page.serve(self._client.tracking_uri, host, port, start)

    @cached_property
    def _client(self) -> "MlflowClient":
        if self.server is None:
            return open_client(self._home, self._database)
        self.server.ping()  # MLflow's client tries for long where no server is
        bind(self._home, self.server.address)
        return connect(self.server.address)

    @property
    def _store(self) -> str:
        """MLflow's name of where runs and registry are."""
        return self.server.address if self.server else f"sqlite:///{self._database}"

    @registry_errors()
    def _start(
        self,
        task: str,
        candidate: str,
        work: Path,
        lineage: Mapping[str, Any],
        tags: Mapping[str, str],
        is_new: bool,
    ) -> str:
        artifacts = None if self.server else (self._home / ARTIFACTS / task).as_uri()
        number = experiments.find_or_create(self._client, task, artifacts, self._store)
        path = self._work_name(work)
        query = f"tags.`{_WORK}` = '{path}'"
        run_id = None if is_new else experiments.left_open(self._client, number, query)
        if run_id is None:
            named = {_WORK: path, USER: user_name(), SOURCE: "mien", **tags}
            run = self._client.create_run(number, run_name=candidate, tags=named)
            run_id = str(run.info.run_id)
        self._client.log_dict(run_id, dict(lineage), _LINEAGE)
        return run_id

    def _work_name(self, work: Path) -> str:
        """The folder of a run for its tag: on a server, two workspaces have the same folders."""
        path = os.path.relpath(work.resolve(), self._home)
        return f"{bind(self._home, self.server.address).workspace}/{path}" if self.server else path

    def _is_active(self, run_id: str) -> bool:
        """Whether the run exists and was not deleted."""
        return deleted.lifecycle(self._client, run_id) == deleted.ACTIVE

    def _require_run(self, run_id: str, work: Path) -> None:
        deleted.require_run(self._client, run_id, work, self._store)

    def _models(self, model: str) -> list[Any]:
        if not self.is_there:
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
