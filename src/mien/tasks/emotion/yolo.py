"""The YOLO format as mien writes it: prepared data, repaired sets and the drawn sample.

    {train,valid,test}/{images,labels}/ + data.yaml

A line of a label file is `class cx cy w h`, the box in shares of width and height. Decodes no image
and does not judge: issues go to a callback by the slug of their check. `dataset/` reads the sets of
others.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mien.boxes import Box
from mien.errors import DataError
from mien.task import SPLITS, Split

from . import label_lines
from .label_lines import XcYcWh
from .params import LABELS

ReportIssue = Callable[[str], None]
"""Receives the slug of each issue."""

SPLIT_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("valid", "val"),
    "test": ("test",),
}
"""Folder names of each split; the first one is written."""
WHOLE_IMAGE_SHARE = 0.98
"""A box at least this wide and high, as a share of the image, is the whole image."""
BORDER_TOLERANCE = 0.005
"""Share of the image by which a box may reach beyond it, because of rounding."""
MIN_BOX_SHARE = 1e-3
"""A box that is not wider and higher than this share of the image has no area."""
BOX_OUT_OF_BOUNDS = "box_out_of_bounds"
DEGENERATE_BOX = "degenerate_box"
WHOLE_IMAGE_BOX = "whole_image_box"


def stem(name: str) -> str:
    """The common name of an image and its label file."""
    return name.rpartition(".")[0] or name


def label_path(image: Path) -> Path:
    """The label file of an image."""
    return image.parent.parent / "labels" / f"{stem(image.name)}.txt"


def clip_box(box: XcYcWh, report_issue: ReportIssue) -> XcYcWh | None:
    """Clip a box at the image's border; None where nothing is left."""
    x1, y1, x2, y2 = corners(box)
    if not (min(x1, y1) >= -BORDER_TOLERANCE and max(x2, y2) <= 1 + BORDER_TOLERANCE):  # or NaN
        report_issue(BOX_OUT_OF_BOUNDS)
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in (x1, y1, x2, y2))
    if not (x2 - x1 > MIN_BOX_SHARE and y2 - y1 > MIN_BOX_SHARE):
        report_issue(DEGENERATE_BOX)
        return None
    if x2 - x1 >= WHOLE_IMAGE_SHARE and y2 - y1 >= WHOLE_IMAGE_SHARE:
        report_issue(WHOLE_IMAGE_BOX)
    return ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def corners(box: XcYcWh, width: float = 1.0, height: float = 1.0) -> Box:
    """Left, top, right and bottom of a box in an image of this size."""
    cx, cy, w, h = box
    left, top, right, bottom = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    return left * width, top * height, right * width, bottom * height


def format_label(number: int, box: XcYcWh) -> str:
    """A line of a label file."""
    return f"{number} " + " ".join(f"{value:.6f}" for value in box) + "\n"


def format_data_yaml(names: Sequence[str]) -> str:
    """A data.yaml for the folders train, valid and test beside it."""
    document: dict[str, Any] = {
        split: f"{folders[0]}/images" for split, folders in SPLIT_FOLDERS.items()
    }
    document |= {"nc": len(names), "names": list(names)}
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


def write_prepared_yaml(prepared: Path, path: Path) -> None:
    """Write the data.yaml of a prepared data set, which may lie elsewhere."""
    document: dict[str, Any] = {"path": str(prepared.resolve())}
    document |= {split: f"{split}/images" for split in SPLITS}
    document |= {"names": list(LABELS)}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def prepared_images(data_yaml: Path, split: str) -> list[Path]:
    """Sorted images of a split of a prepared data set.

    Raises:
        DataError: data.yaml does not name the split, or there are no images.
    """
    content: Any = yaml.safe_load(data_yaml.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or split not in content:
        raise DataError(f"{data_yaml}: expected the key {split!r}. Prepare the data again.")
    folder = Path(content.get("path", data_yaml.parent)) / str(content[split])
    files = sorted(folder.glob("*"))
    if not files:
        raise DataError(f"{folder}: expected images of the split {split!r}, found none.")
    return files


def read_prepared_labels(image: Path, label_count: int) -> list[tuple[int, XcYcWh]]:
    """Class number and box of each face of a prepared image; none without a label file.

    Raises:
        DataError: a line is malformed, or a class number is out of range.
    """
    path = label_path(image)
    labels = label_lines.parse(path.read_bytes() if path.is_file() else b"")
    if labels.malformed:
        raise DataError(f"{path}:{labels.malformed.line}: {labels.malformed.reason}.")
    if not all(0 <= each.number < label_count for each in labels.boxes):
        raise DataError(f"{path}: expected classes 0 to {label_count - 1}, found others.")
    return [(each.number, each.box) for each in labels.boxes]
