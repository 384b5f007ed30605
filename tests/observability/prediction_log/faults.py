"""What goes wrong with a real PostgreSQL server, on purpose."""

import signal

from postgresql import Server

FULL = "raise exception 'could not extend file: No space left on device' using errcode = '53100'"


def before_insert(server: Server, body: str) -> None:
    """Let PostgreSQL do something before each statement that inserts predictions."""
    server.sql(
        f"create or replace function mien.fault() returns trigger language plpgsql as "
        f"$$ begin {body}; return null; end $$"
    )
    server.sql(
        "create or replace trigger fault before insert on mien.predictions "
        "for each statement execute function mien.fault()"
    )


def frozen(server: Server) -> None:
    server.signal(signal.SIGSTOP)


def thawed(server: Server) -> None:
    server.signal(signal.SIGCONT)
