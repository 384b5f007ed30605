"""Which label file belongs to which image."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from . import file_tree
from .file_tree import FileTree
from .splits import split_of_folder

_IMAGES, _LABELS, _SUFFIX = "images", "labels", ".txt"


class LabelFinder:
    """Finds the label files of images, and remembers which ones were used."""

    def __init__(self, tree: FileTree, not_labels: Iterable[str]) -> None:
        self._tree = tree
        excluded = set(not_labels)
        self._texts = [
            path
            for path in tree.files
            if file_tree.suffix(path) == _SUFFIX and path not in excluded
        ]
        self._text_set = frozenset(self._texts)
        self.used: set[str] = set()

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for path in self._texts:
            by_stem.setdefault(_last_stem(path), []).append(path)
        return by_stem

    @cached_property
    def _images(self) -> Counter[str]:
        return Counter(map(_last_stem, self._tree.images))

    def label_file(self, image: str) -> str | None:
        """The label file of an image; None without one.

        Ultralytics replaces the last folder `images` by `labels`; Darknet and CVAT write the label
        file beside the image. Only where neither folder exists, the one file of the same name and
        split counts.
        """
        for path in _usual_paths(image):
            label_file = self._tree.file(path)
            if label_file in self._text_set:
                self.used.add(label_file)
                return label_file
        label_file = self._only_namesake(image)
        if label_file:
            self.used.add(label_file)
        return label_file

    def orphans(self) -> tuple[str, ...]:
        """Label files that belong to no image: in a folder `labels`, or beside used ones."""
        folders = {path.rpartition("/")[0] for path in self.used}
        return tuple(
            path
            for path in self._texts
            if path not in self.used
            and (path.rpartition("/")[0] in folders or _LABELS in path.lower().split("/")[:-1])
        )

    def _only_namesake(self, image: str) -> str | None:
        """The only label file with the name of the image, where no usual folder has any."""
        usual = next(_usual_paths(image)).rpartition("/")[0]
        flat = _flat_folder(image)
        namesakes = self._by_stem.get(_last_stem(image), [])
        if not namesakes or self._images[_last_stem(image)] > 1 or len(namesakes) != 1:
            return None
        folder = namesakes[0].rpartition("/")[0]
        if flat is not None and file_tree.fold(folder) == file_tree.fold(flat):
            return namesakes[0]
        if self._tree.folder(usual) is not None and usual != image.rpartition("/")[0]:
            return None
        splits = {split_of_folder(part) for part in folder.split("/")} - {None}
        own = {split_of_folder(part) for part in image.split("/")[:-1]} - {None}
        return namesakes[0] if splits <= own else None


def _usual_paths(image: str) -> Iterator[str]:
    folders = image.split("/")[:-1]
    name = image.rpartition("/")[2]
    last = _last_images(folders)
    swapped = [*folders[:last], _LABELS, *folders[last + 1 :]] if last is not None else folders
    for parts in (swapped, folders):
        for label_name in (file_tree.stem(name), name):
            yield "/".join([*parts, label_name + _SUFFIX])


def _flat_folder(image: str) -> str | None:
    """The folder `labels` itself, for images in folders below `images`."""
    folders = image.split("/")[:-1]
    last = _last_images(folders)
    return "/".join([*folders[:last], _LABELS]) if last is not None else None


def _last_images(folders: list[str]) -> int | None:
    return next(
        (index for index in reversed(range(len(folders))) if folders[index].lower() == _IMAGES),
        None,
    )


def _last_stem(path: str) -> str:
    return file_tree.fold(file_tree.stem(path.rpartition("/")[2]))
