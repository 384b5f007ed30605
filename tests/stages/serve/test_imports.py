"""Serving runs where no training library is installed."""

import subprocess
import sys
from pathlib import Path

from waiting import PATIENCE

import mien
from mien.storage.workspace import Workspace

SCRIPT = """
import sys, threading
from pathlib import Path

class Block:
    names = set(sys.argv[3].split())
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is not there when serving")

sys.meta_path.insert(0, Block())
from mien.stages import serve
assert not {"fastapi", "starlette", "uvicorn", "onnxruntime"} & set(sys.modules)
from mien import tasks
from mien.config import Settings
from mien.stages.serve import app, models
from mien.storage.workspace import Workspace
tasks.__path__ = [sys.argv[1]]
with app.running(Workspace(Path(sys.argv[2])), ["shape"], [], Settings(PORT=0)) as address:
    from urllib.request import Request, urlopen
    body = b'{"point": {"values": [0, 1, 0.5]}}'
    kind = {"content-type": "application/json"}
    print(urlopen(Request(f"{address}/predict/shape", body, kind)).read().decode())
"""
BLOCKED = (
    "torch torchvision libreyolo ultralytics sklearn lightgbm skl2onnx onnxmltools onnx mlflow "
    "mediapipe cv2 matplotlib pandas scipy dvc ray optuna typer rich httpx httpx2"
)


def test_an_answer_needs_no_training_library(workspace: Workspace) -> None:
    """A whole server in a process in which importing any of them fails."""
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent / "folder")]
    done = subprocess.run(
        [*command, str(workspace.home), BLOCKED],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={"PYTHONPATH": str(Path(mien.__file__).parents[1]), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"shape":"square",')
