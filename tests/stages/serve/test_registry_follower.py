"""Promises of `mien serve --registry`: it follows the team, and survives its registry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from project import free_port
from registry_stand_in import StandIn, stand_in
from waiting import PATIENCE, until

from mien.config import Settings
from mien.errors import ConfigError, RegistryError
from mien.model.bundle import Bundle
from mien.model.pulling import pull_alias
from mien.stages.serve import app, models
from mien.stages.serve.registry_follower import RegistryFollower
from mien.storage.registry_server import RegistryServer
from mien.storage.workspace import Workspace

MakeBundle = Callable[..., Bundle]
Value = Callable[..., float | None]


@pytest.fixture
def team(tmp_path: Path, make_bundle: MakeBundle) -> Iterator[StandIn]:
    """A registry whose champion of shapes is version 7."""
    make_bundle(tmp_path / "seven")
    with stand_in() as server:
        server.put("shape", 7, tmp_path / "seven")
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """The workspace of a server that was never trained in."""
    return Workspace(tmp_path / "server")


def settings(address: str, **changes: Any) -> Settings:
    update = {"registry": address, "threads": 1, "reload_interval_s": 0.02, **changes}
    return Settings().model_copy(update=update)


def started(home: Workspace, address: str, *names: str) -> RegistryFollower:
    follower = RegistryFollower.started(home, names, settings(address))
    assert follower is not None
    return follower


@contextmanager
def serving(home: Workspace, follower: RegistryFollower, **changes: Any) -> Iterator[TestClient]:
    """A service of the followed champions; its own polls come so rarely that tests make theirs."""
    ready, own = Event(), settings("", **changes)
    sources = models.resolve_sources(home, (), ())
    made = app.create(home, sources, own, lambda _: ready.set(), follower=follower)
    with TestClient(made) as client:
        assert ready.wait(PATIENCE)
        yield client


def version(client: TestClient) -> str:
    return str(client.get("/health").json()["models"][0]["version"])


def followed(client: TestClient) -> dict[str, Any]:
    state: dict[str, Any] = client.get("/health").json()["registry"]["tasks"]["shape"]
    return state


def test_a_new_champion_is_pulled_and_served(
    team: StandIn, home: Workspace, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    """Without a restart; a way back too. /health does not tell everybody where the registry is."""
    follower = started(home, team.address)
    with serving(home, follower) as client:
        assert version(client) == "7"
        assert team.address not in client.get("/health").text
        assert (followed(client)["followed"], followed(client)["reason"]) == (True, None)
        make_bundle(tmp_path / "eight", reference={})
        team.put("shape", 8, tmp_path / "eight")
        follower.poll()
        until(lambda: version(client) == "8")
        team.aliases["mien-shape"]["champion"] = 7
        follower.poll()
        until(lambda: version(client) == "7")


def test_the_last_good_model_is_served_while_the_registry_is_away(
    team: StandIn, home: Workspace, tmp_path: Path, make_bundle: MakeBundle, value: Value
) -> None:
    """Answers go on; /health, still 200, and the metrics say so, until it is back."""
    follower = started(home, team.address)
    with serving(home, follower) as client:
        team.fault = lambda _: (503, b"", {})
        follower.poll()
        response = client.get("/health")
        assert response.status_code == 200
        state = followed(client)
        assert state["followed"] is False
        assert state["reason"].startswith("the registry: expected status 200, found 503")
        earlier = value(client, "mien_registry_age_seconds", task="shape")
        assert earlier is not None
        assert until(lambda: value(client, "mien_registry_age_seconds", task="shape") > earlier)
        answer = client.post("/predict/shape", json={"point": {"values": [0, 1, 0.5]}})
        assert answer.status_code == 200
        make_bundle(tmp_path / "eight", reference={})
        team.put("shape", 8, tmp_path / "eight")
        team.fault = lambda _: None
        follower.poll()
        until(lambda: version(client) == "8")
        assert followed(client)["followed"] is True


def test_a_bundle_that_is_not_the_registered_one_is_not_served(
    team: StandIn, home: Workspace, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    """It is refused with a reason, the present model stays, and the next poll tries again."""
    follower = started(home, team.address)
    make_bundle(tmp_path / "eight", reference={})
    team.put("shape", 8, tmp_path / "eight")
    team.fault = lambda path: (200, b"x", {}) if path.endswith("model.onnx") else None
    with serving(home, follower) as client:
        follower.poll()
        assert "model.onnx: expected" in followed(client)["reason"]
        assert (version(client), home.aliases("shape")) == ("7", {"champion": 7})
        assert not home.version("shape", 8).exists()
        team.fault = lambda _: None
        follower.poll()
        until(lambda: version(client) == "8")


def test_a_server_starts_with_what_it_has(team: StandIn, home: Workspace) -> None:
    """The registry may be away at a restart; only without any champion there is nothing to
    serve, and the reason is that of the registry."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RegistryError, match=f"no champion to serve. .*{nowhere} cannot be reached"):
        started(home, nowhere, "shape")
    started(home, team.address)
    team.fault = lambda _: (503, b"", {})
    assert "503" in str(started(home, team.address).tasks["shape"].error)
    assert list(started(home, team.address).tasks) == ["shape"], "no other has a champion"
    with pytest.raises(ConfigError, match=r"--registry \(MIEN_REGISTRY\): expected the address"):
        started(home, "team")


def test_it_polls_until_it_is_stopped(team: StandIn, home: Workspace) -> None:
    """As often as the settings say, whatever a poll comes to."""
    follower = started(home, team.address)
    asked = len(team.requests)
    fast = settings(team.address, registry_interval_s=0.01)
    polling = RegistryFollower.started(home, ["shape"], fast)
    with serving(home, polling or follower):
        team.fault = lambda _: (200, b"[", {})
        until(lambda: len(team.requests) > asked + 6)
    stopped = len(team.requests)
    follower.poll()
    assert len(team.requests) > stopped


def test_older_bundles_do_not_fill_the_disk(
    team: StandIn, home: Workspace, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    """Of those that were fetched, two stay, whichever process fetched them; what an alias names or
    was registered here stays too."""
    make_bundle(home.version("shape", 3))
    for number in (8, 9, 10, 11):
        make_bundle(tmp_path / str(number), labels=tuple("abcdefghijkl"[:number]))
        team.put("shape", number, tmp_path / str(number))
        started(home, team.address)
        if number == 8:
            team.aliases["mien-shape"]["challenger"] = 8
            pull_alias("shape", "challenger", RegistryServer(team.address), home)
    assert home.exported_versions("shape") == [11, 10, 8, 3]


def test_without_a_registry_nothing_is_followed(home: Workspace, value: Value) -> None:
    """The default."""
    assert RegistryFollower.started(home, (), settings("")) is None
