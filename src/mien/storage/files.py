"""Files and folders that are whole or absent, and their SHA-256.

What is not finished yet carries a temporary name beside its target (`is_temporary`); a killed
process leaves it there, and `Workspace.locked` removes it.
"""

import ctypes
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import file_digest
from math import isfinite
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from typing import Any

_log = logging.getLogger(__name__)
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
def atomic_write(target: Path, durable: bool = False) -> Iterator[Path]:
    """Give a file name to write to that becomes `target` at the end, or vanishes after an error.

    With `durable` the new content survives a power cut as soon as the block has ended.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(target)
        if durable:
            sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_once(target: Path) -> Iterator[Path]:
    """Give a file name to write to that becomes `target`, unless that exists by then; durable.

    Any number of processes may write the same file: the first one is believed, and none ever
    sees a part of it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{token_hex(4)}")
    try:
        yield temporary
        if not temporary.exists() and target.exists():
            return  # tidied away as useless
        sync(temporary)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return
        except OSError:  # no links, as on a bucket that is mounted as a folder
            if not target.exists():
                temporary.replace(target)
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(
    path: Path, document: Any, *, sort_keys: bool = False, indent: int | None = 1
) -> None:
    """Write JSON values as UTF-8 text; the file is whole or as it was before."""
    text = json_text(document, sort_keys=sort_keys, indent=indent) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(
    document: Any, *, sort_keys: bool = False, indent: int | None = None, ensure_ascii: bool = True
) -> str:
    """JSON values as text; NaN and infinity, which JSON does not have, become null."""
    dumps = partial(
        json.dumps if indent is None else partial(_indented, indent=indent),
        sort_keys=sort_keys,
        ensure_ascii=ensure_ascii,
        allow_nan=False,
    )
    try:
        return dumps(document)
    except ValueError:
        return dumps(_without_nan(document))


def _indented(document: Any, indent: int, sort_keys: bool, **options: Any) -> str:
    """As `json.dumps` with `indent`, several times faster where lists of numbers are long: the
    standard library writes indented JSON in Python alone."""

    def render(value: Any, end: str) -> str:
        start = end + " " * indent
        if isinstance(value, dict) and value:
            items = sorted(value.items()) if sort_keys else value.items()
            pairs = [f"{key_text(key)}: {render(each, start)}" for key, each in items]
            return "{" + start + f",{start}".join(pairs) + end + "}"
        if isinstance(value, list | tuple) and value:
            if any(isinstance(each, dict | list | tuple) for each in value):
                text = f",{start}".join(render(each, start) for each in value)
            else:
                text = json.dumps(value, separators=(f",{start}", ": "), **options)[1:-1]
            return "[" + start + text + end + "]"
        return json.dumps(value, **options)

    def key_text(key: Any) -> str:
        return json.dumps(key if isinstance(key, str) else json.dumps(key, **options), **options)

    return render(document, "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def sync(path: Path) -> None:
    """Write a file's content, or a folder's list of names, to the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock file; where another process holds it, log `waiting` and wait."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file if no other process holds it; yields whether it is held."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is unfinished: `atomic_dir`, `atomic_write` and
    `versions` name them so."""
    return _TEMPORARY.fullmatch(name) is not None


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
