"""Fixtures that all tests share: the real data, small trained models, and one finished demo."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgresql
import pytest
import small
from hypothesis import HealthCheck, settings
from once import made_once
from project import REAL, ROOT, Demo, free_port, mien

from mien import tasks
from mien.model import lineage
from mien.model.lineage import CodeState
from mien.storage.workspace import CHAMPION, Workspace
from mien.tracking import Tracker

pytest_plugins = ["command_line", "expensive", "grouped", "offline"]

# Deadlines, and how fast examples are drawn, measure the machine, not the code; the same examples
# every time keep CI calm.
settings.register_profile(
    "mien",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mien")


@pytest.fixture(scope="session", autouse=True)
def committed() -> Iterator[None]:
    """What tests train in this process counts as made from a commit: whether somebody works on
    the project's tree just now must not change what a test finds. Other trees are as they are."""
    found = lineage.commit

    def commit(*arguments: Any, **named: Any) -> CodeState:
        code = found(*arguments, **named)
        dirty = code.dirty and lineage.ROOT == ROOT
        return code.model_copy(update={"dirty": False}) if dirty else code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineage, "commit", commit)
        yield


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty `mlflow.db`: MLflow takes seconds to make its tables. Read only; copy it."""

    def make(home: Path) -> None:
        with Tracker(home).run("empty", "none", home, {}, {}):
            pass

    return made_once(tmp_path_factory, "mlflow-database", make) / "mlflow.db"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """One for all tests of a worker; a test empties it first."""
    with postgresql.running() as server:
        yield server


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data beside the project; absent on most machines."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: {REAL.name}/ is not beside the project")
    return REAL


@pytest.fixture(scope="session")
def drawn_samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The drawn sample of a task with seed 0: hundreds of faces take seconds. Read only."""

    def sample(name: str) -> Path:
        def make(folder: Path) -> None:
            tasks.load(name).data.write_sample(folder, 0)

        return made_once(tmp_path_factory, f"sample-{name}", make)

    return sample


@pytest.fixture(scope="session")
def few_samples(
    drawn_samples: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The same with fewer faces, `small.FACES`, which are enough for most. Read only."""

    def make(folder: Path) -> None:
        from mien.tasks.emotion.sample import write_sample

        write_sample(folder, 0, small.FACES)

    def sample(name: str) -> Path:
        if name != "emotion":
            return drawn_samples(name)
        return made_once(tmp_path_factory, "few-faces", make)

    return sample


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The real demo, once: for its own tests, and for drills, whose thresholds of drift need more
    validation data than the small models have."""

    def make(folder: Path) -> None:
        done = mien("demo", "--exit", "--no-pull", home=folder / "home", PORT=str(free_port()))
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "out.txt").write_text(done.stdout, encoding="utf-8")
        (folder / "err.txt").write_text(done.stderr, encoding="utf-8")

    folder = made_once(tmp_path_factory, "demo", make)
    out, err = ((folder / f"{name}.txt").read_text(encoding="utf-8") for name in ("out", "err"))
    return Demo(folder / "home", out, err)


@pytest.fixture(scope="session")
def small_gesture(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Workspace:
    """A workspace whose champion of gestures was trained in seconds. Read only; copy it."""
    small.require("gesture")

    def make(home: Path) -> None:
        shutil.copy(mlflow_database, home)
        small.train_gesture(home)

    return Workspace(made_once(tmp_path_factory, "small-gesture", make))


@pytest.fixture(scope="session")
def small_models(
    small_gesture: Workspace,
    few_samples: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Workspace:
    """The same with a small detector of faces, which takes torch and longer. Read only; copy it."""
    small.require("emotion")

    def make(home: Path) -> None:
        shutil.copytree(small_gesture.home, home, dirs_exist_ok=True)
        small.train_emotion(home, few_samples("emotion"))

    return Workspace(made_once(tmp_path_factory, "small-models", make))


@pytest.fixture(scope="session")
def drawn_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the emotion task that nobody trained, see `small.draw_detector`."""
    small.require("emotion")
    folder = tmp_path_factory.mktemp("drawn") / "detector"
    small.draw_detector(folder)
    return folder


@pytest.fixture(scope="session")
def fitted_gesture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of gestures that was fitted, not evaluated; see `small.fit_gesture`. Read only."""
    small.require("gesture")

    def make(folder: Path) -> None:
        small.fit_gesture(folder / "bundle", folder / "scratch")

    return made_once(tmp_path_factory, "fitted-gesture", make) / "bundle"


@pytest.fixture(scope="session")
def served_home(
    fitted_gesture: Path, drawn_detector: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A workspace with champions of both tasks, for tests of what a server does with requests: a
    fitted one of gestures, a drawn one of emotions. Read only; copy it."""

    def make(home: Path) -> None:
        for name, folder in (("gesture", fitted_gesture), ("emotion", drawn_detector)):
            shutil.copytree(folder, Workspace(home).version(name, 1))
            Workspace(home).write_aliases(name, {CHAMPION: 1})

    return made_once(tmp_path_factory, "served-home", make)
