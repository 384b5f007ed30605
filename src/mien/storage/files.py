"""Files and folders that are whole or absent, and their SHA-256.

What is not finished yet carries a temporary name beside its target (`is_temporary`); a killed
process leaves it there, and `Workspace.locked` removes it.
"""

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

_TEMPORARY = re.compile(r"\..+\.([a-z0-9_]{8}|\d+)")


@contextmanager
def atomic_dir(target: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `target` at the end, or vanishes after an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            _exchange(temporary, target)  # the old one is removed below
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Give a file name to write to that becomes `target` at the end, or vanishes after an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change names: at once where the system can, so that nobody, and no kill,
    ever finds one of the names without a folder."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    here, exchange = -100, 2  # AT_FDCWD of fcntl.h and RENAME_EXCHANGE of stdio.h
    if swap and swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return
    old = one.with_name(f"{one.name}.old")  # another system, or a file system that cannot
    other.rename(old)
    one.rename(other)
    old.rename(one)


def sha256_file(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, read in pieces."""
    state = sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            state.update(piece)
            if progress:
                progress(len(piece))
    return state.hexdigest()


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is unfinished: `atomic_dir`, `atomic_write` and
    `versions` name them so."""
    return _TEMPORARY.fullmatch(name) is not None
