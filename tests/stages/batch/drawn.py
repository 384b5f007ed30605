"""Drawn pictures to score, and the table of a batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.stages import batch as stage
from mien.storage.workspace import Workspace


def draw(path: Path, shade: int = 90, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(shade).integers(0, shade + 1, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path, path.suffix[1:].replace("jpg", "jpeg"))


def score(source: Path, out: Path, bundle: Path | None, **options: Any) -> stage.BatchResult:
    workspace = options.pop("workspace", Workspace(out.parent))
    return stage.batch(source, out, workspace, bundle=bundle, **options)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
