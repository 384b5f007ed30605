"""A `data.yaml` as a source: the folders that it names, with that file beside them.

Paths are taken as Ultralytics takes them (ultralytics/data/utils.py, check_det_dataset): from
`path`, or from the folder of the file without one; a leading `../` that leads nowhere is dropped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.config import parse_yaml
from mien.errors import DataError

SUFFIXES = (".yaml", ".yml")
_SPLITS = ("train", "val", "valid", "validation", "test")
_SMALL_FILES = (".txt", ".names", ".json", ".csv", ".md")
"""Files beside the folders of a set that may belong to it."""


@dataclass(frozen=True)
class DescribedSet:
    """The files that a YAML file describes."""

    folder: Path
    """Where its paths count from."""
    entries: frozenset[str]
    """The files and folders in it that belong to the set."""


def locate(path: Path) -> DescribedSet:
    """Where the files of a set are, by the YAML file that describes it.

    Raises:
        DataError: the file describes no data set, or its folders are not on this machine.
    """
    document = _read(path)
    folder = _base(document, path)
    entries = list(_entries(document))
    existing = [each for entry in entries if (each := _existing(folder, entry))]
    if entries and not existing:
        raise DataError(
            f"{path}: expected the folders that it names below {folder}, found none of "
            f"{', '.join(entries)}. Correct `path:`, or give the folder of the set."
        )
    outside = [each for each in existing if not each.is_relative_to(folder)]
    if outside:
        raise DataError(
            f"{path}: expected all splits in {folder}, found {outside[0]}. Put them into one "
            "folder, and name it under `path:`."
        )
    return DescribedSet(folder, frozenset(_names(folder, existing)))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable YAML ({error}). Correct it.") from None
    if not isinstance(document, dict) or not {*_SPLITS, "names"} & document.keys():
        raise DataError(
            f"{path} describes no data set: expected the keys train, val and names. Give the "
            "data.yaml of a YOLO set, or its folder."
        )
    return document


def _base(document: Mapping[str, Any], path: Path) -> Path:
    """The first of the usual folders from which a split exists."""
    written = document.get("path")
    candidates = [path.parent / str(written)] if isinstance(written, str) and written else []
    candidates += [path.parent, path.parent.parent]
    for folder in candidates:
        if any(_existing(folder.resolve(), entry) for entry in _entries(document)):
            return folder.resolve()
    return path.parent.resolve()


def _entries(document: Mapping[str, Any]) -> Iterator[str]:
    for split in _SPLITS:
        value = document.get(split)
        yield from (str(each) for each in (value if isinstance(value, list) else [value]) if each)


def _existing(base: Path, entry: str) -> Path | None:
    for each in (entry, entry.removeprefix("../")):
        if (base / each).exists():
            return (base / each).resolve()
    return None


def _names(folder: Path, splits: list[Path]) -> Iterator[str]:
    """The folders with splits or with their labels, and small files beside them."""
    unbounded = not splits or folder in splits
    first = {each.relative_to(folder).parts[0] for each in splits if each != folder}
    lists = any(each.is_file() for each in splits)
    for path in folder.iterdir():
        if path.is_dir():
            labels = path.name.lower() == "labels"
            if unbounded or lists or labels or path.name in first:
                yield path.name
        elif path.suffix.lower() in _SMALL_FILES or path.name in first:
            yield path.name
