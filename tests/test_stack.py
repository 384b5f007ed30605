"""Tests of the container test that need no Docker engine."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from project import ROOT
from waiting import PATIENCE, TRAINING_PATIENCE, until

from mien.stages.monitor import compose as monitored
from stack import compose, trial
from stack.bases import images
from stack.engine import Engine

_PROGRAM = """
import signal, sys, threading
def end(*_):
    print("taken down", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("started", flush=True)
threading.Event().wait()
"""
_TEST = """
import os, signal, sys
from stack.engine import Engine
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
Engine(own=False, environment=dict(os.environ)).run(sys.executable, "-c", sys.argv[1])
"""
_DOCKER = """#!/bin/sh
case "$*" in
  *inspect*) echo '[{"Config": {"Labels": null}}]' ;;
esac
"""
"""An engine that answers and has every image."""


def test_a_program_that_runs_can_take_down_what_it_started() -> None:
    """SIGTERM ends it with the test; a kill would leave its containers."""
    test = [sys.executable, "-c", _TEST, _PROGRAM]
    process = subprocess.Popen(test, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.terminate()
    rest, _ = process.communicate(timeout=PATIENCE)
    assert (rest, process.returncode) == ("taken down\n", 128 + signal.SIGTERM)


def test_the_network_of_single_containers_is_removed(tmp_path: Path) -> None:
    """Also after an error."""
    calls = tmp_path / "calls"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    docker.chmod(0o755)
    engine = Engine(own=False, environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises(KeyError), engine.network() as network:
        raise KeyError
    assert calls.read_text() == f"network create {network}\nnetwork rm {network}\n"


def test_verify_is_asked_about_the_services_of_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those that could not be started, and not without services of another stack."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(Engine, "run", lambda _, *command, **more: commands.append(command))
    started = ("api", *images())
    ports = dict.fromkeys(compose.VARIABLES.values(), "1")
    for services in (started, started[:-1]):
        docker = Engine(own=False, environment={})
        trial._verified(compose.Stack(docker, (), {**ports, "MIEN_HOME": "."}, services))
    whole, less = ([word for word in each if "--without" in word] for each in commands)
    assert (whole, less) == ([], [f"--without={started[-1]}"])
    assert monitored.PORTS.keys() == set(started)


@pytest.mark.long
def test_sigterm_ends_the_test_while_its_sample_is_trained(tmp_path: Path) -> None:
    """Without waiting for the training, of which no process is left."""
    docker, scratch = tmp_path / "docker", tmp_path / "scratch"
    log = scratch / "demo.log"
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "stack", "--only", "kubernetes", "--scratch", str(scratch)],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        until(lambda: log.exists() and "data" in log.read_text(), patience=TRAINING_PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        until(lambda: not _running(process.pid))
        assert not list(scratch.rglob("models/*/versions")), "it was trained to the end"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _running(session: int) -> list[str]:
    """Command lines of a session's processes; one that has ended has none any more."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            number = (folder / "stat").read_text().rpartition(")")[2].split()[3]
            if int(number) == session and (line := (folder / "cmdline").read_text()):
                found.append(line)
    return found
