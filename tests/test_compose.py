"""Promises about docker-compose.yml and its test that can be held without a Docker engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from mien.config import Settings
from stack import bases, compose, engine

FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
PASSWORD = "0123456789abcdef"
"""Of docker-compose.scale.yml, which starts with none of its own."""


def stack(file: Path) -> dict[str, Any]:
    """A Compose file with the values that hold where nothing is set but a password."""
    text = file.read_text(encoding="utf-8").replace(
        "${POSTGRES_PASSWORD:?set a password}", PASSWORD
    )
    return dict(yaml.safe_load(VARIABLE.sub(lambda found: found[2], text)))


STACK = stack(FILE)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
FILES = (bases.COMPOSE, bases.SCALE)
EVERY = {
    f"{file.name}: {name}": service
    for file in FILES
    for name, service in stack(file)["services"].items()
}
PROGRAMS = ("docker-compose", "docker compose")
EACH = pytest.mark.parametrize("name", SERVICES)


def binds(name: str) -> list[dict[str, Any]]:
    return [mount for mount in SERVICES[name]["volumes"] if mount["type"] == "bind"]


def read_by(program: str, file: Path, **environment: str) -> tuple[int, str]:
    """Status and complaints of a Compose program that reads a file."""
    words = program.split()
    if (
        not shutil.which(words[0])
        or subprocess.run([*words, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [*words, "--file", str(file), "config", "--quiet"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("program", PROGRAMS)
def test_both_generations_of_compose_take_it(program: str, file: Path) -> None:
    """The old program and the new one read the file without a complaint."""
    assert read_by(program, file, POSTGRES_PASSWORD=PASSWORD) == (0, "")


def test_it_has_what_both_generations_know() -> None:
    """A project's name is refused by the old program, a version is complained of by the new one."""
    assert {"name", "version"} & set(STACK) == set()
    assert set(SERVICES) == {"api", "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", EVERY)
def test_services_are_confined(name: str) -> None:
    """No writing but to volumes and /tmp, no capabilities, no new rights, limits on everything."""
    service = EVERY[name]
    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp:size=")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@EACH
def test_services_do_not_run_as_root(name: str) -> None:
    """The user is a number: of the official image, or in the Dockerfile of our own."""
    if "build" in SERVICES[name]:
        text = (ROOT / SERVICES[name]["build"]["dockerfile"]).read_text(encoding="utf-8")
        (user,) = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    else:
        user = SERVICES[name]["user"]
    assert int(user.partition(":")[0]) > 0


@EACH
def test_a_service_that_cannot_start_is_left_alone(name: str) -> None:
    """A workspace without a model ends in its message, not in an endless loop."""
    assert re.fullmatch(r"on-failure:[1-5]", SERVICES[name]["restart"])


@EACH
def test_ports_are_on_the_loopback_interface(name: str) -> None:
    """Nothing is reachable from another machine; the port outside is the one inside."""
    (port,) = SERVICES[name]["ports"]
    host, outside, inside = port.split(":")
    assert (host, outside) == ("127.0.0.1", inside)


@EACH
def test_what_is_mounted_exists_and_is_only_read(name: str) -> None:
    """A folder that is not there would be made by the engine, empty and owned by root."""
    for mount in binds(name):
        assert mount["read_only"] is True
        assert (ROOT / mount["source"]).is_dir()
    volumes = {mount["source"] for mount in SERVICES[name]["volumes"] if mount["type"] == "volume"}
    assert volumes <= set(STACK["volumes"])


@pytest.mark.parametrize("name", bases.images())
def test_images_are_of_one_version(name: str) -> None:
    """A tag names one release: `latest` would be another program tomorrow."""
    assert re.fullmatch(rf"[\w-]+/{name}:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_what_is_waited_for_can_say_that_it_is_well() -> None:
    """Each waits for health, not for a process; and nothing waits for the service it watches."""
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            assert other != "api"
            assert wait == {"condition": "service_healthy"}
            assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"


def test_the_service_is_told_only_what_it_knows() -> None:
    """A variable with a slip in its name would be ignored without a word."""
    known = {field.alias for field in Settings.model_fields.values()}
    environment = SERVICES["api"]["environment"]
    assert set(environment) <= known
    Settings(**{name: "" if value is None else value for name, value in environment.items()})


def test_the_prediction_log_outlives_the_container() -> None:
    """It is written to a volume, which takes over the user of the folder in the image."""
    text = (ROOT / "dockerfiles" / "api.Dockerfile").read_text(encoding="utf-8")
    place, _ = re.findall(r"MIEN_PREDICTION_LOG=(\S+)", text)
    folder = str(Path(place).parent)
    assert {"type": "volume", "source": "prediction_log", "target": folder} in SERVICES["api"][
        "volumes"
    ]
    assert re.search(rf"install --directory --owner mien --group mien {folder}\b", text)
    assert "VOLUME" not in text


def test_prometheus_reads_every_service() -> None:
    """Each target is a service of the stack at the port that it listens on."""
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    targets = {
        target
        for job in config["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    ports = {name: service["ports"][0].rpartition(":")[2] for name, service in SERVICES.items()}
    assert targets == {f"{name}:{port}" for name, port in ports.items()}


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_the_watchers_find_their_configuration(name: str) -> None:
    """The file that the command line names lies in what is mounted."""
    (config,) = (word for word in SERVICES[name]["command"] if word.startswith("--config.file="))
    (mount,) = binds(name)
    inside = Path(config.partition("=")[2]).relative_to(mount["target"])
    assert (ROOT / mount["source"] / inside).is_file()


def test_grafana_shows_the_dashboards_to_whoever_knows_the_password() -> None:
    """Provisioning lies where Grafana looks, the home page in it; nobody gets in unnamed."""
    (mount,) = binds("grafana")
    assert mount["target"] == "/etc/grafana/provisioning"
    environment = SERVICES["grafana"]["environment"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).relative_to(
        mount["target"]
    )
    assert (ROOT / mount["source"] / home).is_file()
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert re.search(r"GF_SECURITY_ADMIN_PASSWORD: \$\{GRAFANA_PASSWORD:-admin\}", TEXT)


def test_what_can_be_set_is_listed_with_what_holds_otherwise() -> None:
    """.env.example names each variable of the file with its default, and no other."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert listed == {f"{name}={default}" for name, default in VARIABLE.findall(TEXT)}
    assert "$" not in VARIABLE.sub("", TEXT)


def test_the_stack_test_reaches_every_service_on_a_port_of_its_own() -> None:
    """It moves each port by the variable of the file, so that a stack in use is not disturbed."""
    wanted = {name: f"${{{compose.VARIABLES[name]}:-" for name in SERVICES}
    moved = {name: f"127.0.0.1:{start}" in TEXT for name, start in wanted.items()}
    assert moved == dict.fromkeys(SERVICES, True)
    assert bases.base() == "python:3.11-slim"


def test_the_stack_test_leaves_foreign_packet_rules_alone() -> None:
    """Only what an engine made goes again, rules before the chains that they lead to."""
    before = ["-P FORWARD ACCEPT", "-A FORWARD -i lo -j ACCEPT"]
    after = [
        "-P FORWARD DROP",
        "-N DOCKER-USER",
        "-N OTHER",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -i lo -j ACCEPT",
        "-A FORWARD -j OTHER",
    ]
    assert engine.undone(before, after) == [
        ["-D", "FORWARD", "-j", "DOCKER-USER"],
        ["-F", "DOCKER-USER"],
        ["-X", "DOCKER-USER"],
        ["-P", "FORWARD", "ACCEPT"],
    ]
    assert engine.undone(before, before) == []
