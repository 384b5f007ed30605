"""Promises of .github/: two linters find nothing; rights, pins and commands are right."""

import copy
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT
from typer.main import get_command
from workflow_runner import Runner

from mien.cli import app

FOLDER = ROOT / ".github"
TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((FOLDER / "workflows").glob("*.yml"))
}
# YAML 1.1 reads the key `on` as true.
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
EACH = pytest.mark.parametrize("name", WORKFLOWS)
LINTERS = {
    "actionlint": [],
    "zizmor": ["--offline", "--no-progress", "--persona=auditor", "--no-config"],
}
WRITING = {
    ("train.yml", "comment", "pull-requests"),
    ("train.yml", "train", "id-token"),
    ("deploy.yml", "deploy", "id-token"),
}
"""The jobs that may write, and what; `id-token` is the right to ask for an identity."""
NO_IDENTITY_OF_A_FORK = "github.event.pull_request.head.repo.full_name == github.repository"


def lint(linter: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a linter over the folder .github of a project; without a network and its config."""
    program = Path(sys.executable).with_name(linter)
    if not program.exists():
        pytest.skip(f"NO {linter}: its package has no wheel for this system, workflows unchecked")
    files = sorted(str(path) for path in (folder / ".github" / "workflows").glob("*.yml"))
    dependabot = [str(folder / ".github" / "dependabot.yaml")] if linter == "zizmor" else []
    return subprocess.run(
        [str(program), *LINTERS[linter], *files, *dependabot],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("linter", LINTERS)
def test_linters_find_nothing(linter: str) -> None:
    """Neither mistakes nor holes, in the strictest form."""
    done = lint(linter, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


FLAWS = {
    "a key that does not exist": ("actionlint", "timeout-minutes:", "timeout-minute:"),
    "an unknown context": ("actionlint", "matrix.python }}", "matrix.py }}"),
    "an action by its tag": (
        "zizmor",
        "checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "checkout@v7",
    ),
    "credentials that stay": ("zizmor", "persist-credentials: false", "fetch-depth: 1"),
    "a right to write": ("zizmor", "contents: read", "contents: write"),
    "a text of others in a shell": (
        "zizmor",
        "run: python3 tasks.py test\n",
        'run: echo "${{ github.event.pull_request.title }}"\n',
    ),
}


@pytest.mark.parametrize(("linter", "old", "new"), FLAWS.values(), ids=list(FLAWS))
def test_linters_find_flaws(linter: str, old: str, new: str, tmp_path: Path) -> None:
    """They would stop a pull request that brings one in."""
    shutil.copytree(FOLDER, tmp_path / ".github")
    path = tmp_path / ".github" / "workflows" / "ci.yml"
    assert old in TEXTS["ci.yml"]
    path.write_text(TEXTS["ci.yml"].replace(old, new, 1), encoding="utf-8")
    assert lint(linter, tmp_path).returncode != 0


@EACH
def test_what_linters_do_not_see(name: str) -> None:
    """Rights, pins, limits of time, and which commands run."""
    assert list(problems(name, WORKFLOWS[name], TEXTS[name])) == []


def problems(name: str, workflow: dict[Any, Any], text: str) -> Iterator[str]:
    """What is wrong with a workflow beyond what linters know."""
    if workflow.get("permissions") not in ({}, {"contents": "read"}):
        yield "more than reading at the top"
    if {"pull_request_target", "workflow_run"} & set(workflow[True]):
        yield "code of others would run with the rights of this repository"
    for job_name, job in workflow["jobs"].items():
        yield from job_problems(name, job_name, job)
    for used in re.findall(r"uses: (.*)", text):
        if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used):
            yield f"not pinned by commit, with its version: {used}"


def job_problems(name: str, job_name: str, job: dict[str, Any]) -> Iterator[str]:
    rights = {key for key, value in job.get("permissions", {}).items() if value == "write"}
    for right in rights:
        if (name, job_name, right) not in WRITING:
            yield f"{job_name} may write {right}"
    steps = job["steps"]
    if "pull-requests" in rights and any("checkout" in each.get("uses", "") for each in steps):
        yield f"{job_name} may write to a pull request, and has its code"
    if "timeout-minutes" not in job:
        yield f"{job_name} may run for six hours"
    for step in steps:
        command = step.get("run", "")
        if "${{" in command:
            yield f"{job_name}: an expression in a shell command: {command}"
        if len(command.splitlines()) > 4:
            yield f"{job_name}: a script instead of a recipe: {command}"
        yield from unknown_commands(command)


def unknown_commands(command: str) -> Iterator[str]:
    """Recipes and `mien` commands with options that do not exist."""
    recipes = (ROOT / "tasks.py").read_text(encoding="utf-8")
    for recipe in re.findall(r"tasks\.py ([a-z-]+)", command):
        if f"def {recipe.replace('-', '_')}(" not in recipes:
            yield f"no recipe {recipe}"
    for words in re.findall(r"bin/mien ((?:[a-z][a-z-]* ?)+)([^\n]*)", command):
        names, options = words[0].split(), re.findall(r"--[a-z-]+", words[1])
        found: Any = get_command(app)
        while names and names[0] in getattr(found, "commands", {}):
            found = found.commands[names.pop(0)]
        known = {option for each in found.params for option in each.opts}
        yield from (f"{words[0]} has no {option}" for option in options if option not in known)
        if hasattr(found, "commands"):
            yield f"no command {words[0]}"


Change = Callable[[dict[Any, Any]], object]


def job(workflow: dict[Any, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(workflow["jobs"].values()))
    return first


MISTAKES: dict[str, Change] = {
    "writes everywhere": lambda workflow: workflow.update(permissions={"contents": "write"}),
    "runs code of forks": lambda workflow: workflow[True].update(pull_request_target={}),
    "writes in a job": lambda workflow: job(workflow).update(permissions={"packages": "write"}),
    "has no limit": lambda workflow: job(workflow).pop("timeout-minutes"),
    "runs a script": lambda workflow: job(workflow)["steps"].append({"run": "a\n" * 5}),
    "runs an expression": lambda workflow: job(workflow)["steps"].append({"run": "${{ a }}"}),
    "runs no recipe": lambda workflow: job(workflow)["steps"].append({"run": "tasks.py tst"}),
    "runs no command": lambda workflow: job(workflow)["steps"].append({"run": "bin/mien dctr"}),
    "takes no option": lambda workflow: job(workflow)["steps"].append(
        {"run": "bin/mien doctor --fro local"}
    ),
}


@pytest.mark.parametrize("change", MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_are_found(change: Change) -> None:
    """Each is one problem of a workflow that has none."""
    workflow = copy.deepcopy(WORKFLOWS["ci.yml"])
    change(workflow)
    assert len(list(problems("ci.yml", workflow, TEXTS["ci.yml"]))) == 1
    unpinned = TEXTS["ci.yml"].replace(" # v7.0.1", "", 1)
    assert len(list(problems("ci.yml", WORKFLOWS["ci.yml"], unpinned))) == 1


def test_an_action_has_one_version() -> None:
    """In all workflows, that of `mien init` too, to which Dependabot proposes nothing."""
    template = ROOT / "src/mien/stages/scaffold/project/workflow.yml"
    texts = "\n".join([*TEXTS.values(), template.read_text(encoding="utf-8")])
    pins = set(re.findall(r"uses: (\S+)@(.*)", texts))
    assert len({action for action, _ in pins}) == len(pins)


def test_tests_run_on_every_supported_python() -> None:
    """The classifiers of the package, which `mien doctor` goes by, are the matrix of CI."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [line.rpartition(" ")[2] for line in project["classifiers"]]
    assert WORKFLOWS["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    assert project["requires-python"] == f">={versions[0]}"
    page = (ROOT / "docs/source/github.md").read_text(encoding="utf-8")
    assert [version for version in versions if f"| {version} |" not in page] == []


def test_trainings_are_those_of_the_params() -> None:
    """All of them, when data or configs change; forks get neither identity nor comment."""
    workflow = WORKFLOWS["train.yml"]
    runs = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["runs"]
    assert workflow["jobs"]["train"]["strategy"]["matrix"]["run"] == list(runs)
    paths = workflow[True]["pull_request"]["paths"]
    assert {"dvc.lock", "params.yaml", "**/configs/*.yaml"} == set(paths)
    assert [run["file"] for run in runs.values() if "/configs/" not in run["file"]] == []
    login = next(each for each in workflow["jobs"]["train"]["steps"] if "auth@" in str(each))
    for condition in (login["if"], workflow["jobs"]["comment"]["if"]):
        assert NO_IDENTITY_OF_A_FORK in condition


def test_pictures_of_the_data_stay_where_they_are() -> None:
    """An artifact of a public repository is public."""
    steps = WORKFLOWS["train.yml"]["jobs"]["train"]["steps"]
    uploads = [each["with"] for each in steps if "upload-artifact" in each.get("uses", "")]
    paths = {each["name"].partition("-")[0]: each["path"] for each in uploads}
    assert (set(paths), paths["champions"]) == ({"report", "champions"}, "champions")
    for path in paths["report"].split("\n"):
        assert not path or path.endswith((".yaml", ".md", "evaluation.json"))


DEPLOYED = "mien deploy cloud-run --service mien --region europe-west1"


@pytest.mark.parametrize(
    ("fail", "cancel", "ends"),
    [
        ("", "", "deploy"),
        ("mien deploy cloud-run --service mien --region europe-west1 --image", "", "rollback"),
        ("", "deploy", "rollback"),
        ("push ", "", "nothing"),
        ("", "push", "nothing"),
    ],
    ids=["well", "deployment fails", "is cancelled in it", "push fails", "is cancelled before"],
)
def test_a_deployment_that_does_not_end_well_is_undone(
    fail: str, cancel: str, ends: str, tmp_path: Path
) -> None:
    """By the same command as `mien deploy` has for people; only where one had begun."""
    job = WORKFLOWS["deploy.yml"]["jobs"]["deploy"]
    values = {"GCP_REGION": "europe-west1", "GCP_PROJECT": "project", "GCP_SERVICE": "mien"}
    contexts = {f"vars.{name}": value for name, value in values.items()}
    runner = Runner(tmp_path, contexts | {"inputs.canary": "5,100"})
    calls = runner.run(job, fail=fail.removeprefix("mien "), cancel=cancel)
    deployments = [call for call in calls if call.startswith("mien deploy")]
    image = f"--image region-docker.pkg.dev/project/mien/mien@sha256:{7:064d}"
    deployed = f"{DEPLOYED} {image} --canary 5,100 --home champions"
    undone = "mien deploy cloud-run --rollback --service mien --region europe-west1"
    expected = {"deploy": [deployed], "rollback": [deployed, undone], "nothing": []}
    assert deployments == expected[ends], calls
    (exported,) = (number for number, call in enumerate(calls) if call.startswith("mien export"))
    assert calls[exported + 1].startswith("docker build"), "an image of champions listed together"


def test_deployments_wait_for_each_other() -> None:
    """A second one would take the first for an interrupted one."""
    workflow = WORKFLOWS["deploy.yml"]
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert "GCP_SERVICE" in workflow["concurrency"]["group"]
    steps = workflow["jobs"]["deploy"]["steps"]
    assert "rollback" in steps[-1]["run"], "nothing runs after it"
    login = next(number for number, each in enumerate(steps) if "auth@" in each.get("uses", ""))
    assert "credentials_json" not in str(steps[login]), "a key would be a secret to guard"


def test_only_the_deployment_gets_the_login_of_a_deployment() -> None:
    """The page binds it to an environment, which no job of a pull request has."""
    page = (ROOT / "docs/source/deploy.md").read_text(encoding="utf-8")
    (bound,) = re.findall(r"subject/repo:\$GITHUB_REPOSITORY:environment:(\w+)", page)
    jobs = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    assert [job for job in jobs if job.get("environment")] == [
        WORKFLOWS["deploy.yml"]["jobs"]["deploy"]
    ]
    assert WORKFLOWS["deploy.yml"]["jobs"]["deploy"]["environment"] == bound
    assert set(WORKFLOWS["deploy.yml"][True]) == {"workflow_dispatch"}
    used = set(re.findall(r"vars\.(\w+)", TEXTS["deploy.yml"]))
    assert used == set(re.findall(r"gh variable set (\w+)", page))
