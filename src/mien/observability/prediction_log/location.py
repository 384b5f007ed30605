"""Where the prediction log is: an SQLite file, or a PostgreSQL database that servers share."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from mien.config import Settings
from mien.errors import ConfigError
from mien.observability.prediction_log import spool
from mien.storage.workspace import Workspace

SSL_MODES = ("disable", "prefer", "require", "verify-full")
_HOST = re.compile(r"(?P<name>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")
_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"


@dataclass(frozen=True)
class PostgresAddress:
    """A PostgreSQL database, and how to reach it. Its text has no password and no user."""

    hosts: tuple[tuple[str, int], ...]
    """Tried in this order; a name that begins with `/` is the folder of a Unix socket."""
    user: str = field(repr=False)
    password: SecretStr
    database: str
    sslmode: str = "prefer"
    sslrootcert: str | None = None

    def __str__(self) -> str:
        return "PostgreSQL at " + ", ".join(f"{host}:{port}" for host, port in self.hosts)

    @classmethod
    def parse(cls, url: str) -> "PostgresAddress":
        """Read an address of the form that PostgreSQL's own programs take.

        Raises:
            ConfigError: it has another form. The message has no part of it: any may be the
                password, where a character of that was not percent-encoded.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError:
            raise _refusal() from None
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        folder = options.pop("host", "")
        found = [_HOST.fullmatch(each) for each in hosts.split(",")] if hosts else []
        database = parts.path.removeprefix("/")
        if (
            parts.scheme not in ("postgresql", "postgres")
            or not (user and database)
            or parts.fragment
            or set(database) & set("/@:")
            or "@" in parts.query
            or set(options) - {"sslmode", "sslrootcert"}
            or options.get("sslmode", "prefer") not in SSL_MODES
            or not (folder.startswith("/") if not hosts else all(found) and not folder)
        ):
            raise _refusal()
        names = [(each["name"].strip("[]"), int(each["port"] or 5432)) for each in found if each]
        return cls(
            tuple(names) or ((folder, 5432),),
            unquote(user),
            SecretStr(unquote(password)),
            unquote(database),
            **options,
        )


@dataclass(frozen=True)
class PostgresLocation:
    """A prediction log in PostgreSQL."""

    address: PostgresAddress
    spool: Path
    """The file of this machine in which records wait; the other servers have their own."""


PredictionLogLocation = Path | PostgresLocation
"""The path of an SQLite file, or a PostgreSQL database."""


def locate(settings: Settings, workspace: Workspace) -> PredictionLogLocation:
    """Where the settings put the prediction log.

    Raises:
        ConfigError: the address of a database has another form than expected.
    """
    chosen = settings.prediction_log
    if not isinstance(chosen, SecretStr):
        return chosen or workspace.prediction_log
    return PostgresLocation(
        PostgresAddress.parse(chosen.get_secret_value()),
        settings.prediction_log_spool or spool.path_of(workspace.prediction_log),
    )


def _refusal() -> ConfigError:
    return ConfigError(
        f"MIEN_PREDICTION_LOG: expected a path or {_FORM}, found another form (not shown, as it "
        "may have a password). Percent-encode special characters of the user and the password, as "
        f"%40 for @; sslmode is one of {', '.join(SSL_MODES)}."
    )
