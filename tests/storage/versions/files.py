"""Files in memory and in a store, for the tests of data versions."""

import io
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from mien.storage.versions import Item, Store

FILES = {"a.txt": b"one", "b/c.txt": b"two", "b/again.txt": b"one", "empty": b""}


def items(files: Mapping[str, bytes]) -> list[Item]:
    """Files in memory as items of a source."""

    def opener(content: bytes) -> Callable[[], BinaryIO]:
        return lambda: io.BytesIO(content)

    return [
        Item(name, sha256(content).hexdigest(), len(content), opener(content))
        for name, content in files.items()
    ]


def unpacked(store: Store, name: str) -> dict[str, bytes]:
    """The files of a version, read back."""
    with store.unpacked(store.find(name)) as folder:
        return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def packed(store: Store) -> list[Path]:
    return sorted((store.folder / "shards").iterdir())


def assert_fault(faults: list[str], message: str) -> None:
    assert re.search(message, " ".join(faults)), faults
