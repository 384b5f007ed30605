"""`mien init` writes a project that works; what its workflow runs, runs."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import mien
from mien import tasks
from mien.errors import ConfigError
from mien.stages import scaffold


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A written project, as the current folder."""
    scaffold.write_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def workflow_commands(project: Path) -> list[str]:
    """What the CI workflow of a project runs."""
    workflow = yaml.safe_load((project / ".github" / "workflows" / "mien.yml").read_text())
    return [step["run"] for step in workflow["jobs"]["train"]["steps"] if "run" in step]


def test_a_project_holds_a_config_of_every_task_and_the_version(project: Path) -> None:
    """The configs are those of mien, and are found by their names."""
    for name in tasks.names():
        assert tasks.configs()[name].resolve() == project / "configs" / f"{name}.yaml"
        assert tasks.run_config(name).task == name
    assert (project / "requirements.txt").read_text() == (
        f"./mien-{mien.__version__}-py3-none-any.whl[train]\n"
    ), "a file: a package of that name on an index would be somebody else's"


def test_what_mien_writes_is_not_committed(project: Path) -> None:
    """Data, models, reports and databases are ignored; configs and the workflow are not."""
    subprocess.run(["git", "init", "--quiet", "."], cwd=project, check=True)
    paths = [
        "data/raw/x",
        "models/gesture/x",
        "reports/x",
        "mlflow.db",
        "predictions.db",
        "build/x",
    ]
    kept = ["configs/gesture.yaml", ".github/workflows/mien.yml", "README.md"]
    done = subprocess.run(
        ["git", "check-ignore", *paths, *kept], cwd=project, capture_output=True, text=True
    )
    assert done.stdout.split() == paths


def test_no_file_is_overwritten(project: Path) -> None:
    """All or nothing; the message names the files."""
    for path in (project / "README.md", project / ".gitignore"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"expected a folder without .*gesture\.yaml"):
        scaffold.write_project(project)
    assert not (project / "README.md").exists()


def test_the_workflow_and_the_readme_name_commands_that_exist(project: Path) -> None:
    from typer.main import get_command

    from mien.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    texts = [(project / "README.md").read_text(), *workflow_commands(project)]
    named = {name for text in texts for name in re.findall(r"(?:^|`)mien ([a-z-]+)", text, re.M)}
    assert {"run", "serve", "predict", "ui"} <= named <= known
