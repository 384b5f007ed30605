#!/usr/bin/env bash
# mlflow-skinny 3.17.2: a process remembers the artifact folder of a run by the run's id alone. Two
# stores with the same run, as a database that was copied with its artifacts and whose paths were
# corrected, share it: files that a client of the copy logs land in the original.
# Where it meets people: a notebook or a test that works on a copy of an experiment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check \
  "mlflow-skinny==3.17.2" sqlalchemy alembic 2> /dev/null
cat > two_stores.py <<'END'
import shutil
import sqlite3
import sys
from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


here, there = Path("here").absolute(), Path("there").absolute()
here.mkdir()
experiment = client(here).create_experiment("demo", f"{here.as_uri()}/artifacts")
run_id = client(here).create_run(experiment).info.run_id
client(here).log_text(run_id, "first", "note.txt")
shutil.copytree(here, there)
with sqlite3.connect(there / "mlflow.db") as database:
    database.execute(
        "update runs set artifact_uri = replace(artifact_uri, ?, ?)",
        (here.as_uri(), there.as_uri()),
    )
if sys.argv[1:] == ["forget"]:
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
uri = client(there).get_run(run_id).info.artifact_uri
client(there).log_text(run_id, "second", "note.txt")
named = "there" if uri.startswith(there.as_uri()) else "here"
notes = [next(each.rglob("note.txt")).read_text() for each in (here, there)]
print(f"MLflow {mlflow.__version__}: run {named}; original: {notes[0]}; copy: {notes[1]}")
END
export MLFLOW_DISABLE_TELEMETRY=true
one=$(venv/bin/python two_stores.py 2> /dev/null)
rm -rf here there
forgotten=$(venv/bin/python two_stores.py forget 2> /dev/null)
echo "one process:           $one"
echo "without what it keeps: $forgotten"
[[ $one == *"run there; original: second; copy: first" ]]
[[ $forgotten == *"run there; original: first; copy: second" ]]
