"""Reads a YOLO data set in any public layout into one form: class names, and images by split.

    source -> FileTree -> description (data.yaml, obj.data) -> splits, class names -> DataSet

Everything that reads the raw data (`inspect`, `prepare`, `repair`) starts here; the trainer and the
stages know no layout. Each label file is read once, and no image is decoded.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mien.errors import DataError
from mien.images import FORMATS
from mien.images.unread_types import unread_notes
from mien.task import SPLITS, Split

from .. import label_lines
from ..params import Params
from . import class_names, conversion, drawn_splits, file_tree, refusals, set_description, splits
from .class_names import ClassNames
from .file_tree import FileTree
from .images import LabelledImage
from .label_files import LabelFinder
from .splits import SplitImages
from .usable import require_ignored, require_labels

__all__ = ["DataSet", "LabelledImage", "read"]

_CONVERSIONS = {
    label_lines.POLYGON_LABEL: "label lines are polygons, and their bounding boxes are read",
    label_lines.EXTRA_LABEL_COLUMNS: "label lines have columns after the box, which are ignored",
    label_lines.DUPLICATE_LABEL_LINE: "label lines repeat a line of their file and count once",
}
_ORPHAN = "label files without an image"
_OUTSIDE = "images outside of the splits"
Images = Mapping[Split, tuple[LabelledImage, ...]]
"""The images of each split."""


@dataclass(frozen=True)
class DataSet:
    """A data set as every layout is read."""

    root: Path
    """The folder of the source."""
    classes: ClassNames
    images: Images
    """All three splits."""
    orphans: tuple[str, ...]
    """Label files without an image."""
    outside: tuple[str, ...]
    """Images in no split."""
    other_files: Mapping[str, int]
    """Files that are neither images of a split nor their label files, by what they are."""
    notes: tuple[str, ...]
    """How the set was read, where a reader might have expected something else."""

    def __iter__(self) -> Iterator[tuple[Split, LabelledImage]]:
        return ((split, image) for split in SPLITS for image in self.images[split])


def read(raw: Path, params: Params, cache: Path) -> DataSet:
    """Read a data set.

    Raises:
        DataError: it holds no images with labels, nothing or two things name its classes, or a
            split has no usable label.
    """
    tree = FileTree(raw)
    described = set_description.find(tree)
    by_split = splits.find(tree, described.chosen)
    _require_images(tree, by_split)
    finder = LabelFinder(tree, [*filter(class_names.is_names_file, tree.files), *by_split.lists])
    has_keypoints = described.chosen.has_keypoints
    images = {
        split: tuple(_images(tree, split, paths, finder, has_keypoints, cache))
        for split, paths in by_split.images.items()
    }
    if not finder.used:
        raise DataError(refusals.no_labels(tree, sum(map(len, images.values()))))
    classes = class_names.find(tree, described, params.names)
    _require_first_number(classes, images)
    require_ignored(params.ignore_labels, classes, chain(*images.values()))
    images, drawn = drawn_splits.draw_missing(images)
    for split in SPLITS:
        require_labels(split, images[split], classes, params.ignore_labels)
    outside = _outside(tree, images, finder)
    orphans = finder.orphans()
    descriptions = {each.file for each in (described.chosen, *described.unused)}
    descriptions |= {*by_split.lists, *filter(class_names.is_names_file, tree.files)}
    roles = {**dict.fromkeys(descriptions, "names and splits"), **dict.fromkeys(orphans, _ORPHAN)}
    notes = (*described.notes, *classes.notes, *by_split.notes, *drawn)
    return DataSet(
        raw,
        classes,
        images,
        orphans,
        tuple(path for path, role in outside.items() if role == _OUTSIDE),
        _other_files(tree, images, {**roles, **outside}),
        (*notes, *_unused_names(classes, images), *_conversions(images), *_unread(tree, images)),
    )


def _require_images(tree: FileTree, by_split: SplitImages) -> None:
    if not by_split.images:
        raise DataError(refusals.no_images(tree))
    if "train" not in by_split.images:
        counts = [(split, len(paths)) for split, paths in by_split.images.items()]
        raise DataError(refusals.no_train(counts))


def _images(
    tree: FileTree,
    split: Split,
    paths: Sequence[str],
    finder: LabelFinder,
    has_keypoints: bool,
    cache: Path,
) -> Iterator[LabelledImage]:
    """The images of a split with their labels, under names that are unique in it."""
    path_of_stem: dict[str, str] = {}
    for source in paths:
        name = source.rpartition("/")[2]
        stem = file_tree.stem(name)
        number = 1
        while path_of_stem.setdefault(stem, file_tree.stem(source)) != file_tree.stem(source):
            number += 1
            stem = f"{file_tree.stem(name)}_{number}"
        label_source = finder.label_file(source)
        labels = None
        if label_source is not None:
            labels = label_lines.parse(tree.read(label_source), has_keypoints)
        path, image_type = conversion.readable_path(tree.path(source), cache)
        unique = f"{split}/{stem}{name[len(file_tree.stem(name)) :]}"
        yield LabelledImage(unique, source, path, image_type, label_source, labels)


def _outside(tree: FileTree, images: Images, finder: LabelFinder) -> dict[str, str]:
    """Images outside of the splits and their label files, by what they are."""
    used = _sources(images)
    roles: dict[str, str] = {}
    for path in tree.images:
        if path not in used:
            roles[path] = _OUTSIDE
            label_file = finder.label_file(path)
            if label_file and label_file not in used:
                roles[label_file] = "label files outside of the splits"
    return roles


def _other_files(tree: FileTree, images: Images, roles: Mapping[str, str]) -> Mapping[str, int]:
    """How many files of each kind there are beside the splits' images and label files."""
    used = _sources(images)
    counts = Counter(roles.get(path) or _kind(path) for path in tree.files if path not in used)
    if tree.hidden:
        counts["hidden files"] = len(tree.hidden)
    return dict(sorted(counts.items()))


def _unread(tree: FileTree, images: Images) -> Iterator[str]:
    """Pictures of types that this machine does not read, and videos."""
    read = {
        each.source for of_split in images.values() for each in of_split if each.type != "other"
    }
    return unread_notes(path for path in tree.files if path not in read)


def _sources(images: Images) -> set[str]:
    """The images of the splits and their label files."""
    pairs = [(each.source, each.label_source) for of_split in images.values() for each in of_split]
    return {path for pair in pairs for path in pair if path}


def _kind(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    if name.startswith("legend") and name.endswith(".csv"):
        return "label CSV files"
    return f"other files ({file_tree.suffix(path) or 'no ending'})"


def _numbers(images: Images) -> set[int]:
    """The class numbers of all label lines."""
    labels = (each.labels for of_split in images.values() for each in of_split if each.labels)
    return {box.number for each in labels for box in each.boxes}


def _require_first_number(classes: ClassNames, images: Images) -> None:
    """Refuse numbers that begin at 1: every face would get the label of another class.

    Raises:
        DataError: 0 is in no label file, and the number after the last class is.
    """
    numbers, count = _numbers(images), len(classes.written)
    if numbers and min(numbers) == 1 and max(numbers) == count:
        raise DataError(
            f"The label files hold the classes 1 to {count}: expected 0 to {count - 1}, as in "
            f"{classes.origin}. Number them from 0, or name a class 0 that is not used."
        )


def _unused_names(classes: ClassNames, images: Images) -> Iterator[str]:
    """Names beyond the task's that no label line uses."""
    numbers = _numbers(images)
    if numbers and min(numbers) == 1:
        yield (
            f"No label file holds class 0 ({classes.written[0]}): where the files count from 1, "
            "every label is wrong. Number them from 0."
        )
    pairs = zip(classes.written, classes.labels, strict=True)
    unused = [
        name
        for number, (name, label) in enumerate(pairs)
        if label is None and number not in numbers
    ]
    if unused:
        listing = ", ".join(map(repr, unused))
        yield f"{classes.origin} also names {listing}, which no label file uses: ignored."


def _conversions(images: Images) -> Iterator[str]:
    """Lines of label files that were read as something else than they are."""
    locations: dict[str, list[str]] = {}
    for of_split in images.values():
        for each in of_split:
            for issue in each.labels.issues if each.labels else ():
                location = f"{each.label_source}:{issue.line}"
                locations.setdefault(issue.slug, []).append(location)
    for slug, text in _CONVERSIONS.items():
        if lines := locations.get(slug):
            yield f"{len(lines):,} {text} (first: {lines[0]})."
    types = Counter(each.type for of_split in images.values() for each in of_split)
    for image_type in sorted(types.keys() - {*FORMATS, "other"}):
        yield f"{types[image_type]:,} {image_type} images are read as PNG."
