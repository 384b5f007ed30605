"""How a YOLO data set lies in folders, and what the lines of its label files say.

    raw/[one or two folders/]{train,valid|val,test}/{images,labels}/ + data.yaml

Knows names of folders, files and classes, and numbers of boxes; decodes no picture and judges
nothing: what is wrong is told to whoever asks.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from mien.errors import DataError, nearest
from mien.task import Split

from .params import LABELS

FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("valid", "val"),
    "test": ("test",),
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
WHOLE = 0.98
"""A box at least this wide and high, as a share of the picture, is the whole picture."""
SLACK = 0.005
"""Share of the picture by which a box may reach beyond it, as rounding does."""
LEAST = 1e-3
"""A box that is not wider and higher than this share of the picture has no area."""
EXPECTED = (
    "expected a YOLO data set: train/, valid/ (or val/) and test/, each with images/ and labels/, "
    "at the top or one folder deep."
)
EMPTY = "empty label file"
SENSELESS = "label line without meaning"
OUTSIDE = "box out of range"
DEGENERATE = "degenerate box"
WHOLE_PICTURE = "whole-picture box"

Shares = tuple[float, float, float, float]
"""cx, cy, w, h of a box as shares of the picture's width and height."""
Tell = Callable[[str], None]
"""Is told each fault by its name."""
_NAMED = 5


def find(raw: Path) -> Path:
    """The folder that holds the splits.

    Raises:
        DataError: there is none.
    """
    for folder in [raw, *sorted(raw.glob("*/")), *sorted(raw.glob("*/*/"))]:
        if (folder / "train" / "images").is_dir():
            return folder
    found = ", ".join(sorted(path.name for path in raw.iterdir())[:_NAMED])
    raise DataError(f"The source holds {found}; {EXPECTED}")


def split_folder(root: Path, split: Split) -> Path:
    """The folder of a split, which holds images/ and labels/.

    Raises:
        DataError: there is none.
    """
    for name in FOLDERS[split]:
        if (root / name / "images").is_dir():
            return root / name
    wanted = " or ".join(f"{name}/images" for name in FOLDERS[split])
    raise DataError(f"The data set has no {wanted}; {EXPECTED}")


def pictures(folder: Path) -> list[str]:
    """Names of the pictures of a split, in order; other files are none."""
    with os.scandir(folder / "images") as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in names if name[len(stem(name)) :].lower() in SUFFIXES)


def label_files(folder: Path) -> list[str]:
    """Names of the label files of a split, in order; none where there is no labels/."""
    if not (folder / "labels").is_dir():
        return []
    with os.scandir(folder / "labels") as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(".txt"))


def stem(name: str) -> str:
    """What a picture and its label file are both called."""
    return name.rpartition(".")[0] or name


def written_names(root: Path) -> list[str] | None:
    """The classes as data.yaml writes them, in order of their numbers; None without a data.yaml.

    Raises:
        DataError: data.yaml names no classes that one could number.
    """
    path = root / "data.yaml"
    if not path.is_file():
        return None
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"data.yaml is not readable YAML ({error}). Mend or remove it.") from None
    listed = document.get("names") if isinstance(document, dict) else None
    if isinstance(listed, dict):
        if sorted(map(str, listed)) != sorted(map(str, range(len(listed)))):
            raise DataError(
                f"data.yaml numbers its classes {', '.join(map(str, listed))}; expected 0 to "
                f"{len(listed) - 1}, as the label files count."
            )
        listed = [listed[number] for number in sorted(listed, key=int)]
    if not isinstance(listed, list) or not listed:
        raise DataError("data.yaml has no list `names`; it must name the classes by number.")
    return [str(name) for name in listed]


def plain(name: str) -> str:
    """A class name as the task writes it: in small letters, without space around it."""
    return name.strip().lower()


def unknown(name: str) -> str | None:
    """A sentence on a class that the task does not know; None for one that it knows."""
    if plain(name) in LABELS:
        return None
    hint = nearest(plain(name), LABELS)
    return f"data.yaml names the class {name!r}, which the task does not know.{hint}"


def lines(text: str, tell: Tell) -> Iterator[tuple[int, Shares]]:
    """Class number and box of each line of a label file, as they are written.

    Ends at the first line without meaning: what follows it cannot be trusted either.
    """
    filled = [line for line in text.splitlines() if line.strip()]
    if not filled:
        tell(EMPTY)
    for line in filled:
        try:
            number, cx, cy, w, h = (float(word) for word in line.split())
            if not number.is_integer():
                raise ValueError(number)
        except ValueError:
            tell(SENSELESS)
            return
        yield int(number), (cx, cy, w, h)


def cut(box: Shares, tell: Tell) -> Shares | None:
    """Cut a box at the picture's border; None where nothing is left."""
    cx, cy, w, h = box
    x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if not (min(x1, y1) >= -SLACK and max(x2, y2) <= 1 + SLACK):  # also true for NaN
        tell(OUTSIDE)
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in (x1, y1, x2, y2))
    if not (x2 - x1 > LEAST and y2 - y1 > LEAST):
        tell(DEGENERATE)
        return None
    if x2 - x1 >= WHOLE and y2 - y1 >= WHOLE:
        tell(WHOLE_PICTURE)
    return ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def line(number: int, box: Shares) -> str:
    """A line of a label file."""
    return f"{number} " + " ".join(f"{share:.6f}" for share in box) + "\n"


def data_yaml(names: Sequence[str]) -> str:
    """A data.yaml for folders train, valid and test beside it."""
    listed = ", ".join(names)
    return (
        "train: train/images\nval: valid/images\ntest: test/images\n"
        f"nc: {len(names)}\nnames: [{listed}]\n"
    )
