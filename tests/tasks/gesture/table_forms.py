"""Tables and annotations of hands in the forms that people give them."""

from collections.abc import Callable
from pathlib import Path

from .tables import (
    AXES,
    LABELS,
    annotations,
    hands,
    parts,
    relabelled,
    table,
)

NUMBERS = [f"{axis}{point}" for axis in "xyz" for point in range(1, 22)]


FLAT = [name for name in AXES if name[0] != "z"]


def numbered(pattern: str, first: int = 0) -> list[str]:
    return [pattern.format(n=n, axis=axis) for n in range(first, first + 21) for axis in "xyz"]


def decimal_commas(numbers: list[str]) -> list[str]:
    return [number.replace(".", ",") for number in numbers]


def splits_by_file(pattern: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for split, rows in parts(hands()):
            table(folder / pattern.format(split=split), rows)

    return write


def class_numbers(folder: Path) -> None:
    """As a popular repository of gesture recognition writes its training data."""

    def cells(_: int, label: str, numbers: list[str]) -> list[str]:
        return [str(LABELS.index(label)), *numbers]

    rows = [
        (label, (points - points[0]) / abs(points - points[0]).max()) for label, points in hands()
    ]
    table(folder / "keypoint.csv", rows, header=None, cells=cells, depth=False)
    names = "\n".join(LABELS) + "\n"
    (folder / "keypoint_classifier_label.csv").write_text(names, encoding="utf-8-sig")


def shares(folder: Path) -> None:
    rows = [(label, points / (4000, 2000, 1)) for label, points in hands()]
    table(
        folder / "hands.csv",
        rows,
        header=[*AXES, "label", "image_width", "image_height"],
        cells=lambda _, label, numbers: [*numbers, label, "4000", "2000"],
    )


def wrist(folder: Path) -> None:
    table(folder / "hands.csv", [(label, points - points[0]) for label, points in hands()])


def resting(word: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rest = relabelled(hands(per_label=1, seed=9), fist=word, like=word, palm=word)
        table(folder / "hands.csv", [*hands(), *rest])

    return write


def hagrid_annotations(pattern: str, key: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for split, rows in parts(hands()):
            for label in LABELS:
                own = [hand for hand in rows if hand[0] == label]
                annotations(folder / pattern.format(split=split, label=label), own, key)

    return write


def unusable(folder: Path) -> None:
    broken = {0: "1_0", 1: "", 2: "nan", 3: "٣", 4: "tall"}

    def cells(number: int, label: str, numbers: list[str]) -> list[str]:
        return [broken.get(number, numbers[0]), *numbers[1:], label if number != 5 else ""]

    table(folder / "hands.csv", [*hands(seed=9)[:6], *hands()], cells=cells)


def plain(**how: object) -> Callable[[Path], None]:
    return lambda folder: table(folder / "hands.csv", **how)  # type: ignore[arg-type]


def tsv(folder: Path) -> None:
    table(folder / "hands.tsv", delimiter="\t")


def with_other_file(folder: Path) -> None:
    table(folder / "hands.csv")
    (folder / "boxes.csv").write_text("image,x1,y1,x2,y2\na.jpg,1,2,3,4\n", encoding="utf-8")


def two_spellings(folder: Path) -> None:
    rows = [("Like" if n == 1 else label, points) for n, (label, points) in enumerate(hands())]
    table(folder / "hands.csv", rows)


def own_labels(folder: Path) -> None:
    table(folder / "hands.csv", relabelled(hands(LABELS[:2]), fist="thumb", like="wave"))


def train_and_test(folder: Path) -> None:
    rows = hands()
    table(folder / "train.csv", rows[:18])
    table(folder / "test.csv", rows[18:])


def table_of_each_label(pattern: str, header: bool = True) -> Callable[[Path], None]:
    """Tables without labels, named by them; `{part}` numbers two of each."""

    def write(folder: Path) -> None:
        for label in LABELS:
            own = [hand for hand in hands() if hand[0] == label]
            half = len(own) // 2
            for part, rows in enumerate(
                (own[:half], own[half:]) if "{part}" in pattern else (own,)
            ):
                table(
                    folder / pattern.format(label=label, part=part + 1),
                    rows,
                    header=AXES if header else None,
                    cells=lambda _, __, numbers: numbers,
                )

    return write
