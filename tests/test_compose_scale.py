"""Promises about docker-compose.scale.yml that can be held without a Docker engine."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from project import ROOT
from test_compose import PASSWORD, PROGRAMS, read_by, stack

from mien.config import Settings
from mien.observability.prediction_log.location import PostgresLocation, locate
from mien.storage.registry_server import RegistryServer
from mien.storage.workspace import Workspace
from stack.bases import SCALE
from stack.scale import NETWORK

STACK = stack(SCALE)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
REPLICAS = ("api_1", "api_2")
PORTS = {"proxy": "127.0.0.1:8000:8080", "registry": "127.0.0.1:5000:5000"}


def settings_of(name: str) -> Settings:
    """What a service reads from its environment."""
    return Settings(**{key: value or "" for key, value in SERVICES[name]["environment"].items()})


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_does_not_start_without_a_password(program: str) -> None:
    """It says what to set."""
    status, complaint = read_by(program, SCALE, POSTGRES_PASSWORD="")
    assert status
    assert "set a password" in complaint


@pytest.mark.parametrize("name", SERVICES)
def test_only_proxy_and_registry_have_a_port(name: str) -> None:
    """On the loopback interface; images of others run as their user, in a version."""
    service = SERVICES[name]
    assert service.get("ports", []) == ([PORTS[name]] if name in PORTS else [])
    if "build" not in service:
        assert int(service["user"].partition(":")[0]) > 0
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+)+", service["image"])


def test_replicas_follow_the_registry_of_the_stack() -> None:
    """By the name that it answers to; its tables are apart from the log's, and its volume too."""
    settings = settings_of("api_1")
    server = RegistryServer.at(settings.registry, settings, "MIEN_REGISTRY")
    registry = SERVICES["registry"]["environment"]
    assert server.address.removeprefix("http://") in registry["MLFLOW_SERVER_ALLOWED_HOSTS"]
    location = locate(settings, Workspace(ROOT))
    assert isinstance(location, PostgresLocation)
    _, _, database = registry["MLFLOW_BACKEND_STORE_URI"].rpartition("/")
    assert database != location.address.database
    (scripts,) = (each for each in SERVICES["postgresql"]["volumes"] if each["type"] == "bind")
    text = "".join(path.read_text() for path in (ROOT / scripts["source"]).glob("*.sql"))
    assert f"CREATE DATABASE {database};" in text
    (files,) = SERVICES["registry"]["volumes"]
    assert files["target"] == registry["MLFLOW_ARTIFACTS_DESTINATION"]
    workspaces = [SERVICES[name]["volumes"][0] for name in REPLICAS]
    assert {each["target"] for each in workspaces} == {"/workspace"}
    assert len({each["source"] for each in workspaces}) == len(REPLICAS)


def test_replicas_share_the_log_and_not_the_spool() -> None:
    """They are told what they know; the database has the same user, password and name."""
    first, second = (SERVICES[name] for name in REPLICAS)
    assert first["environment"] == second["environment"]
    assert set(first["environment"]) <= {field.alias for field in Settings.model_fields.values()}
    settings = settings_of("api_1")
    location = locate(settings, Workspace(ROOT))
    assert isinstance(location, PostgresLocation)
    address, database = location.address, SERVICES["postgresql"]["environment"]
    assert address.hosts == (("postgresql", 5432),)
    assert database["POSTGRES_USER"] == address.user
    assert database["POSTGRES_DB"] == address.database
    assert database["POSTGRES_PASSWORD"] == address.password.get_secret_value() == PASSWORD
    spools = [each["volumes"][1] for each in (first, second)]
    assert spools[0]["source"] != spools[1]["source"]
    assert {each["target"] for each in spools} == {"/prediction_log"}
    assert {each["source"] for each in spools} <= set(STACK["volumes"])


def test_the_proxy_knows_every_replica() -> None:
    """By its name and the port of the image."""
    (mount,) = SERVICES["proxy"]["volumes"]
    name = SERVICES["proxy"]["command"][2].removeprefix(f"{mount['target']}/")
    text = (ROOT / mount["source"] / name).read_text(encoding="utf-8")
    assert re.findall(r"server (\w+):8000 ", text) == list(REPLICAS)
    assert "listen 8080;" in text


def test_a_replica_keeps_its_address() -> None:
    """The proxy asks for it once, so that no other container may get it while a replica is away."""
    (network,) = STACK["networks"]["default"]["ipam"]["config"]
    subnet = ip_network(network["subnet"])
    addresses = [
        ip_address(SERVICES[name]["networks"]["default"]["ipv4_address"]) for name in REPLICAS
    ]
    free = list(subnet.hosts())[: len(SERVICES) + 1]  # the gateway and then each of the others
    assert len({*addresses} & set(subnet.hosts()) - set(free)) == len(REPLICAS)
    assert not subnet.overlaps(ip_network(f"{NETWORK}.0/24")), "of a stack in use"
