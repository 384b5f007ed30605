"""Writes crops that people reviewed into the train split of a repaired set."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from mien import boxes
from mien.errors import DataError
from mien.observability.review.sample import Crop, Reviewed

from . import yolo
from .dataset.class_names import label_of
from .label_lines import XcYcWh
from .params import Params


def add_reviewed(raw: Path, samples: Sequence[Reviewed], params: Params) -> None:
    """Add the samples that have a crop; those without a face get an empty label file.

    Raises:
        DataError: the set has no class for a label.
    """
    document = yaml.safe_load((raw / "data.yaml").read_text(encoding="utf-8"))
    numbers = {label_of(name): number for number, name in enumerate(document["names"])}
    folder = raw / yolo.SPLIT_FOLDERS["train"][0]
    for each in samples:
        crop, label = each.sample.crop, each.label
        if crop is None:
            continue
        if label is not None and label_of(label) not in numbers:
            raise DataError(
                f"reviewed samples: expected one of {', '.join(document['names'])}, found "
                f"{label!r}. Correct it in `mien review`."
            )
        image = folder / "images" / f"{each.sample.trace_id}.png"
        image.write_bytes(base64.b64decode(crop.picture))
        line = "" if label is None else yolo.format_label(numbers[label_of(label)], _box(crop))
        yolo.label_path(image).write_text(line, encoding="utf-8")


def _box(crop: Crop) -> XcYcWh:
    sides = np.array([crop.width, crop.height] * 2, np.float64)
    cx, cy, width, height = boxes.xyxy_to_xcycwh(np.array(crop.box) / sides).tolist()
    return cx, cy, width, height
