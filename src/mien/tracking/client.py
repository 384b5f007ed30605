"""Opens MLflow's client of a workspace or of a server, and turns its errors into mien's."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from mien.config import settings
from mien.errors import RegistryError
from mien.storage.cache import cache_folder
from mien.storage.files import atomic_write
from mien.storage.registry import refuse_lost, relocate

from .entries import as_text

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

WRITE_INTERVAL_S = 1.0
MAX_METRICS = 1000
"""Of one transaction; MLflow takes no more."""


@contextmanager
def registry_errors() -> Iterator[None]:
    """Turn errors of MLflow, its database and its server into one `RegistryError`."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "sqlalchemy", "requests", "urllib3")):
            raise
        reason = str(error).splitlines()[0][:300]
        if address := settings().tracking_uri:
            raise RegistryError(
                f"The registry {address} cannot do this: {reason} When the server is there again, "
                "run the same command again: it goes on where it ended."
            ) from error
        raise RegistryError(
            f"The registry (mlflow.db) cannot do this: {reason} If the database was deleted or "
            "damaged, bring it back, or move models/ away and train again."
        ) from error


class TrackedRun:
    """An MLflow run that is going on. Steps within `WRITE_INTERVAL_S` are one transaction; the end
    of the context writes the last ones."""

    def __init__(
        self, client: "MlflowClient", run_id: str, params: Mapping[str, Any] | None = None
    ) -> None:
        """Of a run that was started; `params` are written with the first transaction."""
        self._client = client
        self.run_id = run_id
        self._params = params or {}
        self._metrics: list[Metric] = []
        self._written = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Store the metrics of one step; those that are no number are not."""
        from mlflow.entities import Metric

        now = int(datetime.now(UTC).timestamp() * 1000)
        # MLflow stores NaN as 0 and infinity as the largest float.
        finite = {name: float(value) for name, value in metrics.items() if isfinite(value)}
        self._metrics += [Metric(name, value, now, step) for name, value in finite.items()]
        if monotonic() - self._written >= WRITE_INTERVAL_S:
            self.flush()

    def flush(self, tags: Mapping[str, str] | None = None) -> None:
        """Write what was stored since the last transaction, and tags."""
        from mlflow.entities import Param, RunTag

        params = [Param(name, as_text(value)) for name, value in self._params.items()]
        named = [RunTag(name, text) for name, text in (tags or {}).items()]
        for start in range(0, len(self._metrics) or bool(named or params), MAX_METRICS):
            part = self._metrics[start : start + MAX_METRICS]
            more = {} if start else {"tags": named, "params": params}
            self._client.log_batch(self.run_id, metrics=part, **more)
        self._params, self._metrics, self._written = {}, [], monotonic()


_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
_BOUNDED = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # of 7, which take minutes where no server is
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Else files come straight from the bucket, which a client need not reach; then it hangs.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # at the end of every run
}


def connect(address: str) -> "MlflowClient":
    """A client of a server; nothing is asked yet."""
    for name, value in {**_QUIET, **_BOUNDED}.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=address, registry_uri=address)


def open_client(home: Path, database: Path) -> "MlflowClient":
    """A client of a workspace's database, which is made where there is none.

    Raises:
        RegistryError: the database is missing where models were registered.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    from filelock import FileLock
    from mlflow.tracking import MlflowClient
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    home.mkdir(parents=True, exist_ok=True)
    # Two processes that make the tables at once leave one of them with an error.
    with FileLock(database.with_suffix(".lock")):
        if not database.is_file():
            refuse_lost(database, home)
            # A process killed on the way would leave tables that MLflow refuses for good.
            unfinished = database.with_name(".mlflow.db.unfinished")
            for left in home.glob(f"{unfinished.name}*"):
                left.unlink()
            _make(MlflowClient, unfinished)
            unfinished.replace(database)
        relocate(database, home)
        # MLflow remembers the folders of runs by their ids, which a copy of a workspace has, too.
        _artifact_repos_cache.clear()
        return _opened(MlflowClient, database)


def _make(client: "type[MlflowClient]", target: Path) -> None:
    """Make a database with MLflow's tables.

    MLflow makes them by tens of migrations, which take seconds. They are done once for each
    version of MLflow, in the cache folder of the user, and copied from there.
    """
    from filelock import FileLock

    template = cache_folder() / f"mlflow-{version('mlflow-skinny')}.db"
    if not template.is_file():
        try:
            template.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(template.with_suffix(".lock")):
                if not template.is_file():
                    for left in template.parent.glob(f".{template.name}.*"):
                        left.unlink()  # of a killed process: half of the tables
                    with atomic_write(template) as temporary:
                        _migrate(client, temporary)
        except OSError:  # a cache that cannot be written
            return _migrate(client, target)
    shutil.copyfile(template, target)


def _migrate(client: "type[MlflowClient]", database: Path) -> None:
    """Let MLflow make its tables. Its default experiment names the present folder: it is removed,
    and made again when a copy is opened."""
    _opened(client, database)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("delete from experiments")


def _opened(client: "type[MlflowClient]", database: Path) -> "MlflowClient":
    """A client of a database; its tables are made where they are not there."""
    store = f"sqlite:///{database}"
    made = client(tracking_uri=store, registry_uri=store)
    made.search_experiments(max_results=1)
    return made
