"""MLflow's database."""

import sqlite3
from contextlib import closing

from mien.storage.registry import refuse_lost
from mien.storage.workspace import EXPORT_CONTENTS

from ..contract import DoctorCheck, Finding, Installation, failed, ok


def find(subject: Installation) -> Finding:
    """Whether SQLite opens it and finds no damage."""
    database = subject.workspace.database
    if not database.is_file():
        if (subject.workspace.home / EXPORT_CONTENTS).is_file():
            return Finding("skipped", "an export has none: it is for serving, not for training")
        if subject.target == "local":
            refuse_lost(database, subject.workspace.home)
        return ok(f"no {database.name}; the first training makes it")
    try:
        address = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as opened:
            (state,) = opened.execute("pragma quick_check(1)").fetchone()
            (versions,) = opened.execute("select count(*) from model_versions").fetchone()
    except sqlite3.Error as error:
        state = str(error)
    if state != "ok":
        return failed(
            f"{database}: expected MLflow's database, found: {state}.",
            "Bring it back, or move it and models/ away and train again.",
        )
    return ok(f"{database.name} opens; it names {versions} versions of models")


CHECK = DoctorCheck("database", "Whether MLflow's database opens and is not damaged.", find)
