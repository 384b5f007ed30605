"""Raw data as versions that never change: contents in shards, listed by manifests.

    data/raw/<task>/
      shards/<sha256>.zip     contents, stored one after the other, named by their own SHA-256
      versions/<root>.json    a version: every item's name, size and SHA-256, and where it came from
      latest.txt              the version that was fetched last

An item is one file of the source. A content that some shard holds is never packed again, so that
a version which changes ten files of thirty thousand adds one small shard. The root hash covers all
names and contents; it is the fingerprint of the data. Nothing here knows what the bytes mean.

Whoever writes holds the lock of the task (`Workspace.locked`); reading needs none but for
`unpacked`, whose folder a writer would take for the remains of a killed process.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from mien.errors import DataError
from mien.storage.files import atomic_write

from . import manifest
from .manifest import Entry, Item, Version, root_of
from .progress import Progress, silent
from .shards import AlteredError, Shards, room, save

__all__ = ["OPEN", "Entry", "Item", "Store", "Version", "root_of"]

OPEN = ".open-"
"""How the folders begin that hold an unpacked version for a while."""
_LEAST = 4
"""Characters of a root hash that may stand for the whole."""
_ROOT = re.compile(r"[0-9a-f]{64}")
_NAMED = 3
_BRING_BACK = (
    "`mien data verify TASK` tells what is wrong; `dvc pull` brings shards and manifests back, or "
    "fetch the source again with `mien data`."
)


@dataclass(frozen=True)
class Store:
    """The raw data of one task."""

    folder: Path
    progress: Progress = silent

    def add(
        self, items: Iterable[Item], source: str, why: str = "fetched", parent: str | None = None
    ) -> Version:
        """Keep these items as a version, the newest from now on; return the one that is there
        where nothing is new. Contents that were lost are packed again.

        Raises:
            DataError: there is no item, a name is not a plain path below its folder, or a content
                is not what its SHA-256 says.
        """
        listed = manifest.listing(items, source)
        entries = {name: Entry(each.sha256, each.bytes) for name, each in listed.items()}
        root = root_of(entries)
        version = self.find(root) if self.holds(root) else None
        if version is None or not self.whole(version):
            shards = self._shards.pack(listed.values())
            version = version or Version(
                root=root,
                number=1 + max((each.number for each in self.versions()), default=0),
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                source=source,
                why=why,
                parent=parent,
                items=entries,
                shards=shards,
            )
            manifest.write(version, self._path(root))
        self.choose(root)
        return version

    @property
    def newest(self) -> str:
        """Root hash of the version that was fetched last; "" where there is none."""
        return self._latest.read_text().strip() if self._latest.is_file() else ""

    def choose(self, root: str) -> None:
        """Let a version be the newest from now on; none where it is ""."""
        if not root:
            self._latest.unlink(missing_ok=True)
            return
        with atomic_write(self._latest) as temporary:
            temporary.write_text(root + "\n", encoding="utf-8")

    def holds(self, root: str) -> bool:
        """Whether there is a version of that whole root hash."""
        return bool(_ROOT.fullmatch(root)) and self._path(root).is_file()

    def roots(self) -> set[str]:
        """The root hashes of all versions, unread."""
        return {path.stem for path in self._manifests()}

    def whole(self, version: Version) -> bool:
        """Whether the shards of a version are there and say to hold its contents; `verify` reads
        them as well."""
        if self._shards.there(version.shards):
            return True
        return not self._shards.holding({entry.sha256 for entry in version.items.values()})[1]

    def versions(self) -> list[Version]:
        """All versions, the oldest first.

        Raises:
            DataError: a manifest cannot be read.
        """
        found = [manifest.read(path, _BRING_BACK) for path in self._manifests()]
        return sorted(found, key=lambda each: (each.number, each.root))

    def latest(self) -> Version | None:
        """The version that was fetched last; None where there is none."""
        return self.find(self.newest) if self.newest else None

    def find(self, name: str) -> Version:
        """The version whose root hash begins so, or that has this number.

        Raises:
            DataError: there is none, or more than one.
        """
        if self.holds(name):
            return manifest.read(self._path(name), _BRING_BACK)
        known = self.versions()
        found = [each for each in known if len(name) >= _LEAST and each.root.startswith(name)]
        found = found or [each for each in known if str(each.number) == name]
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{each.number} ({each.short})" for each in known[-5:]) or "none yet"
        fault = "is more than one version" if found else "is no version"
        raise DataError(f"{name!r} {fault} of {self.folder}. There are: {there}.")

    @contextmanager
    def unpacked(self, version: Version) -> Iterator[Path]:
        """Give the version as a folder of plain files while the block runs.

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
        """Write every item of a version below `target`, each one checked against its SHA-256.

        Raises:
            DataError: a shard is missing or damaged, or `target` cannot hold two of the names.
        """
        room(target, version.bytes)
        names: dict[str, list[str]] = {}
        for name, entry in version.items.items():
            names.setdefault(entry.sha256, []).append(name)
        for folder in sorted({name.rpartition("/")[0] for name in version.items}):
            (target / folder).mkdir(parents=True, exist_ok=True)
        try:
            with self.progress(f"unpack {version.short}") as advance:
                for done, (content, pieces) in enumerate(self._shards.read(names), start=1):
                    save(pieces, [target / name for name in names[content]])
                    advance(done, len(names))
        except AlteredError as error:
            name = names[error.content][0]
            raise DataError(f"{name} is not what was fetched: {error}. {_BRING_BACK}") from None
        except FileExistsError as error:
            raise DataError(
                f"{error.filename} would be written twice: this file system takes two names of "
                f"version {version.short} for one. Rename one of them in the source."
            ) from None

    def verify(self, version: Version | None = None) -> list[str]:
        """Read every byte of a version, or of all; return what is wrong, in sentences."""
        faults, whole = self._shards.faults()
        known = []
        for path in [self._path(version.root)] if version else self._manifests():
            try:
                known.append(manifest.read(path, _BRING_BACK))
            except DataError as error:
                faults.append(str(error))
        for each in sorted(known, key=lambda one: one.number):
            names = [name for name, entry in each.items.items() if entry.sha256 not in whole]
            if names:
                more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
                told = ", ".join(names[:_NAMED]) + more
                faults.append(f"Version {each.number} ({each.short}) lacks {told}.")
        return faults

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
