"""Folders in buckets of S3 and Google Cloud Storage, beside those on disk.

A `Location` is a path on disk or a name in a bucket; the functions here take both. An object is
whole or absent, is created only if it is absent, and never changes while somebody reads it. The
only importer of obstore, whose errors may quote keys of an account: none of their text is shown.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePosixPath
from re import fullmatch
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

from mien.errors import BucketError, ConfigError

from . import files

RETRY: dict[str, Any] = {"max_retries": 6, "retry_timeout": timedelta(minutes=1)}
"""Of a request; a batch that ends after them resumes."""
MAX_CREATED_BYTES = 64_000_000
"""A larger file is sent in pieces, which no store creates only if absent."""
_PAGE = 1000
"""Names that a store lists in one answer."""
_AFTER = "\U0010ffff"
"""The last character there is: listing goes on behind all names that begin with a folder's."""
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
}
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}


@dataclass(frozen=True)
class Listed:
    """An object in a listing."""

    name: str
    size_bytes: int
    e_tag: str
    """What the store calls this content; another content has another one."""


@dataclass(frozen=True)
class BucketPath:
    """A name in a bucket, with those methods of `pathlib.Path` that a batch needs."""

    scheme: str
    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `s3://bucket/folder` or `gs://bucket/folder`.

        Raises:
            ConfigError: it is none; the text is not repeated, since some put a password into it.
        """
        match = fullmatch(r"(s3|gs)://([a-z0-9][a-z0-9._-]+)(/[^?#]*)?", url)
        if not match:
            raise ConfigError(
                "A location in a bucket: expected s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, found "
                "something else. Keys belong into the environment, not into the name."
            )
        return cls(match[1], match[2], (match[3] or "").strip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> Self:
        return type(self)(self.scheme, self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    def resolve(self) -> Self:
        """Itself: it is the same on every machine."""
        return self

    def exists(self) -> bool:
        """Whether there is such an object."""
        import obstore

        try:
            with _reported(self):
                obstore.head(_store(self.scheme, self.bucket), self.key)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there are objects in this folder."""
        return next(self.children(), None) is not None

    def read_text(self, encoding: str) -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding)

    def read_bytes(
        self, e_tag: str | None = None, start: int = 0, stop: int | None = None
    ) -> bytes:
        """The content, or a range of it, read in one request.

        Raises:
            FileNotFoundError: there is no such object, or its content is another one than `e_tag`.
        """
        import obstore

        options: Any = {"if_match": e_tag} if e_tag else {}
        if start or stop is not None:
            options["range"] = {"offset": start} if stop is None else (start, stop)
        with _reported(self):
            store = _store(self.scheme, self.bucket)
            return bytes(obstore.get(store, self.key, options=options).bytes())

    def create(self, file: Path) -> None:
        """Send a file, unless there is such an object."""
        import obstore
        from obstore import exceptions

        store = _store(self.scheme, self.bucket)
        with _reported(self):
            if file.stat().st_size > MAX_CREATED_BYTES:
                obstore.put(store, self.key, file)
                return
            try:
                obstore.put(store, self.key, file.read_bytes(), mode="create")
            except exceptions.AlreadyExistsError:
                return

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object, if there is one."""
        import obstore

        with _reported(self):
            obstore.delete(_store(self.scheme, self.bucket), self.key)

    def children(self) -> Iterator[Listed | str]:
        """The objects of this folder and the names of its subfolders, in the order of names.

        A page of them is in memory at a time.
        """
        import obstore

        start, after = f"{self.key}/".lstrip("/"), None
        while True:
            with _reported(self):
                pages = obstore.list(
                    _store(self.scheme, self.bucket), self.key or None, offset=after,
                    chunk_size=_PAGE,
                )  # fmt: skip
            folder = None
            for each in _objects(self, pages):
                head, slash, _ = each["path"].removeprefix(start).partition("/")
                if slash:
                    folder = head
                    break
                yield Listed(head, each["size"], each["e_tag"] or "")
            if folder is None:
                return
            yield folder
            after = f"{start}{folder}/{_AFTER}"


Location = Path | BucketPath


def location(text: str) -> Location:
    """The location that a command line names.

    Raises:
        ConfigError: it has the form of a URL and is not one of a bucket.
    """
    return BucketPath.parse(text) if "://" in text else Path(text)


def matching(folder: Location, pattern: str) -> list[Location]:
    """What is directly in a folder, by the pattern of its name."""
    if isinstance(folder, Path):
        return list(folder.glob(pattern))
    return [folder / name for name in sizes(folder) if fnmatch(name, pattern)]


def sizes(folder: Location) -> dict[str, int]:
    """Names and sizes in bytes of the files in a folder."""
    if isinstance(folder, BucketPath):
        return {
            each.name: each.size_bytes for each in folder.children() if isinstance(each, Listed)
        }
    by_name = {}
    for path in folder.iterdir():
        try:
            by_name[path.name] = path.stat().st_size
        except FileNotFoundError:  # a temporary one that has just got its name
            continue
    return by_name


def read_range(file: Location, start: int, stop: int | None) -> bytes:
    """The bytes of a file from `start`, to its end without `stop`."""
    if isinstance(file, BucketPath):
        return file.read_bytes(start=start, stop=stop)
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read() if stop is None else stream.read(stop - start)


@contextmanager
def local_copy(file: Location) -> Iterator[Path]:
    """The file itself on disk, or a copy of an object for as long as the block lasts.

    Raises:
        FileNotFoundError: there is no such object.
    """
    if isinstance(file, Path):
        yield file
        return
    with TemporaryDirectory(prefix="mien-") as folder:
        copy = Path(folder, file.name)
        copy.write_bytes(file.read_bytes())
        yield copy


@contextmanager
def write_once(target: Location) -> Iterator[Path]:
    """Give a file name to write to that becomes `target`, unless that exists by then; durable."""
    if isinstance(target, Path):
        with files.write_once(target) as temporary:
            yield temporary
        return
    with TemporaryDirectory(prefix="mien-") as folder:
        temporary = Path(folder, target.name)
        yield temporary
        target.create(temporary)


def _objects(folder: BucketPath, pages: Any) -> Iterator[dict[str, Any]]:
    while True:
        with _reported(folder):
            page = next(pages, None)
        if page is None:
            return
        yield from page


@lru_cache(maxsize=8)
def _store(scheme: str, bucket: str) -> Any:
    try:
        from obstore.store import GCSStore, S3Store
    except ImportError:
        raise ConfigError(
            f"{scheme}://: expected obstore, found no such package. Run `pip install "
            "'mien[buckets]'`."
        ) from None
    endpoint = _endpoint(scheme)
    options: dict[str, Any] = {"retry_config": RETRY}
    if endpoint.startswith("http://"):
        options["client_options"] = {"allow_http": True}
    if scheme == "s3":
        return S3Store(bucket, **options, config={"endpoint": endpoint} if endpoint else None)
    if endpoint:  # of an emulator, which asks for no login
        names = ("client_email", "private_key", "private_key_id")
        account: dict[str, Any] = dict.fromkeys(names, "")
        account |= {"gcs_base_url": endpoint, "disable_oauth": True}
        return GCSStore(bucket, **options, service_account_key=json.dumps(account))
    return GCSStore(bucket, **options)


def _endpoint(scheme: str) -> str:
    return next((os.environ[name] for name in _ENDPOINTS[scheme] if os.environ.get(name)), "")


@contextmanager
def _reported(path: BucketPath) -> Iterator[None]:
    """Replace errors of the library by short ones without its text.

    Raises:
        FileNotFoundError: there is no such object, or not with this content.
        BucketError: anything else.
    """
    try:
        from obstore import exceptions
    except ImportError:
        yield
        return
    try:
        yield
    except exceptions.BaseError as error:
        raise _short(path, error) from None


def _short(path: BucketPath, error: Exception) -> FileNotFoundError | BucketError:
    from obstore import exceptions

    if "NoSuchBucket" in str(error):
        url = f"{path.scheme}://{path.bucket}"
        return BucketError(f"{url}: expected a bucket, found none. Create it first.")
    if isinstance(error, exceptions.NotFoundError | exceptions.PreconditionError):
        return FileNotFoundError(f"{path}: no such object")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return BucketError(
            f"{path}: expected access, found that the store refuses the key. Check "
            f"{_KEYS[path.scheme]}, and the rights of that key."
        )
    return BucketError(
        f"{path}: expected an answer of {_host(path.scheme)}, found {type(error).__name__}. "
        f"Check the network, {_ENDPOINTS[path.scheme][-1]} and {_KEYS[path.scheme]}."
    )


def _host(scheme: str) -> str:
    """Where the store is, without a password that may be in its address."""
    return urlsplit(_endpoint(scheme)).hostname or {"s3": "S3", "gs": "Cloud Storage"}[scheme]
