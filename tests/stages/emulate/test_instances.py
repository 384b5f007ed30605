"""Promises of single instances: a process of this machine, and the options of a container."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from command_line import CommandLine

from mien.errors import ProgramError, StackError
from mien.stages.emulate import cloud_run, instances
from mien.stages.emulate.instances import Container, Limits, Process

DOCKER = """#!{python}
import json, os, signal, sys
with open(os.environ["DOCKER_CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
state = {{"Running": "false", "ExitCode": "137", "OOMKilled": "true",
         "StartedAt": "1970-01-01T00:00:05.5Z"}}
answers = {{"create": "c1", "port": "127.0.0.1:4242", "exec": os.environ.get("DOCKER_FILE", "")}}
if sys.argv[1] == "start" and "DOCKER_REFUSES" in os.environ:
    sys.exit("Error response from daemon: no such runtime")
if sys.argv[1] == os.environ.get("DOCKER_HANGS"):
    signal.pause()
if sys.argv[1] == "inspect":
    print(state[sys.argv[3].removeprefix("{{{{.State.").removesuffix("}}}}")])
else:
    print(answers.get(sys.argv[1], ""))
"""
"""A stand-in for the Docker client: writes its arguments down and answers as an engine would."""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in on PATH; gives the file of its calls."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def called(calls: Path) -> list[list[str]]:
    return [json.loads(line) for line in calls.read_text().splitlines()]


def test_a_container_is_limited_and_confined(calls: Path) -> None:
    """CPU, memory without swap, a root that is only read, /tmp in memory, no capabilities."""
    container = Container("image", Limits(0.5, 512), {"K_SERVICE": "mien"}, 8080, ["--network=n"])
    create = called(calls)[0]
    assert {"--cpus=0.5", "--memory=512m", "--memory-swap=512m", "--read-only"} <= set(create)
    assert {"--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(create)
    assert {"--env=PORT=8080", "--env=K_SERVICE=mien", "--network=n"} <= set(create)
    assert create[-1] == "image"
    assert container.address == "http://127.0.0.1:4242"
    assert (container.started_at, container.running) == (5.5, False)


def test_a_container_that_is_killed_is_told_and_removed(calls: Path) -> None:
    """The engine sends SIGTERM, and SIGKILL after the patience of the platform."""
    stopped = Container("image", Limits(), {}, 8080).stop(10.0)
    assert (stopped.killed, stopped.exit_status, stopped.out_of_memory) == (True, 137, True)
    assert ["stop", "--time=10", "c1"] in called(calls)
    assert called(calls)[-1] == ["rm", "--force", "--volumes", "c1"]


def test_a_container_that_does_not_start_is_removed(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the engine's."""
    monkeypatch.setenv("DOCKER_REFUSES", "1")
    with pytest.raises(ProgramError, match=r"`docker start`.*no such runtime"):
        Container("image", Limits(), {}, 8080)
    assert called(calls)[-1] == ["rm", "--force", "--volumes", "c1"]


def test_an_engine_that_does_not_answer_is_not_waited_for(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which command, and what can be done without the engine."""
    monkeypatch.setenv("DOCKER_HANGS", "start")
    monkeypatch.setattr(instances, "ANSWER_S", 0.5)
    with pytest.raises(ProgramError, match=r"`docker start`: expected an answer within 0.5 s"):
        Container("image", Limits(), {}, 8080)


@pytest.mark.parametrize(
    ("content", "cpu_s"),
    [("usage_usec 2500000\nuser_usec 1", 2.5), ("2500000000", 2.5), ("", 0.0)],
    ids=["version 2", "version 1", "none"],
)
def test_cpu_time_is_read_of_either_version_of_control_groups(
    calls: Path, monkeypatch: pytest.MonkeyPatch, content: str, cpu_s: float
) -> None:
    """0 where the container has no such file."""
    monkeypatch.setenv("DOCKER_FILE", content)
    assert Container("image", Limits(), {}, 8080).cpu_s() == cpu_s


def test_a_missing_docker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    """With what can be done without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command_line("emulate", "cloud-run", "--image", "mien-model", home=tmp_path)
    assert done.returncode == 1
    assert "expected the Docker client on PATH, found none" in done.stderr


def test_a_process_that_serves_nothing_ends_with_its_log(tmp_path: Path) -> None:
    """A workspace without a champion: the message of `mien serve` reaches the user."""
    limits = Limits()
    platform = cloud_run.service(limits, [], None, [], cloud_run.Workspace(tmp_path))
    with pytest.raises(StackError, match="There is no champion"):
        _ = platform.instance


@pytest.mark.skipif(sys.platform != "linux", reason="affinity and /proc are Linux's")
def test_a_process_gets_the_cores_of_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And this process keeps its own; memory and CPU time are measured."""
    before = os.sched_getaffinity(0)
    process = Process(tmp_path, Limits(cpus=0.5), {}, 0)
    try:
        assert len(os.sched_getaffinity(process._process.pid)) == 1
        assert os.sched_getaffinity(0) == before
        assert process.peak_memory_mb() > 0
    finally:
        process.stop(10.0)


@pytest.mark.long
def test_the_service_keeps_the_contract_as_a_process(
    served_home: Path, command_line: CommandLine
) -> None:
    """Cold start, load, the size limit and SIGTERM under load, without a lost request."""
    arguments = ("emulate", "cloud-run", "--requests", "20", "--clients", "4", "--json")
    done = command_line(*arguments, home=served_home)
    report = json.loads(done.stdout)
    assert (done.returncode, report["failures"], report["lost"]) == (0, [], 0)
    assert report["cold_start"]["answer_s"] > 0
    assert 50 < report["peak_memory_mb"] < report["memory_limit_mb"]
