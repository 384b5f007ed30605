"""MLflow's real server, as a team starts one, for tests on the loopback interface."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from evaluated import CLEAN, RUN, evaluated
from project import free_port
from waiting import TRAINING_PATIENCE, until

from mien.config import Settings
from mien.stages import Run, register
from mien.stages.register import Registered
from mien.storage.registry_server import RegistryServer
from mien.storage.workspace import WORK, Workspace
from mien.tracking import ModelPage, Tracker

PAGE = ModelPage(
    inputs=[{"type": "string", "name": "file", "required": True}],
    outputs=[{"type": "string", "name": "gesture", "required": False}],
    example={"file": "a.png"},
)
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""MLflow's client leaves its connections to the collector; see `collect`."""


def collect() -> None:
    """Close connections that nobody has any more, in the test that left them."""
    gc.collect()


@dataclass(frozen=True)
class Team:
    """A server and the workspaces of two machines."""

    server: RegistryServer
    ada: Workspace
    bob: Workspace

    @classmethod
    def at(cls, address: str, folder: Path) -> "Team":
        """At a server where nothing is registered any more; `MLFLOW_TRACKING_URI` names it."""
        server = RegistryServer.at(address, Settings(), "MLFLOW_TRACKING_URI")
        client = Tracker(folder / "ada")._client
        for model in client.search_registered_models():
            client.delete_registered_model(model.name)
        return cls(server, Workspace(folder / "ada"), Workspace(folder / "bob"))

    def locks(self) -> list[str]:
        """The locks that are held."""
        names = [each.name for each in Tracker(self.ada.home)._client.search_registered_models()]
        return [name for name in names if name.endswith(".lock")]


def train(
    workspace: Workspace, name: str, score: float, champion: tuple[int, float] | None = None
) -> Run:
    """What a training and an evaluation leave, ready to be registered."""
    evaluated(workspace.home, name, score, champion, code=CLEAN)
    work = workspace.trained("gesture") / name / WORK / "svm"
    folder = workspace.evaluated("gesture") / name / "svm"
    Tracker(workspace.home).complete(work, {}, folder, PAGE, "")
    return Run.resolve(RUN, workspace)


def registered(
    workspace: Workspace, name: str, score: float, champion: tuple[int, float] | None = None
) -> Registered:
    """The same, and its registration."""
    return register.register(train(workspace, name, score, champion))


@contextmanager
def team_server(
    store: str, folder: Path, program: bool = False, artifacts: str = "", **environment: str
) -> Iterator[str]:
    """Its address; runs and registry are in the store, artifacts and log in the folder.

    Args:
        store: address of a database.
        folder: for its log, and its artifacts unless `artifacts` names another store of them.
        program: start `mlflow server`; without it the same application runs in one process, which
            takes a third of the time.
        artifacts: where the server keeps artifacts.
        environment: variables that only the server has, such as the keys of a bucket.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    more |= environment
    artifacts = artifacts or str(folder / "artifacts")
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if program:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
        command += ["--artifacts-destination", artifacts, "--workers", "1", *where]
    else:
        command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", *where]
        more |= {
            "_MLFLOW_SERVER_FILE_STORE": store,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **more}, start_new_session=True
        )
        try:
            until(
                lambda: _answers(address, process),
                (folder / "server.log").read_text,
                TRAINING_PATIENCE,  # its start has two processes import all of MLflow
            )
            yield address
        finally:
            os.killpg(process.pid, 15)  # its workers too
            process.wait()


def _answers(address: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the server ended"
    try:
        with urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
