"""Drawn pictures to score, the table of a batch, and its end by a kill."""

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from project import ROOT
from waiting import PATIENCE

from mien.stages import batch as stage
from mien.storage.buckets import Location
from mien.storage.workspace import Workspace


def draw(path: Path, shade: int = 90, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(shade).integers(0, shade + 1, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path, path.suffix[1:].replace("jpg", "jpeg"))


def score(
    source: Location, out: Location, bundle: Path | None, **options: Any
) -> stage.BatchResult:
    beside = out.parent if isinstance(out, Path) else Path()
    workspace = options.pop("workspace", Workspace(beside))
    return stage.batch(source, out, workspace, bundle=bundle, **options)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def kill(command: list[str], parts: int, seconds: float) -> None:
    """Let the program write `parts` parts, and kill it `seconds` after the next one starts."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin
        assert running.stdout
        patience = threading.Timer(PATIENCE, running.kill)
        patience.start()
        try:
            for _ in range(parts + 1):
                assert running.stdout.readline() == "part\n", "it ended, or hangs"
                running.stdin.write("\n")
                running.stdin.flush()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass  # a part is written in less time than a sleep takes
        finally:
            patience.cancel()
            running.kill()
