"""The stack of a Compose file, on ports of its own: up, healthy, asked, down again.

Knows the Compose program and HTTP, and nothing of what is tried.
"""

import json
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import AbsentError, PromiseError, say
from stack.bases import COMPOSE, images
from stack.engine import PACKAGES, Engine
from stack.processes import undisturbed

PROJECT = "mien-stack-test"
VARIABLES = {
    "api": "MIEN_PORT",
    "prometheus": "PROMETHEUS_PORT",
    "alertmanager": "ALERTMANAGER_PORT",
    "grafana": "GRAFANA_PORT",
    "proxy": "MIEN_PORT",
    "registry": "REGISTRY_PORT",
}
PATIENCE = 900.0
"""Seconds for every container to be healthy, on a machine that is busy with other work."""
GOOD = ("running healthy", "running")
LOST = re.compile(r"exited|absent")
"""An unhealthy container may only be slow: it has until PATIENCE ends."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy stands between this machine and itself."""


@dataclass(frozen=True)
class Stack:
    """A running stack: the services that were started, and how to reach them."""

    docker: Engine
    compose: tuple[str, ...]
    variables: dict[str, str]
    services: tuple[str, ...]

    def address(self, service: str) -> str:
        return f"http://127.0.0.1:{self.variables[VARIABLES[service]]}"

    def call(self, *arguments: str) -> None:
        """Run the Compose program on this stack."""
        self.docker.run(*self.compose, *arguments, **self.variables)

    def start(self, *services: str) -> None:
        """Start services and wait until they are healthy.

        Raises:
            PromiseError: a container does not become healthy.
        """
        start = time.monotonic()
        self.call("up", "--detach", "--no-build", *services)
        self.wait(*services)
        say(f"{', '.join(services)} are healthy {time.monotonic() - start:.1f} s after `up`.")

    def wait(self, *services: str) -> None:
        """Wait until services are healthy, or run where they have no check; raises as `start`."""
        deadline = time.monotonic() + PATIENCE
        waiting = list(services)
        while waiting := [name for name in waiting if self.health(name) not in GOOD]:
            states = {name: self.health(name) for name in waiting}
            lost = [name for name, state in states.items() if LOST.search(state)]
            if lost or time.monotonic() > deadline:
                raise PromiseError(f"not healthy: {states}")
            time.sleep(0.5)

    def output(self, service: str, *command: str) -> str:
        """What a command prints inside a service's container.

        Raises:
            PromiseError: it ends with an error.
        """
        done = self.docker.ask(*self.compose, "exec", "-T", service, *command, **self.variables)
        if done.returncode:
            raise PromiseError(f"{service}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def inside(self, service: str, script: str) -> bool:
        """Whether a shell script ends well inside a service's container."""
        words = ["exec", "-T", service, "sh", "-c", script]
        return self.docker.ask(*self.compose, *words, **self.variables).returncode == 0

    def health(self, service: str) -> str:
        """What the container's own health check says, or how it ended."""
        listed = self.docker.ask(*self.compose, "ps", "-q", "-a", service, **self.variables)
        form = "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}"
        found = self.docker.ask("docker", "inspect", "-f", form, listed.stdout.strip())
        return found.stdout.strip() or "absent"


@contextmanager
def up(docker: Engine, home: Path, without: list[str]) -> Iterator[Stack]:
    """Start the stack with a workspace and wait until all of it is healthy; then take it down.

    Raises:
        AbsentError: there is no Compose program.
        PromiseError: a container does not become healthy.
    """
    services = tuple(name for name in ("api", *images()) if name not in without)
    variables = {"MIEN_HOME": str(home.resolve()), "MIEN_FAULT_INJECTION": "1"}
    with prepared(docker, COMPOSE, services, variables) as stack:
        stack.start(*services)
        yield stack


@contextmanager
def prepared(
    docker: Engine, file: Path, services: tuple[str, ...], variables: dict[str, str]
) -> Iterator[Stack]:
    """A stack of which nothing is started yet; it is taken down at the end. Raises as `up`."""
    ports = {VARIABLES[name] for name in services if name in VARIABLES}
    ports_by_variable = dict(zip(ports, free_ports(len(ports)), strict=True))
    stack = Stack(docker, _program(docker, file), variables | ports_by_variable, services)
    say("Starting the stack ...")
    try:
        yield stack
    except PromiseError:
        stack.call("logs", "--no-color", "--tail", "30")
        raise
    finally:
        say("Taking the stack down ...")
        with undisturbed():
            stack.call("down", "--volumes", "--remove-orphans", "--timeout", "20")


def get(url: str, data: bytes | None = None, kind: str = "") -> Any:
    """JSON, or text, of an answer; a body makes it a POST.

    Raises:
        PromiseError: nobody answers, or the status is not one of success.
    """
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(url, data, headers)
    try:
        with DIRECT.open(request, timeout=30) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise PromiseError(f"{url} answers {error.code}: {error.read()[:300]!r}") from None
    except OSError as error:
        raise PromiseError(f"{url} does not answer: {error}") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _program(docker: Engine, file: Path) -> tuple[str, ...]:
    """Compose of either generation, on the file as it stands."""
    name: tuple[str, ...] = ("docker", "compose")
    if docker.ask(*name, "version").returncode:
        name = ("docker-compose",)
        if not shutil.which(*name):
            raise AbsentError(f"there is no Compose program: {PACKAGES}")
    return (*name, "--project-name", PROJECT, "--file", str(file))


def free_ports(count: int) -> list[str]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
