"""Promises about images that can be held without building them."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from project import ROOT

API, TRAIN, REGISTRY = (
    ROOT / "dockerfiles" / f"{name}.Dockerfile" for name in ("api", "train", "registry")
)
EVERY = pytest.mark.parametrize("path", [API, TRAIN, REGISTRY], ids=lambda path: path.stem)
Instruction = tuple[str, str]


def stages(path: Path) -> list[list[Instruction]]:
    """The instructions of each stage: keyword and argument, comments gone, lines joined."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: list[list[Instruction]] = []
    for line in text.replace("\\\n", " ").splitlines():
        keyword, _, argument = line.strip().partition(" ")
        if keyword == "FROM":
            found.append([])
        if keyword:
            found[-1].append((keyword, " ".join(argument.split())))
    return found


def service() -> list[Instruction]:
    """The stage that serves a mounted workspace."""
    (found,) = (stage for stage in stages(API) if stage[0][1].endswith(" AS service"))
    return found


def arguments(stage: list[Instruction], keyword: str) -> list[str]:
    return [argument for name, argument in stage if name == keyword]


def probe() -> list[str]:
    """The health check as a command of this machine."""
    (check,) = arguments(service(), "HEALTHCHECK")
    command: list[str] = json.loads(check.partition(" CMD ")[2])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server whose /readyz answers with the status, and whose other addresses with 500."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_the_service_holds_the_serving_lock_and_the_package_alone() -> None:
    """What is copied into it was installed from requirements.txt, with its hashes."""
    *_, packages, last, _ = stages(API)
    installs = re.findall(r"pip install ([^&]*)", " && ".join(arguments(packages, "RUN")))
    locked, own = (install.split() for install in installs)
    assert locked[locked.index("-r") + 1 :] == ["requirements.txt"]
    assert "--require-hashes" in locked
    assert {"--no-index", "--no-deps"} <= set(own)
    assert [copy.split()[0] for copy in arguments(last, "COPY")] == ["--from=packages"]
    assert "pip " not in " ".join(arguments(last, "RUN"))


def test_opencv_is_installed_once_or_in_one_version() -> None:
    """Its two packages write one folder: a service holds none, a training one, tests equal ones."""
    pinned = {
        name: dict(re.findall(r"^(opencv[\w-]+)==(\S+)", text, re.MULTILINE))
        for name in ("requirements.txt", "requirements_train.txt", "requirements_dev.txt")
        for text in [(ROOT / name).read_text(encoding="utf-8")]
    }
    service, training, tests = pinned.values()
    assert list(service) == []
    assert list(training) == ["opencv-python"]
    assert list(tests) == ["opencv-contrib-python", "opencv-python"]
    assert len({*training.values(), *tests.values()}) == 1


def test_the_image_with_models_is_the_service_and_an_export() -> None:
    """It adds nothing else, and runs as the service does; the prediction log needs no volume."""
    (start, *rest) = stages(API)[-1]
    assert start == ("FROM", "service AS model")
    assert rest == [
        ("COPY", "champions /workspace"),
        (
            "ENV",
            "MIEN_PREDICTION_LOG=/tmp/predictions.db "
            "MIEN_PREDICTION_LOG_SPOOL=/tmp/predictions.db-spool",
        ),
    ]
    assert "MIEN_HOME=/workspace" in " ".join(arguments(service(), "ENV"))


@EVERY
def test_images_do_not_run_as_root(path: Path) -> None:
    """The user is a number above 0, as Kubernetes needs it to see that it is not root."""
    (user,) = [user for stage in stages(path) for user in arguments(stage, "USER")]
    assert all(int(number) > 0 for number in user.split(":"))


@EVERY
def test_images_name_no_address(path: Path) -> None:
    """Packages come from wherever the builder's pip looks; only the loopback is spoken to."""
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"\w+://[\w.-]+", text)) <= {"http://127.0.0.1"}
    assert not re.search(r"index-url|find-links|trusted-host|PIP_", text)


@EVERY
def test_images_need_no_newer_builder(path: Path) -> None:
    """The classic builder takes them: no mounts, no heredocs, no frontend of their own."""
    assert not re.search(r"--mount|<<|^# *syntax", path.read_text(encoding="utf-8"), re.MULTILINE)


@EVERY
def test_images_are_built_from_files_that_reach_the_builder(path: Path) -> None:
    """Each file that is copied is there, and .dockerignore lets it through."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    passed = {line[1:] for line in lines if line.startswith("!")}
    copies = [copy for stage in stages(path) for copy in arguments(stage, "COPY")]
    sources = {
        name for copy in copies if not copy.startswith("--from") for name in copy.split()[:-1]
    }
    assert sources <= passed
    exported = {"champions"}  # made by `mien export` before the image
    assert [name for name in sorted(passed - exported) if not (ROOT / name).exists()] == []


def test_what_a_server_recorded_reaches_no_image() -> None:
    """`mien serve --home champions` writes there; the last line that matches counts."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "champions/predictions.db*" in lines[lines.index("!champions") :]


@pytest.mark.parametrize("path", [API, TRAIN], ids=lambda path: path.stem)
def test_the_build_tools_are_all_named(path: Path) -> None:
    """The names picked from the lock are what hatchling needs; one missing would end the build."""
    (listed,) = re.findall(r"/\^\(([\w|-]+)\)==/", path.read_text(encoding="utf-8"))
    named, wanted = set(listed.split("|")), {"hatchling"}
    while more := {name for tool in wanted for name in needs(tool)} - wanted:
        wanted |= more
    assert named - {"editables"} == wanted
    lock = (ROOT / "requirements_dev.txt").read_text(encoding="utf-8")
    assert [name for name in sorted(named) if f"\n{name}==" not in lock] == []


def needs(name: str) -> set[str]:
    wanted = [Requirement(line) for line in metadata.requires(name) or ()]
    return {each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})}


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_whether_the_service_is_ready(status: int, healthy: bool) -> None:
    """It follows PORT, ignores proxies, and fails unless /readyz answers 200."""
    with answering(status) as port:
        environment = {"PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        done = subprocess.run(probe(), env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) is healthy, done.stderr
