"""Assigns rows to train, val and test: as the source asks, or by a fixed rule.

The rule keeps all rows of one person together (and all copies of one row), keeps the labels'
proportions, needs no seed and does not depend on the order of the rows. It knows no files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256

from mien.errors import DataError, nearest
from mien.task import SPLITS, Split

from .table import LandmarkTable

_SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


_FOLDER_NAMES: Mapping[str, Split] = {**_SPLIT_NAMES, "train_val": "train", "trainval": "train"}
"""Val is taken from train if no row asks for it."""
_IGNORED_WORDS = {"ann", "annotation", "annotations", "hagrid", "images", "set"}
"""Words that may stand beside the split in a folder's name."""


def parse_split(text: str) -> Split | None:
    """The split that a word of the source names; None for any other word."""
    return _SPLIT_NAMES.get(text.lower())


def split_of_folders(names: Sequence[str]) -> str:
    """The split that folders name, the innermost first; "" if none does."""
    candidates = ("_".join(_split_words(name)) for name in reversed(names))
    return next((_FOLDER_NAMES[name] for name in candidates if name in _FOLDER_NAMES), "")


def is_split_folder(name: str) -> bool:
    """Whether a folder's name says a split or nothing of its content, as `images` does."""
    return not _split_words(name) or bool(split_of_folders([name]))


def split_of_file(stem: str) -> str:
    """The split that the name of a table says among other words, such as `keypoints_train`."""
    parts = _split_words(stem)
    splits = {_SPLIT_NAMES[part] for part in parts if part in _SPLIT_NAMES}
    return _FOLDER_NAMES.get("_".join(parts)) or (splits.pop() if len(splits) == 1 else "")


def landmark_hashes(rows: LandmarkTable) -> list[str]:
    """SHA-256 of the landmarks of each row: equal landmarks, equal hash."""
    return [sha256(hand.tobytes()).hexdigest() for hand in rows.landmarks]


def assign_splits(
    rows: LandmarkTable, val_fraction: float, test_fraction: float
) -> tuple[list[Split], str]:
    """Assign each row to a split; return the splits and a sentence about the rule.

    Raises:
        DataError: a part of the rows has no split, or an unknown word for it.
    """
    fractions: dict[Split, float] = {
        "train": 1 - val_fraction - test_fraction,
        "val": val_fraction,
        "test": test_fraction,
    }
    if not any(rows.splits):
        return _divide(rows, range(len(rows.labels)), fractions), _describe_rule(rows)
    requested = [_parse(text, name) for text, name in zip(rows.splits, rows.names, strict=True)]
    absent = [split for split in SPLITS if split not in requested]
    if "train" in absent:
        raise DataError(
            "splits: expected most rows in train, found none. Mark rows with train in a column "
            "split, or name the table or its folder train."
        )
    if not absent:
        return requested, "Splits are those of the source."
    train = [index for index, split in enumerate(requested) if split == "train"]
    divided = {split: value for split, value in fractions.items() if split in ("train", *absent)}
    for index, split in zip(train, _divide(rows, train, divided), strict=True):
        requested[index] = split
    return requested, (
        f"The source gives no row to {' and '.join(absent)}: taken from train. "
        + _describe_rule(rows)
    )


def _split_words(name: str) -> list[str]:
    return [each for each in re.split(r"[^a-z]+", name.lower()) if each not in _IGNORED_WORDS]


def _parse(text: str, name: str) -> Split:
    split = parse_split(text)
    if split is None:
        raise DataError(
            f"{name}: split: expected train, val or test in every row, found {text!r}."
            f"{nearest(text.lower(), _SPLIT_NAMES)} Complete the column split; without one, "
            "name each table or its folder by its split. Or divide all rows by the fractions: "
            "--set params.splits=drawn."
        )
    return split


def _describe_rule(rows: LandmarkTable) -> str:
    with_user = sum(bool(user) for user in rows.users)
    if with_user == len(rows.users):
        return "Rows were divided by user, labels in proportion: nobody is in two splits."
    if with_user:
        return (
            f"{with_user} of {len(rows.users)} rows name a user and were divided by user; the "
            "others were divided one by one, so that a person may be in two splits."
        )
    return (
        "Rows were divided one by one, labels in proportion, because there is no user column: the "
        "same person may be in two splits, and scores on new people may be lower."
    )


def _divide(
    rows: LandmarkTable, indices: Sequence[int], fractions: Mapping[Split, float]
) -> list[Split]:
    """Fill the splits group by group, each group where it disturbs the proportions least."""
    groups = _groups(rows, indices)
    total = Counter(rows.labels[index] for index in indices)
    target = {
        split: {label: count * each / sum(fractions.values()) for label, count in total.items()}
        for split, each in fractions.items()
    }
    filled = {split: Counter[str]() for split in fractions}
    assigned: dict[int, Split] = {}
    for members in groups:
        labels = Counter(rows.labels[index] for index in members)
        split = min(fractions, key=lambda each: _cost(labels, filled[each], target[each]))
        filled[split].update(labels)
        assigned.update(dict.fromkeys(members, split))
    return [assigned[index] for index in indices]


def _groups(rows: LandmarkTable, indices: Sequence[int]) -> list[list[int]]:
    """Rows of one person or with equal landmarks, the largest group first, then by hash."""
    groups: dict[str, list[int]] = {}
    hashes = landmark_hashes(rows)
    for index in indices:
        user = rows.users[index]
        name = sha256(f"user {user}".encode()).hexdigest() if user else hashes[index]
        groups.setdefault(name, []).append(index)
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    return [members for _, members in ordered]


def _cost(labels: Counter[str], filled: Counter[str], target: Mapping[str, float]) -> float:
    """Growth of the chi-square distance between what a split holds and what it should hold."""
    return sum(
        ((filled[label] + count) ** 2 - filled[label] ** 2) / target[label]
        for label, count in labels.items()
    )
