"""Every command of the page on deployment runs, in its order, and undoes what it did."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import ROOT
from waiting import PATIENCE

from mien.stages.deploy import candidate

from .cloud import MIEN, PROJECT, REGION, SERVICE, Cloud, image

PAGE = (ROOT / "docs" / "source" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
_DOCKER = """#!/bin/sh
case "$1" in
build) test -d champions && test -f dockerfiles/api.Dockerfile ;;
push) gcloud auth configure-docker ;;
inspect) echo '{image}' ;;
esac
"""


@pytest.fixture
def shell(empty_project: Cloud, tmp_path: Path) -> "tuple[Path, dict[str, str]]":
    """A project's folder with `mien` and a stand-in for docker on the PATH."""
    for name in ("deploy", "dockerfiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = {
        "gh": '#!/bin/sh\ntest "$1 $2 $4 $6" = "variable set --repo --body" && test -n "$7"',
        "mien": f'#!/bin/sh\nexec {sys.executable} {tmp_path}/mien_.py {empty_project.tasks} "$@"',
        "docker": _DOCKER.format(image=image("good")),
    }
    (tmp_path / "mien_.py").write_text(MIEN)
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return tmp_path, environment


def test_every_command_of_the_page_runs(
    empty_project: Cloud, shell: "tuple[Path, dict[str, str]]"
) -> None:
    """From an empty project to an address that answers, and back to a project with nothing."""
    folder, environment = shell
    *blocks, undo = BLOCKS
    script = "".join(blocks).replace("my-mien-project", PROJECT)
    values = re.search(r"export REGION=(\S+)", script)
    assert values is not None
    assert values[1] == REGION
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"status":"ok"' in done.stdout.replace(" ", ""), "what curl printed"
    assert empty_project.shares[-1] == {"good": 100}
    assert empty_project.read()["services"][SERVICE]["invoker"] == "allUsers"
    assert len(empty_project.read()["resources"]) > len(_left(empty_project))
    variables = f"export PROJECT_ID={PROJECT} REGION={REGION}\n"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", variables + undo],
        cwd=folder,
        env=environment,
        check=True,
    )
    assert empty_project.read()["services"] == {}
    assert empty_project.read()["resources"] == _left(empty_project)


def _left(cloud: Cloud) -> list[str]:
    """What costs nothing: the project itself, and APIs that nobody calls."""
    free = ("projects ", "billing", "api ")
    return [each for each in cloud.read()["resources"] if each.startswith(free)]


def test_each_command_is_there_once() -> None:
    """A reader does nothing twice."""
    lines = [line for line in "".join(BLOCKS).splitlines() if line.strip()]
    assert len(lines) > 25
    assert len(set(lines)) == len(lines)


def test_every_setting_of_the_file_is_explained() -> None:
    """Variables, annotations and limits have a row in the table."""
    text = (ROOT / "deploy" / "cloudrun" / "service.yaml").read_text(encoding="utf-8")
    template = yaml.safe_load(text)["spec"]["template"]
    container = template["spec"]["containers"][0]
    names = [each["name"] for each in container["env"]]
    names += [each.rpartition("/")[2] for each in template["metadata"]["annotations"]]
    names += [each for each in template["spec"] if each != "containers"]
    names += [*container["resources"]["limits"], "startupProbe", "livenessProbe"]
    section = PAGE.partition("## Settings\n")[2].partition("\n## ")[0]
    explained = re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\|([^|]*)\|", section, re.M)))
    assert sorted(explained) == sorted(names)


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    """Requests, shares and limits of the comparison."""
    assert f"It sends {candidate.REQUESTS} requests to each" in PAGE
    assert f"may fail on {100 * candidate.MAX_MORE_ERRORS:g} % more" in PAGE
    assert f"{candidate.MAX_SLOWDOWN:g} times that of the present" in PAGE
    assert f"and {1000 * candidate.SLOWDOWN_S:g} ms longer" in PAGE
    assert candidate.ROUNDS == 3, "the page says `in three rounds`"
