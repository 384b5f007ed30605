"""What a source is: a file, a folder, a zip, a set on Kaggle.

Every source ends as items of the store: names, contents and how to read them again. Folders and
zips become items in `folders.py` and `archives.py`; what is remembered of them lies in `seen.py`.
"""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError
from mien.storage.cache_keys import cache_key
from mien.storage.versions import Item

from .archives import archive
from .folders import folder, single
from .seen import Seen

KAGGLE = "kaggle:"


@dataclass(frozen=True)
class Opened:
    """A source whose items can be read."""

    name: str
    """As the version remembers it: no machine's path, and the number of a version on Kaggle."""
    items: list[Item]


@contextmanager
def opened(source: str, cache: Path) -> Iterator[Opened]:
    """A source outside of the store, readable while the block runs.

    What was read of it is remembered in `cache` when the block ends well.

    Raises:
        DataError: it is not there, is empty or damaged, or would write outside its folder.
    """
    name, path = _place(source)
    seen = Seen.open(cache / f"seen-{cache_key(str(path))}.json")
    if path.is_dir():
        yield Opened(name, folder(path, seen))
    elif path.stat().st_size == 0:
        raise DataError(f"{source} is empty. Fetch it again.")
    elif zipfile.is_zipfile(path):
        with archive(path, seen) as items:
            yield Opened(name, items)
    elif path.suffix.lower() == ".zip":
        raise DataError(f"{source} is no whole zip: cut off, or something else. Fetch it again.")
    else:
        yield Opened(name, single(path, seen))
    seen.save()


def _place(source: str) -> tuple[str, Path]:
    if source.startswith(KAGGLE):
        path = _kaggle(source.removeprefix(KAGGLE))
        return KAGGLE + "/".join(path.parts[-4:]), path
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise DataError(f"There is no {source}. Give --source the path of a CSV, folder or zip.")
    return path.name, path


def _kaggle(name: str) -> Path:
    """Fetch a set of Kaggle into kagglehub's own cache: OWNER/SET/versions/NUMBER at its end.

    It goes on where it was interrupted; a version that is there already needs no network.
    """
    try:
        with redirect_stdout(sys.stderr):  # results alone go to standard output
            import kagglehub

            return Path(kagglehub.dataset_download(name))
    except ModuleNotFoundError:
        raise DataError(
            "Sets on Kaggle are fetched with kagglehub: `pip install 'mien[data]'`. Or download "
            "the zip in a browser and give its path as --source."
        ) from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"Kaggle does not give {name!r}: {reason}. The name is OWNER/SET; a set that asks for "
            "an account needs KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json, of a user "
            "who accepted its terms. Or download the zip in a browser and give its path as "
            "--source."
        ) from error
