"""The YOLO format: folders, `data.yaml` and label files. All of its readers and writers are here.

    raw/[one or two folders/]{train,valid|val,test}/{images,labels}/ + data.yaml

A line of a label file is `class cx cy w h`, the box in shares of width and height. Decodes no image
and does not judge: issues go to a callback by the slug of their check.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mien import boxes
from mien.boxes import Box
from mien.errors import DataError, nearest
from mien.task import SPLITS, Split

from .params import LABELS

XcYcWh = tuple[float, float, float, float]
"""Centre x, centre y, width and height of a box, in shares of the image's width and height."""
ReportIssue = Callable[[str], None]
"""Receives the slug of each issue."""

SPLIT_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("valid", "val"),
    "test": ("test",),
}
"""Folder names of each split; the first one is written."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
WHOLE_IMAGE_SHARE = 0.98
"""A box at least this wide and high, as a share of the image, is the whole image."""
BORDER_TOLERANCE = 0.005
"""Share of the image by which a box may reach beyond it, because of rounding."""
MIN_BOX_SHARE = 1e-3
"""A box that is not wider and higher than this share of the image has no area."""
EXPECTED = (
    "expected a YOLO data set: train/, valid/ (or val/) and test/, each with images/ and labels/, "
    "at the top or one folder deep."
)
EMPTY_LABEL_FILE = "empty_label_file"
MALFORMED_LABEL = "malformed_label"
BOX_OUT_OF_BOUNDS = "box_out_of_bounds"
DEGENERATE_BOX = "degenerate_box"
WHOLE_IMAGE_BOX = "whole_image_box"
_MAX_NAMES = 5


def find_root(raw: Path) -> Path:
    """The folder with the split folders.

    Raises:
        DataError: there is none.
    """
    for folder in [raw, *sorted(raw.glob("*/")), *sorted(raw.glob("*/*/"))]:
        if (folder / "train" / "images").is_dir():
            return folder
    content = ", ".join(sorted(path.name for path in raw.iterdir())[:_MAX_NAMES])
    raise DataError(f"The source holds {content}; {EXPECTED}")


def split_folder(root: Path, split: Split) -> Path:
    """The folder of a split, with images/ and labels/.

    Raises:
        DataError: there is none.
    """
    for name in SPLIT_FOLDERS[split]:
        if (root / name / "images").is_dir():
            return root / name
    expected = " or ".join(f"{name}/images" for name in SPLIT_FOLDERS[split])
    raise DataError(f"The data set has no {expected}; {EXPECTED}")


def image_names(folder: Path) -> list[str]:
    """Sorted names of the images of a split; other files are ignored."""
    with os.scandir(folder / "images") as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in names if name[len(stem(name)) :].lower() in IMAGE_SUFFIXES)


def label_file_names(folder: Path) -> list[str]:
    """Sorted names of the label files of a split; none without labels/."""
    if not (folder / "labels").is_dir():
        return []
    with os.scandir(folder / "labels") as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(".txt"))


def stem(name: str) -> str:
    """The common name of an image and its label file."""
    return name.rpartition(".")[0] or name


def label_path(image: Path) -> Path:
    """The label file of an image."""
    return image.parent.parent / "labels" / f"{stem(image.name)}.txt"


def class_names(root: Path) -> list[str] | None:
    """The class names of data.yaml as written, in order of their numbers; None without the file.

    Raises:
        DataError: data.yaml has no usable list of names.
    """
    path = root / "data.yaml"
    if not path.is_file():
        return None
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.yaml is not readable YAML ({error}). Correct or remove it."
        ) from None
    listed = document.get("names") if isinstance(document, dict) else None
    if isinstance(listed, dict):
        if sorted(map(str, listed)) != sorted(map(str, range(len(listed)))):
            raise DataError(
                f"data.yaml: expected classes 0 to {len(listed) - 1}, as in the label files, found "
                f"{', '.join(map(str, listed))}. Number them so."
            )
        listed = [listed[number] for number in sorted(listed, key=int)]
    if not isinstance(listed, list) or not listed:
        raise DataError("data.yaml has no list `names`. Name the classes by number.")
    return [str(name) for name in listed]


def normalize(name: str) -> str:
    """A class name in the task's spelling: lower case, without space around it."""
    return name.strip().lower()


def unknown_class(name: str) -> str | None:
    """A message about a class that the task does not know; None for one that it knows."""
    if normalize(name) in LABELS:
        return None
    hint = nearest(normalize(name), LABELS)
    return f"data.yaml names the class {name!r}, which the task does not know.{hint}"


def parse_labels(text: str, report_issue: ReportIssue) -> Iterator[tuple[int, XcYcWh]]:
    """Class number and box of each line of a label file, as written.

    Ends at the first malformed line: the lines after it cannot be trusted either.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        report_issue(EMPTY_LABEL_FILE)
    for line in lines:
        try:
            number, cx, cy, w, h = (float(text) for text in line.split())
            if not number.is_integer():
                raise ValueError(number)
        except ValueError:
            report_issue(MALFORMED_LABEL)
            return
        yield int(number), (cx, cy, w, h)


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
    x1, y1, x2, y2 = boxes.xcycwh_to_xyxy(np.array(box, np.float64)).tolist()
    return x1 * width, y1 * height, x2 * width, y2 * height


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
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{folder}: expected images of the split {split!r}, found none.")
    return files


def read_prepared_labels(image: Path, label_count: int) -> list[tuple[int, XcYcWh]]:
    """Class number and box of each face of a prepared image; none without a label file.

    Raises:
        DataError: a line is malformed, or a class number is out of range.
    """
    path = label_path(image)
    issues: list[str] = []
    labels = list(
        parse_labels(path.read_text(encoding="utf-8"), issues.append) if path.is_file() else ()
    )
    if MALFORMED_LABEL in issues:
        raise DataError(f"{path}: expected lines of five numbers `class cx cy w h`.")
    if not all(0 <= number < label_count for number, _ in labels):
        raise DataError(f"{path}: expected classes 0 to {label_count - 1}, found others.")
    return labels
