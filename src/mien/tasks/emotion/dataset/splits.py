"""Which image belongs to which split: as the set says, else by the names of its folders.

The order of evidence: the file that describes the set, lists such as `train.txt`, folders named
`train`, `valid`, `val`, `validation` or `test` anywhere in the path. Without any of these all
images are train. Paths in files count from where Ultralytics counts them; a path of another machine
is matched by its end.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mien.task import SPLITS, Split

from ..label_lines import decode_text
from . import file_tree
from .file_tree import IMAGE_SUFFIXES, FileTree
from .set_description import SPLIT_KEYS, SetDescription

_FOLDER = re.compile(
    r"(?:(?:obj|images?)[_-])?([a-z]+?)(?:ing)?(?:[_-]?(?:data|set|images?|split))?[_-]?\d*"
)
"""`train`, `Training`, `val2017`, `obj_train_data`, `images_train`, `test_set`."""
_PATTERN = re.compile(r"(/[^/]*\*[^/]*)+$")
"""`/*.jpg` behind a folder."""

_MAX_FOLDERS = 5


@dataclass(frozen=True)
class SplitImages:
    """The images of each split, as paths in the source."""

    images: Mapping[Split, tuple[str, ...]]
    lists: frozenset[str]
    """Files that list images."""
    notes: tuple[str, ...]


def find(tree: FileTree, described: SetDescription) -> SplitImages:
    """The images of each split; a split of which there is nothing is missing."""
    images = tree.images
    lists: set[str] = set()
    notes: list[str] = []
    by_split = _described_splits(tree, described, lists, notes)
    if not by_split:
        by_split = _listed_splits(tree, lists, notes)
    used = {path for paths in by_split.values() for path in paths}
    by_folder = _folder_splits([path for path in images if path not in used], images)
    for split, folders in by_folder.items():
        if split not in by_split:
            by_split[split] = sorted(path for paths in folders.values() for path in paths)
            if len(folders) > 1:
                listing = ", ".join(list(folders)[:_MAX_FOLDERS])
                notes.append(f"The images of {len(folders)} folders are {split}: {listing}.")
    if not by_split and images:
        by_split = {"train": list(images)}
    used = {path for paths in by_split.values() for path in paths}
    notes += _outside_notes([path for path in images if path not in used], described)
    ordered = {split: tuple(by_split[split]) for split in SPLITS if by_split.get(split)}
    return SplitImages(ordered, frozenset(lists), tuple(notes))


def _described_splits(
    tree: FileTree, described: SetDescription, lists: set[str], notes: list[str]
) -> dict[Split, list[str]]:
    by_split: dict[Split, list[str]] = {}
    for split, entries in described.splits.items():
        paths: list[str] = []
        for entry in entries:
            images = _images_of(tree, described, entry, lists, notes)
            if not images:
                notes.append(f"{described.file}: {split} names {entry}, where no image is.")
            paths += images
        if paths:
            by_split[split] = list(dict.fromkeys(paths))
    return by_split


def _images_of(
    tree: FileTree, described: SetDescription, entry: str, lists: set[str], notes: list[str]
) -> list[str]:
    """The images of a folder, of a list, or the image itself."""
    path = _resolve(tree, described, _PATTERN.sub("", entry))
    if path is None:
        return []
    if tree.folder(path) is not None:
        return _below(tree, path)
    if file_tree.suffix(path) in IMAGE_SUFFIXES:
        return [path]
    lists.add(path)
    return _listed_images(tree, path, notes)


def _resolve(tree: FileTree, described: SetDescription, entry: str) -> str | None:
    """The path of a folder or file in the source that a description names.

    Ultralytics (ultralytics/data/utils.py, check_det_dataset) counts from `path`, or from the
    folder of the file without one, and drops a leading `../` that leads nowhere: Roboflow writes
    it.
    """
    bases: list[str] = [described.folder]
    if described.base:
        base = file_tree.join(described.folder, described.base)
        base_folder = tree.folder(base)
        if base_folder is None:
            base_folder = tree.folder_ending(described.base)
        if base_folder is not None:
            bases.insert(0, base_folder)
    for start in bases:
        for each in (entry, entry.removeprefix("../")):
            path = file_tree.join(start, each)
            existing = tree.folder(path)
            existing = tree.file(path) if existing is None else existing
            if existing is not None:
                return existing
    return _resolve_foreign(tree, entry)


def _resolve_foreign(tree: FileTree, path: str) -> str | None:
    """A folder or file by the end of a path that was written on another machine.

    The part that names a split must match, and `images` alone only at the top: every split has
    such a folder.
    """
    parts = file_tree.split_path(path)
    count = _min_parts(parts)
    ending = tree.folder_ending(path, count) or tree.file_ending(path, count)
    if ending is None and parts and not any(map(split_of_folder, parts)):
        return tree.folder(parts[-1])
    return ending


def _min_parts(parts: Sequence[str]) -> int:
    names = [part.removesuffix(".txt") for part in parts]  # lists are named as splits, too
    lengths = [len(parts) - index for index, name in enumerate(names) if split_of_folder(name)]
    return min(lengths) if lengths else min(2, len(parts))


def _below(tree: FileTree, folder: str) -> list[str]:
    return [path for path in tree.below(folder) if file_tree.suffix(path) in IMAGE_SUFFIXES]


def _listed_images(tree: FileTree, path: str, notes: list[str]) -> list[str]:
    """The images that a list names, one a line; foreign paths are matched by their end."""
    folder = path.rpartition("/")[0]
    lines = (line.strip() for line in decode_text(tree.read(path)).splitlines())
    files = [
        tree.file(file_tree.join(folder, line)) or tree.file(line) or _by_ending(tree, line)
        for line in lines
        if file_tree.suffix(line) in IMAGE_SUFFIXES
    ]
    images = [each for each in files if each]
    if images and len(images) < len(files):
        missing = len(files) - len(images)
        notes.append(f"{path}: {missing:,} of {len(files):,} lines name no image of the source.")
    return images


def _by_ending(tree: FileTree, path: str) -> str | None:
    parts = file_tree.split_path(path)
    in_split = any(map(split_of_folder, parts[:-1]))
    return tree.file_ending(path, _min_parts(parts) if in_split else 1)


def _listed_splits(tree: FileTree, lists: set[str], notes: list[str]) -> dict[Split, list[str]]:
    """Splits by lists named train.txt, val.txt and so on, nearest to the top."""
    by_split: dict[Split, list[str]] = {}
    for path in sorted(tree.files, key=lambda each: (each.count("/"), each)):
        name = path.rpartition("/")[2].lower()
        split = SPLIT_KEYS.get(file_tree.stem(name)) if name.endswith(".txt") else None
        if split and split not in by_split and (images := _listed_images(tree, path, notes)):
            by_split[split] = list(dict.fromkeys(images))
            lists.add(path)
    return by_split


def _folder_splits(
    paths: Sequence[str], images: Sequence[str]
) -> dict[Split, dict[str, list[str]]]:
    """Images by split and folder: the first below those common to all that is named as a split."""
    depth = len(_common_folders(images))
    by_split: dict[Split, dict[str, list[str]]] = {}
    for path in paths:
        folders = path.split("/")[:-1]
        for index in range(depth, len(folders)):
            if split := split_of_folder(folders[index]):
                folder = "/".join(folders[: index + 1])
                by_split.setdefault(split, {}).setdefault(folder, []).append(path)
                break
    return by_split


def split_of_folder(name: str) -> Split | None:
    """The split that a folder is named after."""
    match = _FOLDER.fullmatch(name.lower())
    return SPLIT_KEYS.get(match[1]) if match else None


def _common_folders(paths: Iterable[str]) -> list[str]:
    """The folders that all paths begin with."""
    common: list[str] | None = None
    for path in paths:
        folders = path.split("/")[:-1]
        if common is None:
            common = folders
        same = (mine == other for mine, other in zip(common, folders, strict=False))
        count = next((index for index, each in enumerate(same) if not each), None)
        common = common[: min(len(common), len(folders)) if count is None else count]
    return common or []


def _outside_notes(paths: Sequence[str], described: SetDescription) -> Iterator[str]:
    folders = Counter(path.rpartition("/")[0] or "the top folder" for path in paths)
    listing = ", ".join(
        f"{count:,} in {folder}" for folder, count in sorted(folders.items())[:_MAX_FOLDERS]
    )
    if folders:
        reason = f" that {described.file} names" if described.splits else ""
        yield f"Images outside of the splits{reason} are not used: {listing}."
