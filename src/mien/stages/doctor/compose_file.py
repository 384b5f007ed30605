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
_OWN = {"api", "grafana", "prometheus"}
_PORTS = re.compile(r"(?:.*:)?(\d+):(\d+)(?:/\w+)?")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")


@dataclass(frozen=True)
class Bind:
    """A folder of the host in a container."""

    source: Path
    target: Path


@dataclass(frozen=True)
class _Volume:
    """What a container mounts."""

    kind: str
    """bind, volume or tmpfs."""
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class ComposeFile:
    """The services of the file, by name."""

    project: Path
    services: dict[str, Any]

    @property
    def is_own(self) -> bool:
        """Whether it is mien's stack; a user's project may have another file of this name."""
        return self.services.keys() >= _OWN

    def binds(self, service: str) -> list[Bind]:
        """The folders that a service mounts."""
        return [
            Bind(self.project / each.source, Path(each.target))
            for each in self._volumes(service)
            if each.kind == "bind"
        ]

    def writable(self, service: str) -> list[Path]:
        """Where a service with a read-only root can write: tmpfs and volumes."""
        tmpfs = self.services[service].get("tmpfs") or []
        volumes = [each.target for each in self._volumes(service) if not each.read_only]
        paths = [*([tmpfs] if isinstance(tmpfs, str) else tmpfs), *volumes]
        return [Path(str(path).partition(":")[0]) for path in paths]

    def ports(self, service: str) -> list[tuple[int, int]]:
        """Ports of a service, on the host and in the container, where both are one number."""
        texts = [
            f"{each.get('published')}:{each.get('target')}" if isinstance(each, dict) else str(each)
            for each in self.services[service].get("ports") or []
        ]
        matches = [match for text in texts if (match := _PORTS.fullmatch(text))]
        return [(int(match[1]), int(match[2])) for match in matches]

    def _volumes(self, service: str) -> list[_Volume]:
        return [_volume(each) for each in self.services.get(service, {}).get("volumes") or []]


def _volume(volume: Any) -> _Volume:
    """A volume of the long form or of the short one, [SOURCE:]TARGET[:OPTIONS]."""
    if isinstance(volume, dict):
        source, read_only = volume.get("source", ""), bool(volume.get("read_only"))
        return _Volume(volume.get("type", "volume"), source, volume["target"], read_only)
    first, *rest = str(volume).split(":")
    kind = "bind" if rest and first.startswith((".", "/", "~")) else "volume"
    read_only = "ro" in "".join(rest[1:]).split(",")
    target = rest[0] if rest else first
    return _Volume(kind, first, target, read_only)


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
        services = {name: options or {} for name, options in document["services"].items()}
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
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
