"""The bytes of a model do not depend on the number of cores, or on other load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hashlib, json, os, sys
from pathlib import Path
if sys.argv[2] == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from mien.tasks.gesture import data
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.sample import write_sample
from mien.tasks.gesture.train import fit
raw, prepared = Path(sys.argv[1], "raw"), Path(sys.argv[1], "prepared")
params = Params(accept_images=False, trees=10, boosting_rounds=10)
prepared.mkdir(parents=True)
write_sample(raw, per_label=20)
data.prepare(raw, prepared, params, Path(sys.argv[1], "cache"))
models = {}
for name in params.candidates:
    out = Path(sys.argv[1], name)
    out.mkdir()
    result = fit(name, prepared, out, params, 0, lambda *_: None)
    network = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    models[name] = [network, result.preprocessing, result.history]
print(json.dumps(models))
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call on this system")
def test_one_core_and_several_train_the_same_bytes(tmp_path: Path) -> None:
    """All four classifiers, their preprocessing and every score; with another hash seed."""
    results = []
    for number, (cores, threads) in enumerate((("all", "4"), ("one core", "1")), start=1):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / str(number)), cores],
            env={**os.environ, **counts, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
    assert len(results[0]) == 4
