"""A hand-written YOLO data set, small enough to be read in a test."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from mien.tasks.emotion.params import LABELS


def write(
    folder: Path,
    files: Mapping[str, str | None],
    names: str = f"[{', '.join(LABELS)}]",
    val: str = "valid",
) -> Path:
    """Write a set of pictures of noise.

    Args:
        files: text of the label file by `<split>/<picture>`; None for a picture without one.
        names: as data.yaml has them; empty for no data.yaml.
    """
    rng = np.random.default_rng(0)
    for split in ("train", val, "test"):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
    for place, text in files.items():
        split, _, picture = place.replace("valid/", f"{val}/").partition("/")
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / split / "images" / picture)
        if text is not None:
            label = folder / split / "labels" / f"{Path(picture).stem}.txt"
            label.write_text(text, encoding="utf-8")
    if names:
        (folder / "data.yaml").write_text(f"nc: 8\nnames: {names}\n", encoding="utf-8")
    return folder
