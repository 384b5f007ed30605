"""Commands in processes that end as `kill -9` ends them, at moments that are named.

A process that has loaded the libraries once forks for each line on its standard input, a JSON list:
arguments, home, stage, pattern, and files for the moments and for standard error. It answers with
the exit status. A moment is when a file below the home is about to be opened for writing, moved or
removed, or when a statement is about to change its database; the process dies at the first one of
the stage that the pattern matches.
"""

import json
import os
import re
import signal
import sqlite3
import sys
from importlib import import_module
from typing import Any

BEGIN = "begin"
"""What comes before the first stage, and commands without stages."""
TABLES = "tables"
"""What the making of MLflow's database is called here: it is a part of the first training."""
_LOADED = (
    "alembic.command", "matplotlib.figure", "mien.cli", "mien.tasks.gesture", "mlflow.tracking",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store",
    "onnxruntime", "skl2onnx", "sklearn.calibration", "sklearn.linear_model", "sklearn.pipeline",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
_WORDS = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "COMMIT")
_connect = sqlite3.connect


class Killer:
    """Writes down the moments of this process, and ends it at one of them."""

    def __init__(self, home: str, stage: str, pattern: str, log: str) -> None:
        self._home, self._at = home, (stage, pattern)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._stage = BEGIN
        sys.addaudithook(self._see)
        sqlite3.connect = sqlite3.dbapi2.connect = self._open  # type: ignore[attr-defined]

    def _see(self, event: str, found: tuple[Any, ...]) -> None:
        writing = event == "open" and isinstance(found[2], int) and found[2] & _WRITING
        path = found[0] if writing or event in _CHANGES else None
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._home):
            self._pass(self._now(), f"{event} {os.fspath(path).removeprefix(self._home)}")

    def _open(self, database: Any, *arguments: Any, **named: Any) -> sqlite3.Connection:
        made = _connect(database, *arguments, **named)
        making = TABLES if "/.mlflow-" in str(database) else ""  # in the cache of the user

        def see(text: str) -> None:
            if text.lstrip().upper().startswith(_WORDS):
                self._pass(making or self._now(), text)

        made.set_trace_callback(see)
        return made

    def _now(self) -> str:
        """The stage that is going on, as `pipeline.Stages` names it."""
        frame = sys._getframe(1)
        while frame is not None:
            name = frame.f_globals.get("__name__")
            if (name, frame.f_code.co_name) == ("mien.pipeline", "__call__"):
                self._stage = str(frame.f_locals["name"])
            frame = frame.f_back  # type: ignore[assignment]
        return self._stage

    def _pass(self, stage: str, what: str) -> None:
        os.write(self._log, f"{stage}: {' '.join(what.split())}\n".encode())
        if stage == self._at[0] and re.search(self._at[1], what):
            os.kill(os.getpid(), signal.SIGKILL)


def _run(arguments: list[str], home: str, stage: str, pattern: str, moments: str, err: str) -> None:
    """The forked process."""
    from mien import cli

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
    sys.argv = ["mien", *arguments, "--home", home]
    Killer(home, stage, pattern, moments)
    cli.main()


def main() -> None:
    """Load the libraries, then fork for each line."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    for name in _LOADED:
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
