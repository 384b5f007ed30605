"""Promises of `mien.storage.registry_server`: what it asks, and that no password is ever shown."""

import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import free_port
from registry_stand_in import Answer, StandIn, stand_in

from mien.config import Settings
from mien.errors import ConfigError, MienError, RegistryError
from mien.storage import registry_server
from mien.storage.registry_server import RegistryServer, bind, from_environment, read_binding

SECRET = "swordfish"
LOGIN = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": SECRET}


@pytest.fixture
def team() -> Iterator[StandIn]:
    with stand_in() as server:
        server.aliases["mien-gesture"] = {"champion": 3}
        yield server


def at(address: str, **login: str) -> RegistryServer:
    return RegistryServer.at(address, Settings(**login), "--registry")  # type: ignore[arg-type]


def test_a_login_goes_into_the_header_and_nowhere_else(team: StandIn) -> None:
    """User and password, or a token; both with the user's first, as MLflow's client does."""
    token = {"MLFLOW_TRACKING_TOKEN": f"{SECRET}\n"}  # as a file of a secret ends
    for login in (LOGIN, token, {**LOGIN, **token}, {}):
        server = at(team.address, **login)
        assert server.model("mien-gesture") is not None
        assert SECRET not in repr(server)
    basic = f"Basic {b64encode(f'ada:{SECRET}'.encode()).decode()}"
    assert [header for _, header in team.requests] == [basic, f"Bearer {SECRET}", basic, ""]
    assert not [path for path, _ in team.requests if SECRET in path]


ANSWERS: dict[str, tuple[Answer, str]] = {
    "no login": ((401, b"", {}), "expected a login that may read, .* MLFLOW_TRACKING_USERNAME"),
    "another name": (
        (403, b"Invalid Host header - possible DNS rebinding attack detected", {}),
        "refuses it. Start it with `--allowed-hosts`",
    ),
    "no right": ((403, b'{"error_code": "PERMISSION_DENIED"}', {}), "status 403"),
    "broken": ((500, b"<html>trace</html>", {}), "expected status 200, found 500"),
    "busy": ((503, b'{"error_code": "TEMPORARILY_UNAVAILABLE"}', {}), "503 TEMPORARILY_UNAV"),
    "no JSON": ((200, b"<html>a page</html>", {}), "answers in another form"),
    "a list": ((200, b"[]", {}), "answers in another form"),
    "nothing": ((404, b"<html>", {}), "expected status 200, found 404"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_refusal_says_what_to_do(team: StandIn, kind: str) -> None:
    """With the address, and without the login."""
    answer, message = ANSWERS[kind]
    team.fault = lambda _: answer
    with pytest.raises(RegistryError, match=message) as raised:
        at(team.address, **LOGIN).model("mien-gesture")
    assert team.address in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_redirect_is_not_followed(team: StandIn) -> None:
    """It would carry the login to any address that a server names."""
    with stand_in() as other:
        place = f"{other.address}/x?token={SECRET}"
        team.fault = lambda _: (302, b"", {"Location": place})
        with pytest.raises(
            RegistryError, match=r"found a redirect to http://127\.0\.0\.1"
        ) as raised:
            at(team.address, **LOGIN).model("mien-gesture")
        assert other.requests == []
    assert SECRET not in str(raised.value)


def test_a_server_that_is_away_or_hangs_is_given_up(
    team: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the limit, with its address."""
    with pytest.raises(RegistryError, match=r"cannot be reached: .*refused.*Start the server"):
        at(f"http://127.0.0.1:{free_port()}").model("mien-gesture")
    monkeypatch.setattr(registry_server, "TIMEOUT_S", 0.1)

    def late(_: str) -> Answer:
        time.sleep(0.3)
        return 200, b"{}", {}

    team.fault = late
    with pytest.raises(RegistryError, match="cannot be reached: timed out"):
        at(team.address).model("mien-gesture")


ADDRESSES = {
    f"http://ada:{SECRET}@host": "without a user, a password and parameters",
    f"https://{SECRET}@host": "without a user, a password and parameters",
    f"http://host/?token={SECRET}": "without a user, a password and parameters",
    "host:5000": "expected the address of an MLflow server",
    "sqlite:///mlflow.db": "found 'sqlite'",
    "databricks": "expected the address of an MLflow server",
    "http://": "expected the address of an MLflow server",
    "http://host:port": "expected http://HOST:PORT",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_cannot_be_used_is_refused(address: str) -> None:
    """With the name of the option or variable; a password in it is not repeated."""
    with pytest.raises(ConfigError, match=f"^--registry: .*{ADDRESSES[address]}") as raised:
        at(address)
    assert SECRET not in str(raised.value)


def test_a_token_that_no_header_holds_is_refused(team: StandIn) -> None:
    """Python's own error would show it."""
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_TOKEN: expected printable") as raised:
        at(team.address, MLFLOW_TRACKING_TOKEN=f"{SECRET}\n{SECRET}")
    assert SECRET not in str(raised.value)


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable there is none; a slash at the end makes no difference."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert from_environment(Settings()) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://host:8443/mlflow/")
    server = from_environment(Settings())
    assert server is not None
    assert server.address == "https://host:8443/mlflow"


def test_a_workspace_has_one_registry(tmp_path: Path) -> None:
    """The versions of two are numbered alike, so that mixing them would serve the wrong one."""
    assert read_binding(tmp_path) is None
    first = bind(tmp_path, "http://one")
    assert bind(tmp_path, "http://one") == first
    assert bind(tmp_path / "other", "http://one").workspace != first.workspace
    with pytest.raises(RegistryError, match="expected the registry http://one, found http://two"):
        bind(tmp_path, "http://two")
    own = tmp_path / "own"
    own.mkdir()
    (own / "mlflow.db").touch()
    with pytest.raises(MienError, match=r"without a registry of its own, found mlflow\.db"):
        bind(own, "http://one")
    (tmp_path / "models" / "registry.json").write_text("{")
    with pytest.raises(RegistryError, match="expected the address of the registry"):
        bind(tmp_path, "http://one")
