"""A Cloud Run on loopback, whose servers run once for all tests of this folder."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from golden_bundle import golden_bundle, softmax_network

from mien import tasks
from mien.model import bundle
from mien.stages.deploy import candidate
from mien.storage.workspace import CHAMPION, Workspace

from .cloud import (
    READY,
    REGION,
    SERVICE,
    Cloud,
    Visitors,
    front,
    image,
    revision,
    write_gcloud,
    write_tasks,
)

TASKS = Path(__file__).parents[1] / "serve" / "folder"
LABELS = ("round", "square", "star")


def _write_workspace(home: Path, trained_by: str) -> Path:
    workspace = Workspace(home)
    folder = workspace.version("shape", 1)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(softmax_network())
    golden_bundle(folder, bundle.describe("shape", LABELS, trained_by, {}))
    workspace.write_aliases("shape", {CHAMPION: 1})
    return home


@pytest.fixture(scope="package")
def _region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    write_gcloud(folder)
    write_tasks(TASKS, folder / "tasks")
    new, old = (_write_workspace(folder / name, name) for name in ("new", "old"))
    cloud = Cloud(folder, folder / "tasks", new)
    with ExitStack() as stack:
        cloud.backends = {"broken": ""}
        cloud.backends["old"] = stack.enter_context(revision(cloud, old, ""))
        cloud.backends["good"] = stack.enter_context(revision(cloud, new, ""))
        for fault in ("slow", "wrong"):
            cloud.backends[fault] = stack.enter_context(revision(cloud, new, fault))
        cloud.front = stack.enter_context(front(cloud))
        yield cloud


@pytest.fixture
def empty_project(_region: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A project without anything; `gcloud` is on the PATH."""
    for name, value in {**_region.environment, "FAULT": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tasks, "__path__", [str(_region.tasks)])
    monkeypatch.delitem(sys.modules, "mien.tasks.shape", raising=False)
    monkeypatch.setattr(candidate, "REQUESTS", 10)
    monkeypatch.setattr(candidate, "ROUNDS", 10)
    _region.begin([])
    return _region


@pytest.fixture
def project(empty_project: Cloud) -> Cloud:
    """The same, set up."""
    empty_project.begin(READY)
    return empty_project


@pytest.fixture
def cloud(project: Cloud) -> Cloud:
    """The same with a service that somebody deployed by hand: LATEST has all traffic."""
    project.gcloud("run", "deploy", SERVICE, f"--region={REGION}", f"--image={image('old')}")
    return project


@pytest.fixture
def visitors(cloud: Cloud) -> Iterator[Visitors]:
    """A client that uses the service during the test."""
    with Visitors(cloud.front) as started:
        yield started


@pytest.fixture
def deploy(command_line: Callable[..., object], _region: Cloud) -> Callable[..., object]:
    """Run `mien deploy cloud-run` in this process."""

    def run(*arguments: str) -> object:
        target = ("--service", SERVICE, "--region", REGION)
        return command_line("deploy", "cloud-run", *target, *arguments, home=_region.home)

    return run
