"""A team's registry as a team runs it: `mlflow server` on PostgreSQL, with files in S3.

Every step is the command that a person types, in a process of its own where two must race.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import postgresql
import pytest
import requests
import tiny
from command_line import CommandLine
from evaluated import MODEL
from project import ROOT, free_port
from served import Server
from team_server import UNCLOSED, Team, collect, registered, team_server
from waiting import PATIENCE, until

from mien.model import bundle
from mien.model.pulling import pull_version, refresh_champion
from mien.storage.workspace import CHAMPION, Workspace
from mien.tasks.gesture.params import LIKE
from mien.tracking import CHALLENGER, Tracker

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("postgresql"), UNCLOSED]

BUCKET = "registry"
HAND = {"landmarks": [list(point) for point in LIKE]}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    collect()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of moto's server of S3, with an empty bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.put(f"http://{host}:{port}/{BUCKET}", timeout=PATIENCE).raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def address(
    postgresql_server: postgresql.Server, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of `mlflow server`, the only process that knows the database's password and the bucket."""
    postgresql_server.sql("drop database if exists registry with (force)")
    postgresql_server.sql("create database registry")
    store = postgresql_server.url.replace("postgresql:", "postgresql+pg8000:")
    with team_server(
        f"{store.rpartition('/')[0]}/registry",
        tmp_path_factory.mktemp("server"),
        program=True,
        artifacts=f"s3://{BUCKET}/mien",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
        MLFLOW_S3_ENDPOINT_URL=bucket,
    ) as started:
        yield started
    postgresql_server.sql("drop database registry with (force)")


@pytest.fixture
def team(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """Nothing is registered yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return Team.at(address, tmp_path)


def digest(home: Path, number: int) -> str:
    return bundle.read(Workspace(home).version("gesture", number)).digest


def ask(server: Server) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        response = session.post(f"{server.address}/predict/gesture", json=HAND, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def aliases(team: Team) -> dict[str, int]:
    return Tracker(team.bob.home).aliases(MODEL)


def test_the_whole_way_of_a_model_through_a_server(
    team: Team,
    bucket: str,
    tmp_path: Path,
    command_line: CommandLine,
    postgresql_server: postgresql.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Train, register, pull, serve, promote, roll back, replay and reproduce, from two empty
    workspaces; the machine that serves has neither MLflow's address nor the bucket's."""
    ada, config = team.ada.home, str(tiny.write(tmp_path))
    postgresql_server.clear()
    log = {"MIEN_PREDICTION_LOG": postgresql_server.url, "MIEN_REGISTRY_INTERVAL_S": "0.2"}
    (hand := tmp_path / "hand.json").write_text(json.dumps(HAND), encoding="utf-8")

    def mien(*words: str, home: Path = ada, status: int = 0, **environment: str) -> str:
        done = command_line(*words, home=home, **environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    mien("run", config, "--force", "a test")
    assert aliases(team) == {CHAMPION: 1}
    assert not team.ada.database.exists()
    listing = requests.get(f"{bucket}/{BUCKET}?prefix=mien/", timeout=PATIENCE).text
    assert f"model/bundle/{bundle.MANIFEST}" in listing, "the files are in the bucket"

    server, serving = team.server.address, tmp_path / "serving"
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("MLFLOW_TRACKING_URI")
        mien("pull", "gesture", "--registry", server, home=serving)
        assert digest(serving, 1) == digest(ada, 1)
        assert "no alias 'challenger'" in mien(
            "pull", "gesture@challenger", "--registry", server, home=serving, status=1
        )
        follower = Server(
            serving, tmp_path, ("gesture", "--registry", server), free_port(), environment=log
        )
        follower.start()
    try:
        answer = ask(follower)
        assert answer["model"]["version"] == "1"
        mien("run", config, "--set", "seed=1", "--force", "a test", home=team.bob.home)
        assert {1, 2} == {each.number for each in Tracker(ada).versions(MODEL)}
        present = aliases(team)[CHAMPION]
        mien("promote", "gesture", str(3 - present), "--force", "a test")
        until(lambda: ask(follower)["model"]["version"] == str(3 - present))
        mien("rollback", "gesture", "--force", "a test", home=team.bob.home)
        until(lambda: ask(follower)["model"]["version"] == str(present))
        mien("pull", "gesture@champion", "--registry", server, home=tmp_path / "third")
        assert digest(tmp_path / "third", present) == digest(serving, present)
        told = mien("replay", answer["trace_id"], "--input", str(hand), **log)
        assert "the same (confidence within 2e-06)" in told
    finally:
        follower.kill()

    before = Tracker(ada).history(MODEL)
    text = mien("models", "gesture")
    assert [each.after for each in before if each.alias == CHAMPION][-1] == present
    assert all(each.sentence.split(" let ")[0] in text for each in before)
    page = mien("ui", "--no-open")
    assert f"MLflow on {server}" in page
    assert f"{server}/#/experiments/" in page
    told = mien("reproduce", "gesture:1", "--present")
    assert "identical" in told
    assert Tracker(ada).history(MODEL) == before, "a rebuild registers nothing with the team"
    assert len(Tracker(ada).versions(MODEL)) == 2


REGISTRATIONS = """
import json, sys
from pathlib import Path
from mien.errors import RegistryError
from mien.stages import register
from mien.storage.workspace import Workspace
from team_server import train
workspace = Workspace(Path(sys.argv[1]))
for line in sys.stdin:
    name, score, champion = json.loads(line)
    run = train(workspace, name, score, champion and tuple(champion))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print(json.dumps(register.register(run).summary), flush=True)
    except RegistryError as error:
        print(json.dumps(f"refused: {error}"), flush=True)
"""


def test_registrations_at_the_same_moment_have_one_order(team: Team) -> None:
    """Two processes, started together. Where both want to be champion, one is, and the other is
    told whom it has to be compared with; where both become challenger, both have a version and the
    alias names the later one."""
    machines = [
        _start(REGISTRATIONS, each, PYTHONPATH=str(ROOT / "tests")) for each in (team.ada, team.bob)
    ]

    def both(name: str, *scores: float, champion: tuple[int, float] | None = None) -> list[str]:
        for machine, score in zip(machines, scores, strict=True):
            _write(machine, json.dumps([f"{name}-{score}", score, champion]))
        assert [_read(machine) for machine in machines] == ["ready", "ready"]
        for machine in machines:
            _write(machine, "")
        return [json.loads(_read(machine)) for machine in machines]

    def sorted_out(answers: list[str], number: int) -> None:
        """One is champion, the other knows of it."""
        (done,) = (each for each in answers if each.startswith(f"version {number} is champion"))
        (refused,) = (each for each in answers if each != done)
        assert f"Champion {number} was not measured on this run's data" in refused
        assert "run `mien evaluate` again" in refused

    sorted_out(both("first", 0.7, 0.71), 1)
    assert aliases(team) == {CHAMPION: 1}
    sorted_out(both("second", 0.81, 0.82, champion=(1, 0.7)), 2)
    assert aliases(team) == {CHAMPION: 2}
    answers = both("third", 0.5, 0.51, champion=(2, 0.8))
    assert sorted(each.partition(". ")[0] for each in answers) == [
        "version 3 is challenger",
        "version 4 is challenger",
    ]
    assert aliases(team) == {CHAMPION: 2, CHALLENGER: 4}
    for machine in machines:
        machine.communicate(timeout=PATIENCE)
    history = Tracker(team.ada.home).history(MODEL)
    assert [(each.alias, each.before, each.after) for each in history] == [
        (CHAMPION, None, 1),
        (CHAMPION, 1, 2),
        (CHALLENGER, None, 3),
        (CHALLENGER, 3, 4),
    ]
    versions = Tracker(team.ada.home).versions(MODEL)
    assert [each.number for each in versions] == [1, 2, 3, 4]
    for version in versions:
        pull_version("gesture", version.number, team.server, Workspace(team.ada.home / "all"))
    assert team.locks() == []


PROMOTIONS = """
import json, sys
from pathlib import Path
from mien.errors import RegistryError
from mien.stages import register
from mien.storage.workspace import Workspace
workspace, number, rounds = Workspace(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
register.Tracker(workspace.home).versions("mien-gesture")
print("ready", flush=True)
for _ in range(rounds):
    sys.stdin.readline()
    try:
        register.promote("gesture", number, f"by {number}", workspace)
        print(json.dumps(""), flush=True)
    except RegistryError as error:
        print(json.dumps(str(error)), flush=True)
"""
ROUNDS = 6


def test_promotions_at_the_same_moment_have_one_order(team: Team) -> None:
    """Two processes, started together in every round: each success is in the history, the alias is
    that of the last one, and who came too late is told who was first."""
    registered(team.ada, "first", 0.8)
    refresh_champion("gesture", team.server, team.bob)
    registered(team.bob, "second", 0.7, (1, 0.8))
    earlier = len(Tracker(team.ada.home).history(MODEL))
    machines = [
        _start(PROMOTIONS, workspace, str(number), str(ROUNDS))
        for number, workspace in ((1, team.ada), (2, team.bob))
    ]
    assert [_read(machine) for machine in machines] == ["ready", "ready"]
    refused = []
    for _ in range(ROUNDS):
        for machine in machines:
            _write(machine, "")
        answers = [json.loads(_read(machine)) for machine in machines]
        refused += [answer for answer in answers if answer]
        history = Tracker(team.ada.home).history(MODEL)
        assert Tracker(team.bob.home).aliases(MODEL)[CHAMPION] == history[-1].after
    for machine in machines:
        machine.communicate(timeout=PATIENCE)
    assert len(history) - earlier == 2 * ROUNDS - len(refused)
    for message in refused:
        assert "mien-gesture changed while this waited" in message
        assert "let champion name version" in message
    champions = [(each.before, each.after) for each in history if each.alias == CHAMPION]
    for (_, now), (before, _) in pairwise(champions):
        assert before == now, "each change saw the one before it"
    assert team.locks() == []


def _start(
    script: str, workspace: Workspace, *arguments: str, **environment: str
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, str(workspace.home), *arguments]
    pipe, variables = subprocess.PIPE, {**os.environ, **environment}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables)


def _write(machine: "subprocess.Popen[str]", line: str) -> None:
    assert machine.stdin
    machine.stdin.write(f"{line}\n")
    machine.stdin.flush()


def _read(machine: "subprocess.Popen[str]") -> str:
    assert machine.stdout
    return machine.stdout.readline().strip()
