"""Promises of `mien doctor`: checks pass on a sound installation and fail on a broken one."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from command_line import CommandLine
from project import ROOT

from mien.config import Settings
from mien.errors import ProgramError
from mien.stages import doctor
from mien.stages.doctor import compose_file, programs
from mien.stages.doctor.checks import DOCTOR_CHECKS
from mien.stages.doctor.contract import DoctorCheck, Finding, ok
from mien.storage.workspace import EXPORT_CONTENTS

from .cases import BROKEN, GCLOUD, Break, Case, removed

CHECKS = {check.slug: check for check in DOCTOR_CHECKS}
BREAKS = [
    pytest.param(slug, apply, text, id=f"{slug}-{number}")
    for slug, ways in BROKEN.items()
    for number, (apply, text) in enumerate(ways)
]
HEAVY = ("fastapi", "matplotlib", "mlflow", "onnxruntime", "sklearn", "torch", "uvicorn")


class _Clock(BaseHTTPRequestHandler):
    """Answers 404 with the time of a clock, as Google does at this address."""

    ahead = timedelta()

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)

    def log_message(self, *arguments: object) -> None:
        """Write no log."""


def answering(ahead: timedelta) -> Iterator[str]:
    handler = type("Clock", (_Clock,), {"ahead": ahead})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def google() -> Iterator[str]:
    yield from answering(timedelta())


@pytest.fixture
def late_google() -> Iterator[str]:
    yield from answering(timedelta(hours=1))


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, google: str) -> Case:
    return Case(tmp_path, monkeypatch, google)


def examined(slug: str, case: Case, **changes: object) -> doctor.DoctorResult:
    (result,) = doctor.examine(case.installation(**changes), [CHECKS[slug]])
    return result


@pytest.mark.parametrize("slug", CHECKS)
def test_a_sound_installation_passes(slug: str, case: Case) -> None:
    """No check raises an alarm, for any target."""
    for target in ("local", "compose", "cloud-run"):
        result = examined(slug, case, target=target)
        assert result.state in ("ok", "skipped"), result
    assert result.state == "ok" or slug == "port"


def test_every_check_has_a_way_to_fail() -> None:
    """Except two that need a socket and the environment; they have tests of their own."""
    assert set(CHECKS) - set(BROKEN) == {"port", "settings"}


@pytest.mark.parametrize(("slug", "apply", "text"), BREAKS)
def test_a_broken_installation_fails(slug: str, apply: Break, text: str, case: Case) -> None:
    """What is wrong is in the text, with what to do about it."""
    result = examined(slug, case, **apply(case))
    assert result.state in ("warning", "failed"), result
    assert text in result.text
    assert result.remedy or ". " in result.text


def test_an_export_needs_no_database(case: Case) -> None:
    """It is a workspace for serving; its models are not a registry that was lost."""
    removed("home/mlflow.db")(case)
    (case.home / EXPORT_CONTENTS).write_text("{}")
    result = examined("database", case, target="local")
    assert (result.state, "an export" in result.text) == ("skipped", True)


def test_a_wrong_clock_is_seen_at_google(case: Case, late_google: str) -> None:
    """An hour late: Google would refuse every token."""
    result = examined("clock", case, google=late_google)
    assert (result.state, "-3600 s" in result.text or "-3599 s" in result.text) == ("failed", True)


@pytest.mark.parametrize("target", ["local", "compose"])
def test_a_taken_port_is_a_warning(target: str, case: Case) -> None:
    """Of the service, and of the stack as Compose reads it from the file .env."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (case.project / ".env").write_text(f"GRAFANA_PORT='{port}'\n")
        settings = Settings.model_construct(port=port)
        result = examined("port", case, target=target, settings=settings)
    assert (result.state, str(port) in result.text) == ("warning", True)


def test_an_unreadable_environment_is_a_failed_check(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other checks run all the same, with the defaults."""
    monkeypatch.setenv("PORT", "eighty")
    (result,) = doctor.examine(doctor.installation(case.project, None), [CHECKS["settings"]])
    assert (result.state, "PORT" in result.text) == ("failed", True)


def test_what_nobody_needs_is_no_alarm(case: Case) -> None:
    """Without Docker, gcloud, lock files and stack, an installation serves and trains."""
    removed("bin/docker", "bin/gcloud")(case)
    shutil.rmtree(case.project)
    case.project.mkdir()
    results = doctor.examine(case.installation(target="local", image=None))
    assert {each.state for each in results} == {"ok", "skipped"}, results


FOREIGN = """
services:
  web:
    build: {context: ., args: }
    ports: ["8080", "6000-6001:6000-6001", "127.0.0.1:PORT:80/tcp", {target: 81, published: 82}]
    volumes: ["./web:/web:ro", "cache:/cache", /scratch]
    tmpfs: /tmp
  worker:
"""


def test_files_of_another_program_are_no_alarm(case: Case) -> None:
    """A project of a user's own may have a Compose file and requirements in any of their forms."""
    shutil.rmtree(case.project)
    case.project.mkdir()
    (case.project / "requirements.txt").write_text("requests>=2\n./mien.whl[train]\nnumpy\n")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        (case.project / "docker-compose.yml").write_text(FOREIGN.replace("PORT", port))
        results = doctor.examine(case.installation(target="local", image=None))
        assert {each.state for each in results} == {"ok", "skipped"}, results
        assert f"port {port} " in examined("port", case, target="compose").text


def test_volumes_are_read_in_both_forms(case: Case) -> None:
    """The short one is SOURCE:TARGET:OPTIONS; what is mounted read-only cannot be written."""
    (case.project / "docker-compose.yml").write_text(FOREIGN)
    stack = compose_file.read(case.project)
    assert stack is not None
    assert [each.target for each in stack.binds("web")] == [Path("/web")]
    assert stack.writable("web") == [Path("/tmp"), Path("/cache"), Path("/scratch")]


@pytest.mark.parametrize(
    ("slug", "command", "text"),
    [
        ("gcloud_apis", "services list ", "PERMISSION_DENIED: Permission denied to list services"),
        ("gcloud_roles", "projects get-iam-policy ", "[me@example.org] does not have permission"),
    ],
)
def test_an_account_that_may_not_look_is_a_warning(
    case: Case, slug: str, command: str, text: str
) -> None:
    """One that may deploy and nothing else, as that of the workflow, must not fail here."""
    refusal = f'case "$*" in "{command}"*) echo "ERROR: (gcloud) {text}" >&2; exit 1;; esac\n'
    case.program("gcloud", GCLOUD.replace("\n", f"\n{refusal}", 1))
    result = examined(slug, case)
    assert (result.state, text in result.text) == ("warning", True)


def test_a_secret_is_named_without_its_value(case: Case) -> None:
    """The output of a check may end in a log that others read."""
    arguments = "context: .\n      args: [API_TOKEN=hunter2]"
    case.edit("docker-compose.yml", "context: .", arguments)
    result = examined("build_secrets", case)
    assert "API_TOKEN" in result.text
    assert "hunter2" not in result.text


def test_a_program_that_hangs_is_ended_without_process_groups(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr(os, "killpg")
    sleep = shutil.which("sleep", path=os.defpath)
    case.program("docker", f"#!/bin/sh\nexec {sleep} 600\n")
    with pytest.raises(ProgramError, match="did not end within"):
        programs.output("docker", "version", limit_s=0.1)


def test_a_check_that_hangs_ends_as_a_warning(case: Case) -> None:
    """The others have their results; the command does not wait longer than its limit."""
    sleep = shutil.which("sleep", path=os.defpath)
    case.program("docker", f"#!/bin/sh\n{sleep} 600\n")
    checks = [CHECKS["docker"], CHECKS["compose"], DoctorCheck("quick", "", lambda _: ok("done"))]
    results = doctor.examine(case.installation(limit_s=0.3), checks)
    assert [each.state for each in results] == ["warning", "warning", "ok"]
    with pytest.raises(ProgramError, match="did not end within"):
        programs.output("docker", "version", limit_s=0.1)


def test_a_mistake_in_a_check_is_not_hidden(case: Case) -> None:
    """Only errors that the user can fix become findings."""

    def find(subject: object) -> Finding:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        doctor.examine(case.installation(), [DoctorCheck("mistake", "", find)])


def test_the_command_prints_a_table_or_json(command_line: CommandLine, tmp_path: Path) -> None:
    """Each check with its state; the exit status says whether one failed."""
    broken = ("--project", str(tmp_path), "--for", "compose")
    told = command_line("doctor", *broken, home=tmp_path, COLUMNS="80")
    assert told.returncode == 1
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert [slug for slug in CHECKS if f"\n{slug} " not in told.stdout] == []
    parsed = command_line("doctor", *broken, "--json", home=tmp_path)
    states = {each["slug"]: each["state"] for each in json.loads(parsed.stdout)}
    assert (parsed.returncode, list(states), states["grafana"]) == (1, list(CHECKS), "failed")
    sound = command_line("doctor", home=tmp_path)
    assert "failed" not in sound.stdout.split()
    assert sound.returncode == 0
    wrong = command_line("doctor", "--for", "cloudrun", home=tmp_path)
    assert "Did you mean 'cloud-run'?" in wrong.stderr


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    """It must be done before anyone waits."""
    code = (
        "import sys\nfrom mien import cli\nsys.argv = ['mien', 'doctor']\n"
        "try: cli.main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MIEN_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert "python" in done.stdout


def test_the_docs_have_the_table_of_the_checks() -> None:
    """Each check with what it looks at."""
    assert doctor.markdown_table() in (ROOT / "docs/source/doctor.md").read_text(encoding="utf-8")
