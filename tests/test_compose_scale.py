"""Promises about docker-compose.scale.yml that can be held without a Docker engine."""

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from project import ROOT
from test_compose import VARIABLE

from mien.config import Settings
from mien.observability.prediction_log.location import PostgresLocation, locate
from mien.storage.workspace import Workspace

FILE = ROOT / "docker-compose.scale.yml"
PASSWORD = "0123456789abcdef"
TEXT = FILE.read_text(encoding="utf-8").replace("${POSTGRES_PASSWORD:?set a password}", PASSWORD)
STACK: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda found: found[2], TEXT))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
REPLICAS = ("api_1", "api_2")
EACH = pytest.mark.parametrize("name", SERVICES)


@pytest.mark.parametrize("program", ["docker-compose", "docker compose"])
def test_both_generations_of_compose_take_it(program: str) -> None:
    """With a password; without one they refuse, and say what to set."""
    words = program.split()
    if (
        not shutil.which(words[0])
        or subprocess.run([*words, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{program} is not installed")
    command = [*words, "--file", str(FILE), "config", "--quiet"]
    for password, status in ((PASSWORD, 0), ("", 1)):
        environment = {**os.environ, "POSTGRES_PASSWORD": password}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert min(done.returncode, 1) == status, done.stderr
        assert ("set a password" in done.stderr) == bool(status)


@EACH
def test_services_are_confined(name: str) -> None:
    """As those of docker-compose.yml; only the proxy has a port, on the loopback interface."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp:size=")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert service.get("ports", []) == (["127.0.0.1:8000:8080"] if name == "proxy" else [])
    if name not in REPLICAS:
        assert int(service["user"].partition(":")[0]) > 0
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+)+", service["image"])


def test_replicas_share_the_log_and_not_the_spool() -> None:
    """They are told what they know; the database has the same user, password and name."""
    first, second = (SERVICES[name] for name in REPLICAS)
    assert first["environment"] == second["environment"]
    assert set(first["environment"]) <= {field.alias for field in Settings.model_fields.values()}
    settings = Settings(**{name: value or "" for name, value in first["environment"].items()})
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
