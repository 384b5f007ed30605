"""Opens a source: a file, a folder, a zip or tar, the data.yaml of a set, or a set on Kaggle.

Every source becomes items of the store: names, hashes, and how to read the contents. `folders.py`
reads folders, `archives.py` zips, `tar_archives.py` tars, `described.py` what a data.yaml names;
`hash_cache.py` remembers the hashes of unchanged files.
"""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError
from mien.reporting import console
from mien.storage.cache_keys import cache_key
from mien.storage.versions import Item

from . import described
from .folders import DRAWN_MARK, file_items, folder_items
from .hash_cache import FileHashCache
from .tar_archives import is_tar, tar_items
from .zip_archives import zip_items

KAGGLE = "kaggle:"
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
_UNREAD = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x28\xb5\x2f\xfd": "a file packed by zstd",
    b"\x1f\x8b": "a file packed by gzip that is no tar",
}
_MAGIC_BYTES = 8


@dataclass(frozen=True)
class OpenedSource:
    """A source whose items can be read."""

    name: str
    """As the version stores it: without the path on this machine; with the version on Kaggle."""
    items: list[Item]
    drawn: bool = False
    """Whether it lies in a folder that is marked as drawn by mien."""


@contextmanager
def open_source(source: str, cache: Path) -> Iterator[OpenedSource]:
    """Open a source; its items are readable while the block runs.

    Hashes are stored in `cache` if the block succeeds.

    Raises:
        DataError: the source is missing, empty or damaged, or would write outside its folder.
    """
    name, path = _locate(source)
    hashes = FileHashCache.open(cache / f"hashes-{cache_key(str(path))}.json")
    drawn = ((path if path.is_dir() else path.parent) / DRAWN_MARK).is_file()
    if path.is_dir():
        yield OpenedSource(name, folder_items(path, hashes), drawn)
    elif path.suffix.lower() in described.SUFFIXES:
        yield OpenedSource(name, _described_items(path, hashes), drawn)
    elif path.stat().st_size == 0:
        raise DataError(f"{source} is empty. Fetch it again.")
    elif zipfile.is_zipfile(path):
        with zip_items(path, hashes) as items:
            yield OpenedSource(name, items)
    elif is_tar(path):
        with tar_items(path, hashes) as items:
            yield OpenedSource(name, items)
    elif path.name.lower().endswith(_PACKED):
        raise DataError(f"{source} is not a complete zip or tar. Fetch it again.")
    elif kind := _unread_kind(path):
        raise DataError(
            f"{source}: expected a folder, a file, a zip or a tar, found {kind}. Unpack it and "
            "give the folder."
        )
    else:
        yield OpenedSource(name, file_items(path, hashes), drawn)
    hashes.save()


def _unread_kind(path: Path) -> str:
    """What kind of archive a file is that is not read, by its first bytes; "" for another file."""
    with path.open("rb") as stream:
        start = stream.read(_MAGIC_BYTES)
    return next((kind for magic, kind in _UNREAD.items() if start.startswith(magic)), "")


def _described_items(path: Path, hashes: FileHashCache) -> list[Item]:
    """The files of the set that a YAML file describes, with that file at the top."""
    described_set = described.locate(path)
    items = folder_items(described_set.folder, hashes, described_set.entries)
    return [*file_items(path, hashes), *items]


def _locate(source: str) -> tuple[str, Path]:
    if source.startswith(KAGGLE):
        path = _kaggle(source.removeprefix(KAGGLE))
        return KAGGLE + "/".join(path.parts[-4:]), path
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise DataError(
            f"{source} does not exist. Give --source the path of a CSV, folder, zip or tar."
        )
    return path.name, path


def _kaggle(name: str) -> Path:
    """Download a set into kagglehub's cache; the path ends with OWNER/SET/versions/NUMBER.

    An interrupted download continues; a version in the cache needs no network. Without a network
    the newest version in the cache is taken, and a message says so.
    """
    try:
        with redirect_stdout(sys.stderr):  # results alone go to standard output
            import kagglehub
            from requests import ConnectionError, Timeout

            try:
                return Path(kagglehub.dataset_download(name))
            except (ConnectionError, Timeout):
                version = _newest_cached_version(name)
                if version is None:
                    raise
                console.info(f"Kaggle cannot be reached; {version} is taken from the cache.")
                return Path(kagglehub.dataset_download(version))
    except ModuleNotFoundError:
        raise DataError(
            "Sets on Kaggle are fetched with kagglehub: `pip install 'mien[data]'`. Or download "
            "the zip in a browser and give its path as --source."
        ) from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"Kaggle does not provide {name!r}: {reason}. The name is OWNER/SET; a set that needs "
            "an account needs KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json, of a user "
            "who accepted its terms. Or download the zip in a browser and give its path as "
            "--source."
        ) from error


def _newest_cached_version(name: str) -> str | None:
    """The name of the newest complete version of OWNER/SET in kagglehub's cache."""
    from kagglehub.config import get_cache_folder

    folder = Path(get_cache_folder(), "datasets", *name.split("/"))
    numbers = [path.stem for path in folder.glob("*.complete") if path.stem.isdecimal()]
    return f"{name}/versions/{max(numbers, key=int)}" if numbers else None
