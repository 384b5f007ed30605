"""The label of each table of a source whose tables have no column of labels: by its own name.

People record one gesture after the other: `fist.csv`, `palm.csv`, or `fist/1.csv`, `palm/1.csv`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mien.errors import DataError

from .splits import is_split_folder, parse_split

_MAX_NAMES = 5


def labels_by_name(tables: Sequence[Path], raw: Path) -> Mapping[Path, str]:
    """The labels of tables, from the names of their folders or of their files.

    Folders name the labels where the files are only counted, as `session0` and `session1` are, or
    called as their folder. No label for tables that do not differ in name, or by their splits only.

    Raises:
        DataError: folders and files may both be the labels.
    """
    folders = {path: _folder(path.relative_to(raw).parts[:-1]) for path in tables}
    shared = set(folders.values()) if len(set(folders.values())) == 1 else set()
    folders = {path: name for path, name in folders.items() if name and name not in shared}
    by_folder = len(folders) == len(tables)
    files = _file_labels(tables, by_folder)
    by_file = len(files) == len(tables) and len(set(files.values())) > 1
    if folders and not by_folder:
        raise DataError(_ambiguous(folders, files, raw))
    if by_folder and by_file and not _repeat(files, folders):
        raise DataError(_ambiguous(folders, files, raw))
    return folders if by_folder else files if by_file else {}


def _folder(names: Sequence[str]) -> str:
    """The innermost folder that is not that of a split, or one such as `images`."""
    return next((name for name in reversed(names) if not is_split_folder(name)), "")


def _file_labels(tables: Sequence[Path], by_folder: bool) -> Mapping[Path, str]:
    """The label of each file, where a label is left of its name.

    A number without separator is a count within folders of labels, or where each name has several
    files, as `fist1` and `fist2`; otherwise it distinguishes labels, as `digit1` and `digit2`.
    """
    files = {path: label for path in tables if (label := _file_label(path.stem))}
    counted = {path: label.rstrip("0123456789") or label for path, label in files.items()}
    file_counts = Counter(counted.values())
    several = len(file_counts) > 1 and min(file_counts.values()) > 1
    return counted if by_folder or several else files


def _file_label(stem: str) -> str:
    """The name of a file without split and number: `fist` of `fist_train_2`; "" if none is left."""
    parts = re.split(r"(?<=[^\W_])[\s_.()-]+(?=[^\W_]|$)", stem)
    kept_parts = [each for each in parts if each and not each.isdigit() and not parse_split(each)]
    return "_".join(kept_parts).strip("_-. ()")


def _repeat(files: Mapping[Path, str], folders: Mapping[Path, str]) -> bool:
    """Whether the name of each file begins with that of its folder."""
    return all(files[path].casefold().startswith(folders[path].casefold()) for path in folders)


def _ambiguous(folders: Mapping[Path, str], files: Mapping[Path, str], raw: Path) -> str:
    path, folder = next(iter(folders.items()))
    return (
        "The tables have no column label, and their labels may be the names of the folders "
        f"({_listing(folders)}) or of the files ({_listing(files)}): {path.relative_to(raw)} may "
        f"be {folder!r} or {files.get(path, path.stem)!r}. Put the tables of each label into a "
        f"folder of its name and number the files, such as fist/1{path.suffix}, or add a column "
        "label."
    )


def _listing(labels: Mapping[Path, str]) -> str:
    names = list(dict.fromkeys(labels.values()))
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
