"""What the class numbers of a set mean: names from the files that hold them, and their labels.

Names are never guessed: without a file that names the classes, the user must say what they are.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mien.errors import DataError, nearest

from ..label_lines import decode_text
from ..params import LABELS, NAMED_ORDERS
from . import file_tree
from .file_tree import FileTree
from .set_description import Descriptions

SYNONYMS: Mapping[str, str] = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Names that public sets use for the task's labels."""
LISTS = ("obj.names", "classes.txt", "_darknet.labels", "predefined_classes.txt", "class_names.txt",
         "names.txt", "labels.txt")  # fmt: skip
"""Files with one name a line, the first one used where they agree."""
NOTES = "notes.json"
"""Label Studio's file with `categories`."""
_NUMBERING = re.compile(r"\d+[\s._:)-]+(?=[^\W\d])")
_LABEL_LINE = re.compile(r"\d+([\s,;]+[\d.]+){4,}")
_NO_NAME = re.compile(r"(class[\s_-]*)?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class ClassNames:
    """The classes of a set, in order of their numbers."""

    written: tuple[str, ...]
    origin: str
    """The file or the setting that names them."""
    notes: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> tuple[str | None, ...]:
        """The task's label of each class; None for a class that the task does not know."""
        return tuple(label_of(name) for name in self.written)

    @property
    def declared(self) -> tuple[str, ...]:
        """The task's labels that the set knows, in the task's order."""
        return tuple(label for label in LABELS if label in self.labels)

    def name(self, number: int) -> str:
        """The label of a class number, or what to call it."""
        if not 0 <= number < len(self.written):
            return f"class {number}"
        return self.labels[number] or normalize(self.written[number])


def normalize(name: str) -> str:
    """A class name in lower case, without space around it."""
    return name.strip().lower()


def label_of(name: str) -> str | None:
    """The task's label for a written one, as in `Angry` or `0 - anger`; None without one."""
    name = _NUMBERING.sub("", normalize(name), count=1)
    name = SYNONYMS.get(name, name)
    return name if name in LABELS else None


def unknown(name: str, origin: str) -> str:
    """A message about a class that the task does not know."""
    hint = nearest(normalize(name), (*LABELS, *SYNONYMS))
    return f"{origin} names the class {name!r}, which the task does not know.{hint}"


def find(
    tree: FileTree, described: Descriptions, setting: str | Sequence[str] | None
) -> ClassNames:
    """The class names of a set.

    Args:
        tree: the files of the source.
        described: the files that describe the set.
        setting: `params.names`, where the user says what the classes are.

    Raises:
        DataError: nothing names the classes, or two things name them differently.
    """
    evidence = list(_evidence(tree, described))
    numbered = next((each for each in evidence if _is_numbered(each.written)), None)
    with_names = [each for each in evidence if not _is_numbered(each.written)]
    if setting is not None:
        return _from_setting(setting, with_names[0] if with_names else None, numbered)
    if not with_names:
        raise DataError(_no_names(numbered))
    first, *rest = with_names
    notes = list(_mapping_notes(first, described))
    for other in rest:
        if other.labels[: len(first.labels)] == first.labels[: len(other.labels)]:
            continue
        if first.origin not in (each.file for each in (described.chosen, *described.unused)):
            raise DataError(
                f"{first.origin} and {other.origin} name the classes differently. Correct or "
                "remove one of them."
            )
        notes.append(f"{first.origin} names the classes; {other.origin} names others.")
    return ClassNames(first.written, first.origin, tuple(notes))


def is_names_file(path: str) -> bool:
    """Whether a file holds class names, by its name."""
    name = path.rpartition("/")[2].lower()
    return name in (*LISTS, NOTES) or name.endswith(".names")


def _evidence(tree: FileTree, described: Descriptions) -> Iterator[ClassNames]:
    """Everything that names the classes, the best first."""
    for each in (described.chosen, *described.unused):
        if each.names:
            yield ClassNames(each.names, each.file)
        elif each.names_file:
            path = tree.file(file_tree.join(each.folder, each.names_file))
            path = path or tree.file_ending(each.names_file)
            if path and (names := _read_list(tree, path)):
                yield ClassNames(names, path)
    paths = sorted(filter(is_names_file, tree.files), key=_rank)
    for path in paths:
        read = _read_notes if path.lower().endswith(NOTES) else _read_list
        if names := read(tree, path):
            yield ClassNames(names, path)


def _rank(path: str) -> tuple[int, int, str]:
    name = path.rpartition("/")[2].lower()
    order = LISTS.index(name) if name in LISTS else len(LISTS) if name == NOTES else 0
    return (path.count("/"), order, path)


def _read_list(tree: FileTree, path: str) -> tuple[str, ...]:
    lines = [line.strip() for line in decode_text(tree.read(path)).splitlines()]
    if any(_LABEL_LINE.fullmatch(line) for line in lines):
        return ()  # the label file of an image that is called `classes` or `names`
    return tuple(line for line in lines if line)


def _read_notes(tree: FileTree, path: str) -> tuple[str, ...]:
    try:
        categories: Any = json.loads(decode_text(tree.read(path)))["categories"]
        by_number = {int(each["id"]): str(each["name"]) for each in categories}
    except (ValueError, KeyError, TypeError):
        return ()
    if sorted(by_number) != list(range(len(by_number))):
        return ()
    return tuple(by_number[number] for number in range(len(by_number)))


def _is_numbered(names: Sequence[str]) -> bool:
    """Whether names are numbers only: programs write them where nobody gave names."""
    return all(_NO_NAME.fullmatch(name.strip()) for name in names)


def _from_setting(
    setting: str | Sequence[str], with_names: ClassNames | None, numbered: ClassNames | None
) -> ClassNames:
    """The names that the user gave, which must not contradict a file."""
    names = NAMED_ORDERS[setting] if isinstance(setting, str) else tuple(setting)
    setting = setting if isinstance(setting, str) else f"[{', '.join(setting)}]"
    if numbered:  # a class `10` may stand at index 2, as sorted by text
        numbers = [int(match[2]) for each in numbered.written if (match := _NO_NAME.match(each))]
        names = tuple(names[each] if each < len(names) else f"class {each}" for each in numbers)
    result = ClassNames(names, f"params.names={setting}")
    if with_names and with_names.labels != result.labels:
        raise DataError(
            f"{result.origin}: expected the names of {with_names.origin} "
            f"({_order(with_names.written)}), found {_order(names)}. "
            f"Remove the setting, or correct {with_names.origin}."
        )
    note = f"Class numbers are read as {_order(names)} ({result.origin})."
    return ClassNames(names, result.origin, (note,))


def _no_names(numbered: ClassNames | None) -> str:
    choices = "; ".join(f"{name}: {_order(order)}" for name, order in NAMED_ORDERS.items())
    listing = f"only numbers in {numbered.origin}" if numbered else "none of these"
    return (
        "The classes have no names: expected them in data.yaml or another YAML file with `names`, "
        f"in classes.txt, obj.names or notes.json, found {listing}. Add such a file, or say what "
        f"the numbers mean: --set params.names=affectnet8, another order by its name ({choices}), "
        "or --set 'params.names=[NAME, ...]' in order of the numbers."
    )


def _mapping_notes(names: ClassNames, described: Descriptions) -> Iterator[str]:
    """What a reader of the report must know about the names."""
    pairs = zip(names.written, names.labels, strict=True)
    renamed = [f"{name} -> {label}" for name, label in pairs if label and name != label]
    if renamed:
        yield f"Class names of {names.origin} were mapped: {', '.join(renamed)}."
    if names.origin != described.chosen.file:
        yield f"Class numbers are read as {_order(names.written)} ({names.origin})."
    for label, count in Counter(filter(None, names.labels)).items():
        if count > 1:
            yield f"{names.origin} names {label} {count} times: these classes are read as one."
    missing = [label for label in LABELS if label not in names.labels]
    if missing:
        yield f"{names.origin} does not name {', '.join(missing)}: the model cannot learn it."


def _order(names: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))
