"""A trained model as a folder: write it, verify it, read it.

`bundle.json` lists every file with its size and SHA-256 beside all that a prediction and a
rebuild need. There is no code and no pickle in it. This file knows neither ONNX nor any task;
`runtime.py` runs what lies in the folder.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError

from mien import config
from mien.config import Schema
from mien.errors import BundleError, expectation
from mien.model.decision import AnswerDecision
from mien.model.evaluation import BundleMetrics
from mien.model.lineage import Lineage
from mien.storage import workspace
from mien.storage.files import atomic_dir, sha256_file, write_json

MANIFEST = workspace.MANIFEST
FORMAT: Literal[3] = 3
"""Version of the layout of `bundle.json`; no other one is read."""
NETWORK_SUFFIX = ".onnx"
"""Of the files of a bundle that hold weights."""
SUFFIXES = {".onnx", ".json", ".npz", ".md", ".png"}
"""What a bundle may hold. Anything that could carry code (pickles above all) is refused;
`.npz` is read without pickles."""


class FileEntry(Schema):
    """Size in bytes and SHA-256 of one file of a bundle."""

    bytes: int
    sha256: str


class Manifest(Schema):
    """The content of `bundle.json`."""

    format: Literal[3] = FORMAT
    task: str
    labels: tuple[str, ...]
    candidate: str
    preprocessing: dict[str, Any]
    """Preprocessing: all that the task's `predict` must know of this model."""
    preprocessing_sha256: str
    decision: AnswerDecision | None = None
    """None: scores are not calibrated, and no answer is `unsure`. `evaluate` fits it."""
    metrics: BundleMetrics | None = None
    """None until the bundle was evaluated."""
    lineage: Lineage = Lineage()
    files: dict[str, FileEntry] = Field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 of `bundle.json`, and so of everything in the folder: also of when it was trained and
    of costs that were measured. It identifies the bundle, and differs between trainings."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of what predictions depend on: task, labels, preprocessing, decision, networks.

        The same for every training of the same data, params and seed on the same platform.
        """
        manifest = self.manifest
        networks = {
            name: entry.sha256
            for name, entry in sorted(manifest.files.items())
            if name.endswith(NETWORK_SUFFIX)
        }
        decision = manifest.decision and manifest.decision.model_dump(mode="json")
        parts = [manifest.task, manifest.labels, manifest.preprocessing_sha256, decision, networks]
        return config.digest(parts)

    @property
    def megabytes(self) -> float:
        """Size of all files together, in 10^6 bytes."""
        return sum(entry.bytes for entry in self.manifest.files.values()) / 1e6


def describe(
    task: str,
    labels: tuple[str, ...],
    candidate: str,
    preprocessing: Mapping[str, Any],
    *,
    decision: AnswerDecision | None = None,
    metrics: BundleMetrics | None = None,
    lineage: Lineage | None = None,
) -> Manifest:
    """Make a manifest that does not list its files yet; `write` adds them."""
    return Manifest(
        task=task,
        labels=labels,
        candidate=candidate,
        preprocessing=dict(preprocessing),
        preprocessing_sha256=config.digest(dict(preprocessing)),
        decision=decision,
        metrics=metrics,
        lineage=lineage or Lineage(),
    )


def write(
    folder: Path, manifest: Manifest, verified: Mapping[str, FileEntry] | None = None
) -> Bundle:
    """List every file of `folder` in its `bundle.json`, written last and in one move.

    Args:
        folder: holds every other file of the bundle.
        manifest: the manifest without its files.
        verified: entries of files that were hashed before and are not hashed again.

    Raises:
        BundleError: the folder holds a link or a file of a kind that a bundle may not hold.
    """
    complete = list_files(folder, manifest, verified)
    path = folder / MANIFEST
    write_json(path, complete.model_dump(mode="json"), sort_keys=True)
    raw = path.read_bytes()
    return Bundle(folder=folder, manifest=parse(raw, path), digest=sha256(raw).hexdigest())


def list_files(
    folder: Path, manifest: Manifest, verified: Mapping[str, FileEntry] | None = None
) -> Manifest:
    """The manifest with an entry for every file of `folder`; arguments and errors as `write`."""
    entries = verified or {}
    files = {name: entries.get(name) or _entry(folder / name) for name in _contents(folder)}
    return manifest.model_copy(update={"files": files})


def copy_networks(work: Path, folder: Path) -> None:
    """Copy the networks that a trainer left in its work folder."""
    for path in sorted(work.iterdir()):
        if path.is_file() and path.suffix == NETWORK_SUFFIX:
            shutil.copyfile(path, folder / path.name)


def read(folder: Path) -> Bundle:
    """Open a bundle and verify every byte of it.

    Raises:
        BundleError: something is missing, altered, unlisted, linked or of an unknown format.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(
            f"{folder}: expected a bundle, found no folder. Bring it back, or choose another "
            "version: `mien models` lists them, `mien promote` takes one."
        )
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}. Train one: `mien run`.")
    raw = path.read_bytes()
    manifest = parse(raw, path)
    if config.digest(manifest.preprocessing) != manifest.preprocessing_sha256:
        raise BundleError(f"{path}: `preprocessing` does not match its hash. {_REMEDY}")
    _verify_files(folder, manifest)
    return Bundle(folder=folder, manifest=manifest, digest=sha256(raw).hexdigest())


def read_champion(task: str, home: workspace.Workspace) -> Bundle | None:
    """Open the champion of a task; None where there is none. Raises as `read` does."""
    number = home.aliases(task).get(workspace.CHAMPION)
    return None if number is None else read(home.version(task, number))


def copy(source: Path, target: Path) -> Bundle:
    """Copy a bundle so that `target` is there whole or not at all, and verify the copy."""
    with atomic_dir(target) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
        copied = read(temporary)
    return replace(copied, folder=target)


_REMEDY = "The bundle was altered or damaged; fetch or train it again."


def parse(raw: bytes, path: Path | str) -> Manifest:
    """Read a manifest; `path` names it in messages.

    Raises:
        BundleError: not JSON, of another format, or with missing or unknown keys.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is not readable JSON. {_REMEDY}") from None
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path}: expected bundle format {FORMAT}, found {found!r}. Train the model again with "
            "this version of mien, or install the version that wrote it."
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise BundleError(f"{path}: {key}: {expectation(fault)}. {_REMEDY}") from None


def _verify_files(folder: Path, manifest: Manifest) -> None:
    present = set(_contents(folder))
    listed = set(manifest.files)
    _refuse(folder, sorted(listed - present), "is listed but missing")
    _refuse(folder, sorted(present - listed), "is there but not listed")
    for name, entry in manifest.files.items():
        if _entry(folder / name) != entry:
            _refuse(folder, [name], "differs from its checksum")


def _refuse(folder: Path, names: list[str], fault: str) -> None:
    if names:
        raise BundleError(f"{folder}: {', '.join(names)} {fault}. {_REMEDY}")


def _contents(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleError(f"{folder}: {name} is a link; a bundle holds plain files only.")
        if path.is_dir() or name == MANIFEST:
            continue
        if PurePosixPath(name).suffix not in SUFFIXES:
            kinds = ", ".join(sorted(SUFFIXES))
            raise BundleError(f"{folder}: {name} is of a kind that no bundle holds ({kinds}).")
        yield name


def _entry(path: Path) -> FileEntry:
    return FileEntry(bytes=path.stat().st_size, sha256=sha256_file(path))
