"""Fixtures that all tests share: the real data, and one finished demo."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from project import REAL, ROOT, Demo, free_port, mien

from mien import tasks
from mien.model import lineage
from mien.model.lineage import CodeState
from mien.storage.workspace import Workspace

# Deadlines measure the machine, not the code; the same examples every time keep CI calm.
settings.register_profile("mien", deadline=None, derandomize=True, max_examples=50)
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
def real_data() -> Path:
    """Real data beside the project; absent on most machines."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: {REAL.name}/ is not beside the project")
    return REAL


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The real demo, once; tests that use it carry the mark `xdist_group("demo")`."""
    home = tmp_path_factory.mktemp("demo")
    done = mien("demo", "--exit", home=home, PORT=str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(home, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def champions(demo: Demo) -> dict[str, Path]:
    """The bundle of each task's champion, as the demo registered it."""
    workspace = Workspace(demo.home)
    numbers = {name: workspace.aliases(name).get("champion") for name in tasks.names()}
    return {name: workspace.version(name, number) for name, number in numbers.items() if number}
