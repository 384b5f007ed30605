"""`mien sweep --engine ray`: the trials of one process, on a real Ray."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray_program
from project import ROOT
from waiting import TRAINING_PATIENCE

from mien.tasks.gesture.sample import write_sample

CONFIG = """
task: gesture
seed: 6
params: {candidates: [random_forest], accept_images: false, trees: 10, cv_folds: 2}
search_space:
  trees: {low: 10, high: 20, step: 10}
  cv_folds: [2, 10]  # of the ten rows or fewer that a label has in train
"""
PROGRAM = """
import json, sys
from pathlib import Path
from mien import config
from mien.storage.workspace import Workspace
from mien.sweep import sweep

folder, engine = Path(sys.argv[1]), sys.argv[2]
result = sweep(config.load(folder / "few.yaml"), Workspace(folder / engine), 4, 2, engine=engine)
trials = [
    [number, dict(values), each.value, bool(each.error), each.same_as]
    for number, (values, each) in sorted(result.trials.items())
]
Path(folder, f"{engine}.json").write_text(json.dumps(trials))
"""


@pytest.mark.long
def test_trials_on_ray_are_those_of_processes(tmp_path: Path, mlflow_database: Path) -> None:
    """Params and scores, also of a trial that fails; a failed one does not end the sweep."""
    raw = tmp_path / "raw"
    raw.mkdir()
    write_sample(raw, 0, per_label=12)
    (tmp_path / "few.yaml").write_text(f"{CONFIG}source: {raw}\n")
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
        shutil.copy(mlflow_database, tmp_path / engine)
    with ray_program.running(tmp_path, PROGRAM) as program:
        running = program.start(tmp_path, "ray")
        assert running.wait(TRAINING_PATIENCE) == 0, program.log
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "local"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=TRAINING_PATIENCE, capture_output=True)
    trials = json.loads((tmp_path / "ray.json").read_text())
    assert trials == json.loads((tmp_path / "local.json").read_text())
    assert {failed for _, _, _, failed, _ in trials} == {True, False}
