"""The manifest of a version of raw data: name, size and SHA-256 of its files, and its source.

The root hash covers all names and contents. It is the name of the manifest's file and is checked
whenever the file is read. The contents themselves are in shards (`shards.py`).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mien.errors import DataError
from mien.storage.files import write_json

FORMAT = 2
_SHORT = 12
_DRIVE = re.compile(r"[A-Za-z]:")
_PLAIN = re.compile(r"(?:\w[\w.-]*/)*\w[\w.-]*", re.ASCII)
"""Most names: relative paths that need no further look."""


@dataclass(frozen=True)
class Item:
    """One file of a source, not yet in the store."""

    name: str
    """Its path in the source, with forward slashes."""
    sha256: str
    size_bytes: int
    open: Callable[[], BinaryIO]


class RawFile(NamedTuple):
    """One file of a version; a tuple, because a version may hold a hundred thousand of them."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Version:
    """One state of a task's raw data."""

    root: str
    """SHA-256 over names and contents of all items."""
    number: int
    """1, 2, ... in the order in which versions were made in this store."""
    created_at: str
    """UTC, as ISO 8601 to the second."""
    source: str
    reason: str
    parent: str | None
    """Root hash of the version that it was made from; None for one from a source."""
    items: Mapping[str, RawFile] = field(repr=False)
    shards: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Names and sizes of the shards with its contents when it was made; only saves time."""
    synthetic: bool = False
    """Whether mien drew it, or it was made from such a version; False for data of users."""

    @property
    def short(self) -> str:
        """The beginning of the root hash, as users write it."""
        return self.root[:_SHORT]

    @property
    def size_bytes(self) -> int:
        """Size of all items together."""
        return sum(entry.size_bytes for entry in self.items.values())


def root_of(items: Mapping[str, RawFile]) -> str:
    """The root hash of names and contents, in any order."""
    state = sha256()
    for name in sorted(items):
        state.update(f"{name}\0{items[name].sha256}\n".encode())
    return state.hexdigest()


def listing(items: Iterable[Item], source: str) -> dict[str, Item]:
    """The items by their names in a version, sorted by name.

    Raises:
        DataError: no items, a name that is not a plain relative path, or names that conflict.
    """
    listed: dict[str, Item] = {}
    for item in items:
        name = _relative(item.name)
        if listed.setdefault(name, item).sha256 != item.sha256:
            raise DataError(f"{source} holds two different files {name}. Rename one of them.")
    if not listed:
        raise DataError(f"{source} holds no file. Give the file or folder of the data set.")
    folders: set[str] = set()
    for name in listed:
        while (name := name.rpartition("/")[0]) and name not in folders:
            folders.add(name)
    both = sorted(folders.intersection(listed))
    if both:
        raise DataError(f"{source} holds {both[0]} as a file and as a folder. Rename one of them.")
    return dict(sorted(listed.items()))


def write(version: Version, path: Path) -> None:
    """Write a manifest atomically."""
    items = {name: each._asdict() for name, each in version.items.items()}
    document = {"format": FORMAT, **vars(version), "items": items}
    write_json(path, document, indent=None)


def read(path: Path, remedy: str) -> Version:
    """Read a manifest.

    Raises:
        DataError: it is missing, unreadable, altered or of an unknown format; ends with `remedy`.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        form = document.pop("format", None)
        if form != FORMAT:
            raise DataError(
                f"{path}: expected format {FORMAT}, found {form!r}. Fetch the source again into a "
                "new workspace, or use the version of mien that wrote it."
            )
        items = {name: RawFile(**entry) for name, entry in document.pop("items").items()}
        version = Version(**document, items=items)
        intact = root_of(items) == version.root == path.stem and version.number > 0
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is no manifest of a version ({cause}). {remedy}") from None
    if any(_relative(name) != name for name in items):  # a manifest may come from a remote
        raise DataError(f"{path} has a file name in a form that mien does not write. {remedy}")
    if not intact:
        raise DataError(f"{path} does not match its root hash: it was changed. {remedy}")
    return version


def _relative(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or _DRIVE.match(name) or not {*parts} - {"", "."}:
        raise DataError(
            f"The source holds a file that would be written outside its folder ({name!r}). Nothing "
            "was stored. Get the data from a source that you trust."
        )
    if "\0" in name or name.encode(errors="ignore").decode() != name:
        raise DataError(
            f"The source holds a file whose name is not Unicode text ({name!r}). Rename it."
        )
    return "/".join(part for part in parts if part not in ("", "."))
