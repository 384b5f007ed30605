"""Which rows train, which choose and which test: by the source's own wish, or by a fixed rule.

The rule keeps all rows of one person together (and all copies of one row), keeps the labels'
proportions, needs no seed and does not depend on the order of the rows. It knows no files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256

from mien.errors import DataError, nearest
from mien.task import SPLITS, Split

from .table import Rows

_WORDS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


_FOLDERS: Mapping[str, Split] = {**_WORDS, "train_val": "train", "trainval": "train"}
"""Val is taken from train where no row asks for it."""
_SET = {"ann", "annotation", "annotations", "hagrid", "images", "set"}
"""What such a name may say beside it."""


def read(word: str) -> Split | None:
    """The split that a word of the source means; None for any other word."""
    return _WORDS.get(word.lower())


def of_folders(names: Sequence[str]) -> str:
    """The split that folders ask for by their names, the innermost first; "" where none does."""
    plain = ("_".join(_words_of(name)) for name in reversed(names))
    return next((_FOLDERS[name] for name in plain if name in _FOLDERS), "")


def fingerprints(rows: Rows) -> list[str]:
    """The content of each row as a short name: equal landmarks, equal name."""
    return [sha256(hand.tobytes()).hexdigest() for hand in rows.landmarks]


def assign(rows: Rows, val: float, test: float) -> tuple[list[Split], str]:
    """Give each row a split, and say in a sentence by which rule.

    Raises:
        DataError: the source's `split` column is incomplete or holds an unknown word.
    """
    shares: dict[Split, float] = {"train": 1 - val - test, "val": val, "test": test}
    if not any(rows.splits):
        return _divide(rows, range(len(rows.labels)), shares), _rule(rows)
    wished = [_parse(word, name) for word, name in zip(rows.splits, rows.names, strict=True)]
    absent = [split for split in SPLITS if split not in wished]
    if "train" in absent:
        raise DataError("the split column gives no row to train; mark most rows with train.")
    if not absent:
        return wished, "Splits are those of the source's split column."
    left = [place for place, split in enumerate(wished) if split == "train"]
    taken = {split: share for split, share in shares.items() if split in ("train", *absent)}
    for place, split in zip(left, _divide(rows, left, taken), strict=True):
        wished[place] = split
    return wished, (
        f"The source's split column gives no row to {' and '.join(absent)}: taken from train. "
        + _rule(rows)
    )


def _words_of(name: str) -> list[str]:
    words = re.split(r"[^a-z]+", name.lower())
    return [word for word in words if word not in _SET]


def _parse(word: str, name: str) -> Split:
    split = read(word)
    if split is None:
        found = f"{word!r}" if word else "nothing"
        raise DataError(
            f"{name}: the split column must say train, val or test in every row; found {found}."
            + nearest(word.lower(), _WORDS)
        )
    return split


def _rule(rows: Rows) -> str:
    known = sum(bool(user) for user in rows.users)
    if known == len(rows.users):
        return "Rows were divided by user, labels in proportion: nobody is in two splits."
    if known:
        return (
            f"{known} of {len(rows.users)} rows name a user and were divided by user; the others "
            "were divided one by one, so that a person may be in two splits."
        )
    return (
        "Rows were divided one by one, labels in proportion, because there is no user column: the "
        "same person may be in two splits, and scores on new people may be lower."
    )


def _divide(rows: Rows, places: Sequence[int], shares: Mapping[Split, float]) -> list[Split]:
    """Fill the splits group by group, each group where it does least harm to the proportions."""
    groups = _groups(rows, places)
    total = Counter(rows.labels[place] for place in places)
    target = {
        split: {label: count * share / sum(shares.values()) for label, count in total.items()}
        for split, share in shares.items()
    }
    filled = {split: Counter[str]() for split in shares}
    chosen: dict[int, Split] = {}
    for members in groups:
        labels = Counter(rows.labels[place] for place in members)
        split = min(shares, key=lambda each: _cost(labels, filled[each], target[each]))
        filled[split].update(labels)
        chosen.update(dict.fromkeys(members, split))
    return [chosen[place] for place in places]


def _groups(rows: Rows, places: Sequence[int]) -> list[list[int]]:
    """Rows that belong together, the largest group first, then in an order without meaning."""
    groups: dict[str, list[int]] = {}
    contents = fingerprints(rows)
    for place in places:
        user = rows.users[place]
        name = sha256(f"user {user}".encode()).hexdigest() if user else contents[place]
        groups.setdefault(name, []).append(place)
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    return [members for _, members in ordered]


def _cost(labels: Counter[str], filled: Counter[str], target: Mapping[str, float]) -> float:
    """Growth of the chi-square distance between what a split holds and what it should hold."""
    return sum(
        ((filled[label] + count) ** 2 - filled[label] ** 2) / target[label]
        for label, count in labels.items()
    )
