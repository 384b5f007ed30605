"""Raw data as versions that never change: contents in shards, listed by manifests.

    data/raw/<task>/
      shards/<sha256>.zip     contents, stored one after the other; the name is the shard's SHA-256
      versions/<root>.json    a version: name, size and SHA-256 of every item, and its source
      latest.txt              the latest version that the task could read
      refused.json            versions that the task could not read, and the reasons

An item is one file of the source. A content that is in some shard is never packed again: a version
that changes ten files of thirty thousand adds one small shard. The root hash covers all names and
contents; it is the fingerprint of the data. Nothing here knows what the bytes mean.

Writers hold the lock of the task (`Workspace.locked`). Readers need no lock, except for `unpacked`:
a writer would take its folder for the remains of a killed process.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

from mien.errors import DataError
from mien.storage.files import atomic_write, sha256_file, write_json

from . import manifest
from .manifest import Item, RawFile, Version, root_of
from .shards import AlteredError, Progress, Shards, check_free_space, silent, write_new

__all__ = ["OPEN", "Item", "RawFile", "Store", "Version", "root_of"]

OPEN = ".open-"
"""Prefix of the temporary folders of unpacked versions."""
_MIN_PREFIX = 4
"""Least number of characters of a root hash that name a version."""
_ROOT = re.compile(r"[0-9a-f]{64}")
_MAX_NAMES = 3
_REMEDY = (
    "`mien data verify TASK` tells what is wrong; `dvc pull` brings shards and manifests back, or "
    "fetch the source again with `mien data`."
)


@dataclass(frozen=True)
class Store:
    """The raw data of one task."""

    folder: Path
    progress: Progress = silent

    def add(
        self,
        items: Iterable[Item],
        source: str,
        reason: str = "fetched",
        parent: Version | None = None,
        synthetic: bool = False,
    ) -> Version:
        """Store these items as a version; return the existing version where nothing is new. Lost
        contents are packed again. `set_latest` makes it the latest one.

        A version is `synthetic` if mien drew it, or its parent is, even where it exists already.

        Raises:
            DataError: there is no item, a name is not a plain relative path, or a content does
                not match its SHA-256.
        """
        listed = manifest.listing(items, source)
        entries = {name: RawFile(each.sha256, each.size_bytes) for name, each in listed.items()}
        root = root_of(entries)
        version = self.find(root) if self.contains(root) else None
        synthetic = synthetic or (parent is not None and parent.synthetic)
        if version and synthetic and not version.synthetic:
            version = replace(version, synthetic=True)
            manifest.write(version, self._path(root))
        if version is None or not self.is_complete(version):
            shards = self._shards.pack(listed.values())
            version = version or Version(
                root=root,
                number=1 + max((each.number for each in self.versions()), default=0),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                source=source,
                reason=reason,
                parent=parent.root if parent else None,
                synthetic=synthetic,
                items=entries,
                shards=shards,
            )
            manifest.write(version, self._path(root))
        return version

    def add_folder(self, folder: Path, reason: str, parent: Version) -> Version:
        """Store the files of a folder as a version made from `parent`; raises as `add`."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        items = []
        with self.progress("fingerprint") as advance:
            for count, path in enumerate(paths, start=1):
                name, size = path.relative_to(folder).as_posix(), path.stat().st_size
                items.append(Item(name, sha256_file(path), size, partial(_open, path)))
                advance(count, len(paths))
        return self.add(items, parent.source, reason, parent)

    @property
    def latest_root(self) -> str:
        """Root hash of the latest version; "" if there is none."""
        return self._latest.read_text().strip() if self._latest.is_file() else ""

    def set_latest(self, root: str) -> None:
        """Make a version the latest one; "" for none."""
        if not root:
            self._latest.unlink(missing_ok=True)
            return
        with atomic_write(self._latest) as temporary:
            temporary.write_text(root + "\n", encoding="utf-8")

    def refused(self) -> dict[str, str]:
        """Root hashes of versions that the task could not read, and the reasons."""
        if not self._refused.is_file():
            return {}
        reasons: dict[str, str] = json.loads(self._refused.read_text(encoding="utf-8"))
        return reasons

    def set_refused(self, root: str, reason: str) -> None:
        """Note why the task cannot read a version; "" where it can."""
        before = self.refused()
        reasons = {each: text for each, text in {**before, root: reason}.items() if text}
        if reasons != before:
            write_json(self._refused, reasons, sort_keys=True)

    def remove(self, version: Version) -> int:
        """Delete a version and the shards that no other version needs; return the freed bytes."""
        others = [each for each in self.versions() if each.root != version.root]
        needed = {entry.sha256 for each in others for entry in each.items.values()}
        own = {entry.sha256 for entry in version.items.values()} - needed
        self._path(version.root).unlink()
        self.set_refused(version.root, "")
        if self.latest_root == version.root:
            self.set_latest("")
        return self._shards.remove(own, needed)

    def contains(self, root: str) -> bool:
        """Whether there is a version with this full root hash."""
        return bool(_ROOT.fullmatch(root)) and self._path(root).is_file()

    def roots(self) -> set[str]:
        """The root hashes of all versions; reads no manifest."""
        return {path.stem for path in self._manifests()}

    def is_complete(self, version: Version) -> bool:
        """Whether the shards of a version exist and list its contents; `verify` reads them too."""
        if self._shards.exist(version.shards):
            return True
        return not self._shards.locate({entry.sha256 for entry in version.items.values()})[1]

    def versions(self) -> list[Version]:
        """All versions, the oldest first.

        Raises:
            DataError: a manifest cannot be read.
        """
        versions = [manifest.read(path, _REMEDY) for path in self._manifests()]
        return sorted(versions, key=lambda each: (each.number, each.root))

    def latest(self) -> Version | None:
        """The latest version; None if there is none."""
        return self.find(self.latest_root) if self.latest_root else None

    def find(self, name: str) -> Version:
        """The version with this beginning of a root hash, or with this number.

        Raises:
            DataError: no version, or more than one.
        """
        if self.contains(name):
            return manifest.read(self._path(name), _REMEDY)
        versions = self.versions()
        matches = [
            each for each in versions if len(name) >= _MIN_PREFIX and each.root.startswith(name)
        ]
        matches = matches or [each for each in versions if str(each.number) == name]
        if len(matches) == 1:
            return matches[0]
        existing = ", ".join(f"{each.number} ({each.short})" for each in versions[-5:]) or "none"
        fault = "is more than one version" if matches else "is no version"
        raise DataError(f"{name!r} {fault} of {self.folder}. Existing versions: {existing}.")

    @contextmanager
    def unpacked(self, version: Version) -> Iterator[Path]:
        """Provide the version as a folder of plain files while the block runs.

        Raises:
            DataError: a shard is missing or damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=f"{OPEN}{version.short}.", dir=self.folder))
        try:
            self.write(version, folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(self, version: Version, target: Path) -> None:
        """Write every item of a version below `target`, each checked against its SHA-256.

        Raises:
            DataError: a shard is missing or damaged, or the file system of `target` takes two
                names for one.
        """
        check_free_space(target, version.size_bytes)
        names: dict[str, list[str]] = {}
        for name, entry in version.items.items():
            names.setdefault(entry.sha256, []).append(name)
        for folder in sorted({name.rpartition("/")[0] for name in version.items}):
            (target / folder).mkdir(parents=True, exist_ok=True)
        try:
            with self.progress(f"unpack {version.short}") as advance:
                for count, (content, chunks) in enumerate(self._shards.read(names), start=1):
                    write_new(chunks, [f"{target}/{name}" for name in names[content]])
                    advance(count, len(names))
        except AlteredError as error:
            name = names[error.content][0]
            raise DataError(f"{name} differs from the fetched file: {error}. {_REMEDY}") from None
        except FileExistsError as error:
            raise DataError(
                f"{error.filename}: this file system takes two names of version {version.short} "
                "for one. Rename one of them in the source."
            ) from None

    def verify(self, version: Version | None = None) -> list[str]:
        """Read every byte of a version, or of all; return the errors, in sentences."""
        errors, intact = self._shards.verify()
        readable = []
        for path in [self._path(version.root)] if version else self._manifests():
            try:
                readable.append(manifest.read(path, _REMEDY))
            except DataError as error:
                errors.append(str(error))
        for each in sorted(readable, key=lambda version: version.number):
            names = [name for name, entry in each.items.items() if entry.sha256 not in intact]
            if names:
                more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
                listed = ", ".join(names[:_MAX_NAMES]) + more
                errors.append(f"Version {each.number} ({each.short}) lacks {listed}.")
        return errors

    @property
    def _shards(self) -> Shards:
        return Shards(self.folder / "shards", self.progress)

    def _manifests(self) -> list[Path]:
        return sorted((self.folder / "versions").glob("*.json"))

    def _path(self, root: str) -> Path:
        return self.folder / "versions" / f"{root}.json"

    @property
    def _latest(self) -> Path:
        return self.folder / "latest.txt"

    @property
    def _refused(self) -> Path:
        return self.folder / "refused.json"


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
