"""Where MLflow writes the files of runs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from mien.storage.registry import ARTIFACTS

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning

_QUERY = "select name, artifact_location from experiments where lifecycle_stage = 'active'"


def find(subject: Installation) -> Finding:
    """Whether the folder of every experiment is in the workspace, or exists."""
    database, home = subject.workspace.database, subject.workspace.home.resolve()
    if not database.is_file():
        return Finding("skipped", "no registry yet")
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            locations = dict(opened.execute(_QUERY).fetchall())
    except sqlite3.Error as error:
        return failed(f"{database}: {error}.", "See the check `database`.")
    relocated = []
    for name, location in locations.items():
        folder = Path(unquote(urlparse(str(location)).path))
        if not str(location).startswith("file:") or folder.is_relative_to(home):
            continue
        if folder.parts[-2:] == (ARTIFACTS, name):
            relocated.append(name)
        elif not folder.is_dir():
            return failed(
                f"{folder}: expected the files of experiment {name}, found no folder.",
                "Bring it back, or delete the experiment in `mien ui`.",
            )
    if relocated:
        text = f"the workspace was moved: {', '.join(relocated)} point to its old place."
        return warning(text, "The next training corrects them.")
    return ok(f"{len(locations)} experiments write below {home / ARTIFACTS}")


CHECK = DoctorCheck("artifact_root", "Where MLflow writes the files of runs.", find)
