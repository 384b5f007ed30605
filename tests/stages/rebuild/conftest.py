"""One small champion, trained once, and copies of its workspace to alter."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien import pipeline
from mien.config import RunConfig
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.model.lineage import Lineage
from mien.storage.workspace import Workspace
from mien.tasks.gesture.sample import write_sample

RUN = RunConfig(
    name="tiny",
    task="gesture",
    params={"candidates": ["random_forest"], "trees": 10, "accept_images": False},
)
CSV = "landmarks.csv"


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Workspace:
    """A workspace whose champion of gestures is a small forest."""
    raw = tmp_path_factory.mktemp("raw")
    write_sample(raw, per_label=20)
    workspace = Workspace(tmp_path_factory.mktemp("trained"))
    shutil.copy(mlflow_database, workspace.home)
    run = RUN.model_copy(update={"source": str(raw / CSV)})
    # The code under test may be uncommitted; the version is made champion anyway.
    pipeline.run(run, workspace)
    workspace.write_aliases("gesture", {"champion": 1})
    return workspace


@pytest.fixture
def workspace(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy of that workspace, to be altered."""
    shutil.copytree(trained.home, tmp_path / "home")
    return Workspace(tmp_path / "home")


@pytest.fixture
def rewritten(workspace: Workspace) -> Callable[..., Bundle]:
    """Alter the lineage of the champion's bundle: nested keys with __, as `config__seed`."""

    def rewrite(**changes: Any) -> Bundle:
        folder = workspace.version("gesture", 1)
        manifest = bundle.read(folder).manifest
        lineage = manifest.lineage.model_dump(mode="json")
        for name, value in changes.items():
            inner, *parts = lineage, *name.split("__")
            for part in parts[:-1]:
                inner = inner[part]
            inner[parts[-1]] = value
        return bundle.write(
            folder, manifest.model_copy(update={"lineage": Lineage.model_validate(lineage)})
        )

    return rewrite
