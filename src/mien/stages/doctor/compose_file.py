"""docker-compose.yml as Compose reads it: variables come from the environment, from `.env`, or are
their defaults."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.errors import ConfigError

NAME = "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")


@dataclass(frozen=True)
class Bind:
    """A folder of the host in a container."""

    source: Path
    target: Path


@dataclass(frozen=True)
class ComposeFile:
    """The services of the file, by name."""

    project: Path
    services: dict[str, Any]

    def binds(self, service: str) -> list[Bind]:
        """The folders that a service mounts."""
        volumes = self.services.get(service, {}).get("volumes", [])
        return [
            Bind(self.project / each["source"], Path(each["target"]))
            for each in volumes
            if each.get("type") == "bind"
        ]

    def writable(self, service: str) -> list[Path]:
        """Where a service with a read-only root can write: tmpfs and volumes."""
        options = self.services[service]
        volumes = [each for each in options.get("volumes", []) if not each.get("read_only")]
        paths = [*options.get("tmpfs", []), *(each["target"] for each in volumes)]
        return [Path(str(path).partition(":")[0]) for path in paths]

    def ports(self, service: str) -> list[tuple[int, int]]:
        """Ports of a service: on the host, and in the container."""
        pairs = [str(each).split(":")[-2:] for each in self.services[service].get("ports", [])]
        return [(int(host), int(inside)) for host, inside in pairs]


def read(project: Path) -> ComposeFile | None:
    """Read the file of a project; None where there is none.

    Raises:
        ConfigError: it is not a Compose file.
    """
    path = project / NAME
    if not path.is_file():
        return None
    variables = _dot_env(project / ".env") | dict(os.environ)

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1]) or match[2] or ""

    try:
        document = yaml.safe_load(_VARIABLE.sub(value, path.read_text(encoding="utf-8")))
        services = dict(document["services"])
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{path}: expected the services of Compose, found no such YAML ({reason}). "
            "Restore the file with git."
        ) from None
    return ComposeFile(project, services)


def _dot_env(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs if name.strip()}
