"""Addresses and password of the Compose stack of this project, as Compose reads them.

Variables come from the environment or else from the file .env beside docker-compose.yml.
"""

import os
import shutil
from pathlib import Path

PORTS = {"api": 8000, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


def address(part: str, project: Path, override: str | None = None) -> str:
    """The address of a part of the stack; `override` replaces it."""
    variable = "MIEN_PORT" if part == "api" else f"{part.upper()}_PORT"
    return override or f"http://127.0.0.1:{_variable(variable, project) or PORTS[part]}"


def login(project: Path) -> tuple[str, str]:
    """Grafana's user and password."""
    return "admin", _variable("GRAFANA_PASSWORD", project) or "admin"


def command(verb: str) -> str:
    """The command for the server: `docker-compose kill api`, or that of newer engines."""
    program = "docker-compose" if shutil.which("docker-compose") else "docker compose"
    return f"{program} {verb} api"


def _variable(name: str, project: Path) -> str:
    if name in os.environ:
        return os.environ[name]
    file = project / ".env"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return values.get(name, "").strip().strip("'\"")
