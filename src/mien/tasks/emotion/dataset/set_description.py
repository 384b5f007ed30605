"""Files that describe a YOLO data set: `data.yaml` under any name, and `obj.data` of Darknet.

Reads what they say about class names and splits; whether it exists is for others to see.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from mien import config
from mien.errors import DataError
from mien.task import Split

from ..label_lines import decode_text
from .file_tree import FileTree

SPLIT_KEYS: Mapping[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
"""How YAML files and folders name the splits."""
DARKNET = "obj.data"
_YAML = (".yaml", ".yml")
_MAX_FILES, _MAX_BYTES = 50, 1_000_000
"""Of YAML, nearest to the top: in some sets each image has such a file, and reading is slow."""
_USUAL_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


@dataclass(frozen=True)
class SetDescription:
    """What one file says about the set."""

    file: str
    """Its path in the source; "" where no file describes the set."""
    names: tuple[str, ...] | None = None
    """Class names in order of their numbers; None where it has none."""
    names_file: str = ""
    """A file that holds them, as written."""
    splits: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)
    """Folders, lists and images of each split that is named, as written."""
    base: str = ""
    """The folder from which these paths count, as written."""
    has_keypoints: bool = False
    """Whether label lines hold keypoints after the box."""
    class_count: int | None = None

    @property
    def folder(self) -> str:
        """The folder in which it lies."""
        return self.file.rpartition("/")[0]


@dataclass(frozen=True)
class Descriptions:
    """The file that describes the set, and what else was read."""

    chosen: SetDescription
    unused: tuple[SetDescription, ...] = ()
    """Files that describe it too."""
    notes: tuple[str, ...] = ()


def find(tree: FileTree) -> Descriptions:
    """Choose the file that describes the set: the one nearest to the top.

    Raises:
        DataError: two of them say different things, or the only one cannot be read.
    """
    described, broken = _read_all(tree)
    if not described:
        if broken:
            raise broken[0]
        return Descriptions(SetDescription(""))
    depth = min(each.file.count("/") for each in described)
    nearest = [each for each in described if each.file.count("/") == depth]
    chosen = min(nearest, key=_rank)
    rivals = [each for each in nearest if each is not chosen]
    _require_agreement(chosen, rivals)
    unused = tuple(each for each in described if each is not chosen)
    return Descriptions(chosen, unused, tuple(_notes(chosen, rivals)))


def parse_yaml(document: Any, file: str) -> SetDescription | None:
    """What a YAML document says about a set; None where it describes none.

    Raises:
        DataError: its class names cannot be used.
    """
    if not isinstance(document, dict):
        return None
    splits: dict[Split, tuple[str, ...]] = {}
    for key, value in document.items():
        split = SPLIT_KEYS.get(str(key).strip().lower())
        entries = _entries(value)
        if split and entries:
            splits[split] = (*splits.get(split, ()), *entries)
    keys = {str(key).strip().lower(): key for key in document}
    names, names_file = _names(document.get(keys.get("names")), file)
    if not splits and names is None and not names_file and "nc" not in document:
        return None
    base = document.get("path")
    count = document.get("nc")
    return SetDescription(
        file,
        names,
        names_file,
        splits,
        base if isinstance(base, str) else "",
        has_keypoints="kpt_shape" in document,
        class_count=count if isinstance(count, int) else None,
    )


def _read_all(tree: FileTree) -> tuple[list[SetDescription], list[DataError]]:
    described: list[SetDescription] = []
    broken: list[DataError] = []
    candidates = [file for file in tree.files if file.lower().endswith((*_YAML, DARKNET))]
    candidates.sort(key=lambda file: (file.count("/"), file))
    for file in candidates[:_MAX_FILES]:
        if file.rpartition("/")[2].lower() == DARKNET:
            described.append(_parse_darknet(decode_text(tree.read(file)), file))
        elif tree.path(file).stat().st_size <= _MAX_BYTES and file.lower().endswith(_YAML):
            try:
                document = config.parse_yaml(decode_text(tree.read(file)))
                description = parse_yaml(document, file)
            except yaml.YAMLError as error:
                message = f"{file} is not readable YAML ({error}). Correct or remove it."
                broken.append(DataError(message))
            except DataError as error:
                broken.append(error)
            else:
                described += [description] if description else []
    return described, broken


def _parse_darknet(text: str, file: str) -> SetDescription:
    """Lines `key = value`; CVAT writes paths below `data/`, the folder of the file itself."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    values = {key.strip().lower(): value.strip() for key, _, value in pairs}
    splits: dict[Split, tuple[str, ...]] = {
        split: (values[key],) for key, split in SPLIT_KEYS.items() if values.get(key)
    }
    return SetDescription(file, None, values.get("names", ""), splits)


def _entries(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value.strip(),) if value.strip() else ()
    if isinstance(value, list):
        return tuple(str(each).strip() for each in value if str(each).strip())
    return ()


def _names(listed: Any, file: str) -> tuple[tuple[str, ...] | None, str]:
    """The names, or the file that holds them."""
    if isinstance(listed, str):
        listed = _split_text(listed)
    if isinstance(listed, str):
        return None, listed.strip()
    if isinstance(listed, dict):
        if sorted(map(str, listed)) != sorted(map(str, range(len(listed)))):
            raise DataError(
                f"{file}: expected classes 0 to {len(listed) - 1}, as in the label files, found "
                f"{', '.join(map(str, listed))}. Number them so."
            )
        listed = [listed[number] for number in sorted(listed, key=int)]
    if not isinstance(listed, list) or not listed:
        return None, ""
    if any(isinstance(name, dict | list) for name in listed):
        raise DataError(
            f"{file}: expected `names` as a list of words, or as `number: word`, found "
            f"{str(listed[0])[:60]} in it. Write one word for each class."
        )
    return tuple(str(name) for name in listed), ""


def _split_text(text: str) -> Any:
    """The names in a text: a list of Python, or words between commas or in lines of their own; the
    text itself where it may be the path of a file."""
    text = text.strip()
    if text.startswith("["):
        try:
            return config.parse_yaml(text)
        except yaml.YAMLError:
            return text
    separator = next((each for each in (",", "\n") if each in text), None)
    if separator is None and ("." in text or "/" in text):
        return text
    names = [name.strip() for name in text.split(separator) if name.strip()]
    return names if len(names) > 1 else text


def _rank(description: SetDescription) -> tuple[int, int, str]:
    name = description.file.rpartition("/")[2].lower()
    usual = _USUAL_NAMES.index(name) if name in _USUAL_NAMES else len(_USUAL_NAMES)
    return (not description.names, usual, description.file)


def _require_agreement(chosen: SetDescription, rivals: Sequence[SetDescription]) -> None:
    """Files beside each other may differ in their paths, not in what the class numbers mean."""
    for each in rivals:
        other_set = each.folder != chosen.folder
        if other_set or (each.names and chosen.names and each.names != chosen.names):
            problem = "two data sets" if other_set else "two answers to what the classes are"
            raise DataError(
                f"The source holds {problem}: {chosen.file} and {each.file}. Give the path of "
                "one of them as --source, or remove the other."
            )


def _notes(chosen: SetDescription, rivals: Sequence[SetDescription]) -> Iterator[str]:
    for each in rivals:
        if each.splits != chosen.splits:
            yield f"{chosen.file} is used; {each.file} names other splits."
    if chosen.names and chosen.class_count not in (None, len(chosen.names)):
        yield (
            f"{chosen.file}: nc is {chosen.class_count}, and there are {len(chosen.names)} names; "
            "the names are used."
        )
