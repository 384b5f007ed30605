"""The shortest training of a detector is rebuilt byte for byte."""

from pathlib import Path

import pytest

from mien import pipeline
from mien.config import RunConfig
from mien.stages import rebuild
from mien.storage.workspace import Workspace
from mien.tasks.emotion.sample import write_sample

pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.long]
RUN = RunConfig(
    name="tiny",
    task="emotion",
    params={
        "candidates": ["yolox-nano"],
        "epochs": 1,
        "pretrain_epochs": 1,
        "image_size": 64,
        "batch_size": 8,
        "threads": 1,
    },
)


def test_a_detector_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    """The images, the losses of every epoch, the network and its scores."""
    write_sample(tmp_path / "raw", seed=3, counts={"train": 24, "valid": 8, "test": 8})
    workspace = Workspace(tmp_path / "home")
    pipeline.run(RUN.model_copy(update={"source": str(tmp_path / "raw")}), workspace)
    done = rebuild.reproduce("emotion:1", workspace)
    assert done.verdict == "identical: 6 stages", done.as_json()
