"""mien works outside of its clone: a wheel in an environment of its own, from an empty folder."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import browser
import pages
import pytest
import requests
import yaml
from html_page import Page, require_self_contained
from project import ROOT, free_port
from waiting import PATIENCE, TRAINING_PATIENCE, until

from mien import tasks
from mien.tasks.gesture.sample import write_sample

pytestmark = pytest.mark.long
UV = Path(sys.executable).with_name("uv")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
QUICK = ("--set", "params.candidates=[logistic_regression]", "--set", "params.cv_folds=2")
QUICK_PARAMS = "candidates: [logistic_regression], cv_folds: 2"


class Installation:
    """An environment with the wheel and what trains gestures, and the seconds of each step."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        venv, wheels = folder / "venv", folder / "wheels"
        self.bin = venv / "bin"
        with self.timed("build"):
            build = ("build", "--wheel", "--no-build-isolation", "--python", sys.executable)
            self._uv(*build, "--out-dir", wheels, ROOT)
        with self.timed("install"):
            self._uv("venv", "--seed", "--python", python, venv)
            lock = ROOT / "requirements_classical.txt"
            self._uv(
                "pip", "install", "--python", self.bin / "python", "--require-hashes", "-r", lock
            )
            (self.wheel,) = wheels.glob("*.whl")
            self._uv("pip", "install", "--python", self.bin / "python", "--no-deps", self.wheel)

    def _uv(self, *arguments: str | Path) -> None:
        done = subprocess.run([UV, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 1)

    def environment(self, **more: str) -> dict[str, str]:
        """Of a user: nothing of the project's own paths, settings or environment."""
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("MIEN_", "PYTHON"))}
        return {**outer, "VIRTUAL_ENV": str(self.bin.parent), "COLUMNS": "80", **more}

    def mien(self, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [self.bin / "mien", *arguments],
            cwd=folder, env=self.environment(), capture_output=True, text=True,
            timeout=TRAINING_PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module", params=PYTHONS)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """The installed wheel; each Python that is on this machine."""
    python = shutil.which(f"python{request.param}") or "false"  # pyenv has names without a Python
    if subprocess.run([python, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {request.param} here")
    return Installation(tmp_path_factory.mktemp("installed"), python)


def user_zip(folder: Path) -> Path:
    """A table of hands as a user would bring it, in a zip."""
    write_sample(folder, 3, 60)
    archive = folder / "hands.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.glob("*.csv"):
            file.write(path, path.name)
    return archive


@contextmanager
def server(installed: Installation, folder: Path) -> Iterator[str]:
    """`mien serve` in a folder; ends with the block."""
    port = free_port()
    process = subprocess.Popen(
        [installed.bin / "mien", "serve"],
        cwd=folder, env=installed.environment(PORT=str(port)), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/readyz") as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError):
        return False


def open_report(path: Path) -> None:
    """As a person does, in a browser where there is one: it shows the candidate, and loads nothing
    from elsewhere."""
    html = path.read_text(encoding="utf-8")
    require_self_contained(html, links=("../check.html",))
    assert "logistic_regression" in Page(html).text
    if browser.binary():
        with browser.running() as chromium, browser.visiting(chromium, path.as_uri()) as visit:
            assert "logistic_regression" in visit.page.locator("body").inner_text()
            assert (visit.errors, visit.foreign) == ([], [])


def test_the_first_hour_from_an_empty_folder(
    installed: Installation, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Install, init, train on a user's zip, open the report, serve, answer; all without torch."""
    with installed.timed("init"):
        installed.mien("init", "mine", folder=tmp_path)
    project = tmp_path / "mine"
    (tmp_path / "data").mkdir()
    archive = user_zip(tmp_path / "data")
    with installed.timed("run"):
        done = installed.mien("run", "gesture", "--source", str(archive), *QUICK, folder=project)
    assert "mien-gesture version 1 is champion" in done.stderr
    report = re.search(r"Report: (\S+\.html)", done.stdout + done.stderr)
    assert report, done.stdout
    with installed.timed("report"):
        open_report(project / report[1])
    tasks.load("gesture").inference.sample_picture().convert("RGB").save(tmp_path / "hand.png")
    with installed.timed("serve"), server(installed, project) as address:
        until(lambda: ready(address), "the server is not ready")
        files = {"file": ("hand.png", (tmp_path / "hand.png").read_bytes())}
        answer = requests.post(f"{address}/predict/gesture", files=files, timeout=PATIENCE)
        page = requests.get(f"{address}/static/swagger-ui-bundle.js", timeout=PATIENCE)
    assert answer.json()["gesture"] == "like"
    assert page.status_code == 200
    for step, seconds in installed.seconds.items():
        record_property(step, f"{seconds} s")


def test_the_workflow_of_a_project_passes(installed: Installation, tmp_path: Path) -> None:
    """Every step that `mien init` writes, in a clone of what is committed. No package is fetched:
    pip installs the wheel alone, over the locked packages; one candidate is trained."""
    project, clone = tmp_path / "project", tmp_path / "clone"
    installed.mien("init", str(project), folder=tmp_path)
    shutil.copy(installed.wheel, project)
    config = project / "configs" / "gesture.yaml"
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    values["params"] = {"candidates": ["logistic_regression"], "cv_folds": 2}
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    commit(project)
    workflow = yaml.safe_load((project / ".github" / "workflows" / "mien.yml").read_text())
    checkout, python, *steps = workflow["jobs"]["train"]["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    subprocess.run(["git", "clone", "--quiet", project, clone], check=True)
    assert python["uses"].startswith("actions/setup-python@")
    assert python["with"]["python-version"] in PYTHONS
    pip = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_FORCE_REINSTALL": "1"}
    out = ""
    for step in steps:
        path = os.pathsep.join([str(installed.bin), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=clone, env=installed.environment(**pip, PATH=path),
            capture_output=True, text=True, timeout=TRAINING_PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out += done.stdout + done.stderr
    assert "Successfully installed mien-" in out
    assert "mien-gesture version 1 is champion" in out
    assert "gesture like" in out


def commit(folder: Path) -> None:
    """Commit all that is not ignored, as the first commit of a project."""
    who = ("-c", "user.name=mien", "-c", "user.email=mien@example.invalid")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "Start")):
        subprocess.run(["git", *command], cwd=folder, check=True)


def test_the_page_on_installation_runs(installed: Installation, tmp_path: Path) -> None:
    """The wheel is built and installed as printed, over packages that are there already; what it
    serves answers. A config of the same name in the user's project makes the training short."""
    build, use = (
        pages.script("own_project.md", first)
        for first in ("python3 tasks.py lint", "pip install 'mien")
    )
    recipe, uv = build.splitlines()
    assert recipe.startswith("python3 tasks.py lint")
    assert Path(shlex.split(uv)[0]) == UV.relative_to(ROOT)
    command = uv.replace(".venv/bin/uv", str(UV)).replace("--out-dir dist", f"--out-dir {tmp_path}")
    quick = f"printf 'task: gesture\nparams: {{{QUICK_PARAMS}}}\n' > configs/gesture.yaml\n"
    use = pages.served(use.replace("cd my_project\n", f"cd my_project\n{quick}"), "mien serve")
    ask = "curl -sSF file=@hand.png http://localhost:8000/predict/gesture\n"
    script = f"(cd {ROOT}\n{command}\n)\n{use}mien picture gesture hand.png\n{ask}"
    path = os.pathsep.join([str(installed.bin), os.environ["PATH"]])
    pip = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_FORCE_REINSTALL": "1"}
    out = pages.run(f"export PATH={path}\n{script}", tmp_path, **pip)
    assert "Successfully installed mien-" in out
    assert "version 1 is champion" in out
    assert '"gesture":"like"' in out.replace(" ", "")


USER = """
from pathlib import Path

import mien
from mien.errors import MienError

reveal_type(mien.load("gesture").predict(Path("hand.jpg")))
reveal_type(mien.run("gesture", source="landmarks.csv", overrides=["seed=1"]).registered.number)
try:
    mien.load(3)
except MienError as error:
    print(error)
mien.load("gesture").predict("hand.jpg").confidence
"""


def test_a_users_checker_sees_the_types(installed: Installation, tmp_path: Path) -> None:
    """mypy, strict, on a program beside the installed wheel: the functions have their types, wrong
    arguments are errors, and the example of the docs has none."""
    (example,) = (each.text for each in pages.blocks("own_project.md", "python"))
    (tmp_path / "example.py").write_text(example)
    (tmp_path / "user.py").write_text(USER.lstrip())
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable"]
    done = subprocess.run(
        [*command, installed.bin / "python", "example.py", "user.py"],
        cwd=tmp_path, env=installed.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()[:-1]]
    assert lines == [
        'note: Revealed type is "mien.task.Prediction"',
        'note: Revealed type is "int"',
        'error: Argument 1 to "load" has incompatible type "int"; expected "str | Path"  '
        "[arg-type]",
        'error: "Prediction" has no attribute "confidence"  [attr-defined]',
    ], done.stdout


def test_what_needs_torch_says_so(installed: Installation, tmp_path: Path) -> None:
    """One message with the command that installs it, and no traceback."""
    done = subprocess.run(
        [installed.bin / "mien", "run", "sample_emotion"],
        cwd=tmp_path, env=installed.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "expected torch, found no such package" in done.stderr
    assert "pip install 'mien[train]'" in done.stderr
    assert "Traceback" not in done.stderr
