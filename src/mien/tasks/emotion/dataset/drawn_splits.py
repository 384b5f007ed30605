"""Draws a split that a set lacks from its training images.

Which images are drawn depends on their contents and labels alone: the same on every machine, and
mostly the same after images are added. Images of one person, copies, and the augmented versions
that Roboflow makes of one photo (`NAME.rf.HASH.jpg`) stay together.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from mien.errors import DataError
from mien.task import SPLITS, Split

from ..persons import persons
from . import file_tree
from .images import LabelledImage

DRAWN_FRACTION = 0.15
"""Share of the training images that a missing split receives."""
_TOO_SMALL = (
    "{split}: expected a split, or enough images of one class in train to draw it (2, or 3 where "
    "val and test are missing), found {train} images. Add images, or name the folder of the split "
    "in data.yaml."
)
_AUGMENTED = re.compile(r"(.+)\.rf\.[0-9a-z]+", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A training image that may be drawn."""

    stem: str
    """Its name without folder and ending."""
    label: int
    """The class of its first box; any other number for an image without one."""
    person: str
    digest: str
    """SHA-256 of its bytes."""


def draw_missing(
    images: Mapping[Split, tuple[LabelledImage, ...]],
) -> tuple[dict[Split, tuple[LabelledImage, ...]], tuple[str, ...]]:
    """Draw the splits that are missing from train; also return what was drawn, in sentences.

    Raises:
        DataError: train has too few images for it.
    """
    complete = dict(images)
    notes: list[str] = []
    missing: list[Split] = [split for split in ("test", "val") if not images.get(split)]
    for position, split in enumerate(missing):
        train = complete["train"]
        candidates = [each for each in train if each.labels and not each.labels.malformed]
        drawn = draw(_candidates(candidates), len(missing) - position)
        if not drawn:
            raise DataError(_TOO_SMALL.format(split=split, train=len(train)))
        selected = {candidates[index].source for index in drawn}
        complete[split] = tuple(
            replace(each, name=f"{split}/{each.file_name}")
            for each in train
            if each.source in selected
        )
        complete["train"] = tuple(each for each in train if each.source not in selected)
        notes.append(
            f"The set has no {split} split: {len(selected):,} of its {len(train):,} training "
            "images were drawn for it. Images of one person, copies and augmented versions stay "
            "together."
        )
    return {split: complete[split] for split in SPLITS}, tuple(notes)


def _candidates(images: Sequence[LabelledImage]) -> list[Candidate]:
    stems = [file_tree.stem(each.source.rpartition("/")[2]) for each in images]
    names = persons(stems) or [""] * len(stems)
    return [
        Candidate(stem, _first_label(each), person, sha256(each.path.read_bytes()).hexdigest())
        for each, stem, person in zip(images, stems, names, strict=True)
    ]


def _first_label(image: LabelledImage) -> int:
    boxes = image.labels.boxes if image.labels else ()
    return boxes[0].number if boxes else -1


def draw(candidates: Sequence[Candidate], count: int) -> list[int]:
    """Draw a fraction of the images of each class, in whole groups.

    Args:
        candidates: the images of train.
        count: how many splits are still to be drawn from them, this one included.

    Returns:
        The indices of the drawn images, in order.
    """
    by_label: dict[int, list[list[int]]] = defaultdict(list)
    for group in _groups(candidates):
        first, *_ = sorted(group, key=lambda index: _rank(candidates[index]))
        by_label[candidates[first].label].append(group)
    drawn: list[int] = []
    for of_label in by_label.values():
        size = max(1, math.floor(DRAWN_FRACTION * sum(map(len, of_label)) + 0.5))
        ranked = sorted(of_label, key=lambda group: min(_rank(candidates[i]) for i in group))
        selected: list[int] = []
        for group in ranked[: max(0, len(ranked) - count)]:  # train needs one, too
            if len(selected) < size:
                selected += group
        drawn += selected
    return sorted(drawn)


def _rank(candidate: Candidate) -> str:
    return sha256(f"split {candidate.digest}".encode()).hexdigest()


def _groups(candidates: Sequence[Candidate]) -> list[list[int]]:
    """Indices of images that belong together, each group and its members in order."""
    root = list(range(len(candidates)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = index = root[root[index]]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, each in enumerate(candidates):
        augmented = _AUGMENTED.fullmatch(each.stem)
        keys = [("digest", each.digest), ("photo", augmented[1] if augmented else "")]
        for key in (*keys, ("person", each.person)):
            if key[1]:
                roots = find(first.setdefault(key, index)), find(index)
                root[max(roots)] = min(roots)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(candidates)):
        groups[find(index)].append(index)
    return list(groups.values())
