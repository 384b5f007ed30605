"""A team's registry: two workspaces share a real `mlflow server`, one order of changes for both."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from evaluated import MODEL
from project import free_port
from team_server import UNCLOSED, Team, collect, registered, team_server
from waiting import PATIENCE

from mien.cli.registry import models as list_versions
from mien.errors import RegistryError
from mien.model import bundle
from mien.model.pulling import pull_alias, refresh_champion
from mien.stages import register
from mien.stages.rebuild.record import check_record, find_target
from mien.storage.registry import UNTRUSTED, user_name
from mien.storage.workspace import CHAMPION, WORK, Workspace
from mien.tracking import Tracker, lock, run_of

# The server takes five sixths of the processor time of these tests.
pytestmark = [pytest.mark.long, UNCLOSED]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    collect()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder)
    with team_server(f"sqlite:///{folder / 'mlflow.db'}", folder) as started:
        yield started


@pytest.fixture
def team(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """Nothing is registered yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Team.at(address, tmp_path)


def test_two_machines_share_versions_aliases_and_bundles(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    """Register, promote and roll back from either; the other one gets the bundle it lacks."""
    assert registered(team.ada, "first", 0.8).alias == CHAMPION
    refresh_champion("gesture", team.server, team.bob)
    assert bundle.read(team.bob.version("gesture", 1)).digest == _digest(team.ada, 1)
    assert registered(team.bob, "second", 0.7, (1, 0.8)).summary.startswith(
        "version 2 is challenger"
    )
    register.promote("gesture", 2, "a trial", team.ada)
    assert _digest(team.ada, 2) == _digest(team.bob, 2)
    assert register.rollback("gesture", "it was worse", team.bob) == 1
    for workspace in (team.ada, team.bob):
        history = Tracker(workspace.home).history(MODEL)
        assert [(each.action, each.alias, each.after) for each in history] == [
            ("register", "champion", 1),
            ("register", "challenger", 2),
            ("promote", "champion", 2),
            ("rollback", "champion", 1),
        ]
    assert team.bob.aliases("gesture") == {CHAMPION: 1}
    list_versions("gesture", team.ada.home)
    assert "not served" not in capsys.readouterr().out
    assert not team.ada.database.exists()


def test_a_third_machine_pulls_rebuilds_records_and_needs_no_history(
    team: Team, tmp_path: Path
) -> None:
    """The champion's bundle comes through the server; its record is that of the run."""
    registered(team.ada, "first", 0.8)
    third = Workspace(tmp_path / "third")
    pulled = pull_alias("gesture", CHAMPION, team.server, third)
    assert pulled.digest == _digest(team.ada, 1)
    target = find_target("gesture", third)
    assert target.bundle.digest == pulled.digest
    assert "does not record" in check_record(target, third).text


def test_a_champion_that_was_not_measured_is_named(team: Team) -> None:
    """Another machine registered first: the evaluation does not know its champion, and nothing is
    registered until it does."""
    registered(team.ada, "first", 0.8)
    with pytest.raises(RegistryError, match="Champion 1 was not measured on this run's data"):
        registered(team.bob, "second", 0.9)
    assert [each.number for each in Tracker(team.bob.home).versions(MODEL)] == [1]
    assert team.bob.version("gesture", 1).is_dir(), "for the next evaluation"


def test_who_waited_is_told_who_was_first(team: Team) -> None:
    """A promotion or a way back that another machine's change has overtaken does nothing: two
    people who roll back at once go back by one."""
    registered(team.ada, "first", 0.8)
    tracker, refusals = Tracker(team.ada.home), list[str]()

    def late() -> None:
        try:
            register.promote("gesture", 1, "too late", team.bob)
        except RegistryError as error:
            refusals.append(str(error))

    with tracker.exclusive(MODEL):
        waiting = Thread(target=late)
        with pytest.MonkeyPatch.context() as patch:
            waits = Event()
            patch.setattr(lock, "_PAUSE_S", 0.01)
            patch.setattr(lock._log, "warning", lambda *_: waits.set())
            waiting.start()
            assert waits.wait(PATIENCE)
            tracker.move(MODEL, CHAMPION, 1, "promote", "first")
    waiting.join(PATIENCE)
    (refusal,) = refusals
    assert "changed while this waited" in refusal
    assert f"{user_name()} let champion name version 1 (promote, " in refusal
    assert [each.reason for each in tracker.history(MODEL)][1:] == ["first"]


def test_trust_is_that_of_the_machine_that_registered(team: Team, tmp_path: Path) -> None:
    """Another one has neither the data nor the commit, and asks for no reason; what was not trusted
    there is not trusted anywhere."""
    registered(team.ada, "first", 0.8)
    other = Workspace(tmp_path / "other")
    register.promote("gesture", 1, "from elsewhere", other)
    Tracker(team.ada.home).set_tag(MODEL, 1, UNTRUSTED, "its code is in no commit")
    with pytest.raises(RegistryError, match="Version 1 of mien-gesture is not trusted"):
        register.promote("gesture", 1, "from elsewhere", other)


def test_a_killed_holder_stops_nobody_for_good(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other machines are told who holds the lock; the same workspace takes it back."""
    registered(team.ada, "first", 0.8)
    monkeypatch.setattr(lock, "WAIT_S", 0.1)
    killed = Tracker(team.ada.home).exclusive(MODEL)
    killed.__enter__()  # and nothing ever leaves it
    with pytest.raises(RegistryError, match=r"mien-gesture\.lock: .* found one by \w+ on .* since"):
        register.promote("gesture", 1, "too early", team.bob)
    assert "promote" not in [each.action for each in Tracker(team.bob.home).history(MODEL)]
    register.promote("gesture", 1, "again", team.ada)
    register.promote("gesture", 1, "now", team.bob)
    assert team.locks() == []


def test_a_lock_that_is_released_just_then_is_taken(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the refusal of MLflow to create the lock and its look at the one that is there."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode
    from mlflow.tracking import MlflowClient

    registered(team.ada, "first", 0.8)
    create, errors = MlflowClient.create_registered_model, ["RESOURCE_DOES_NOT_EXIST"]

    def meet(client: Any, name: str, *arguments: Any, **named: Any) -> Any:
        if errors and name.endswith(".lock"):
            raise MlflowException(f"{name} not found", ErrorCode.Value(errors.pop()))
        return create(client, name, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_registered_model", meet)
    register.promote("gesture", 1, "now", team.bob)
    assert errors == team.locks() == []


def test_runs_of_two_workspaces_are_not_mixed_up(team: Team) -> None:
    """Both train the same folder of their own; a run that is open in one is not the other's."""
    runs = []
    for workspace in (team.ada, team.bob):
        work = workspace.trained("gesture") / "same" / WORK / "svm"
        work.mkdir(parents=True)
        open_run = Tracker(workspace.home).run("gesture", "svm", work, {}, {"seed": 0})
        open_run.__enter__()
        runs.append(run_of(work))
    assert runs[0] != runs[1]
    (work / "run.txt").unlink()  # killed before it noted the run
    with Tracker(team.bob.home).run("gesture", "svm", work, {}, {"seed": 0}) as resumed:
        assert resumed.run_id == runs[1]


def test_a_workspace_keeps_to_its_registry(
    team: Team, tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the address, with another one, and with a registry of its own."""
    registered(team.ada, "first", 0.8)
    own = Workspace(tmp_path / "own")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(RegistryError, match=f"its registry is {team.server.address}, and MLFLOW"):
        register.promote("gesture", 1, "by hand", team.ada)
    own.home.mkdir()
    shutil.copy(mlflow_database, own.home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.server.address)
    with pytest.raises(RegistryError, match=r"registry of its own, found mlflow\.db"):
        Tracker(own.home).versions(MODEL)


def test_a_server_that_is_away_is_named_at_once(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before MLflow's client tries again and again."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nowhere)
    with pytest.raises(RegistryError, match=f"{nowhere} cannot be reached"):
        register.promote("gesture", 1, "by hand", team.bob)


def _digest(workspace: Workspace, number: int) -> str:
    return bundle.read(workspace.version("gesture", number)).digest
