"""A workspace for one rebuild: a copy of the data in it, and the pipeline run there.

Nothing that happens in it reaches the workspace of the model: data are copied and not linked.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mien import config, tasks
from mien.errors import ConfigError, DataError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.reporting import console
from mien.storage.versions import Store, Version
from mien.storage.workspace import Workspace

from .code import Code, subprocess_env
from .record import Target
from .steps import Step

_TAIL = 2000
_COLOURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_NO_LIMIT = 1e9
"""For limits of the policy: how long a request takes is no part of what is rebuilt."""


@contextmanager
def opened(keep: Path | None) -> Iterator[Path]:
    """Give an empty folder: a temporary one, or `keep`, which stays.

    Raises:
        ConfigError: `keep` holds something.
    """
    if keep is None:
        with TemporaryDirectory(prefix="mien-rebuild-", ignore_cleanup_errors=True) as folder:
            yield Path(folder).resolve()
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigError(f"{keep} is there already; give --keep the name of a new folder.")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def copy_data(target: Target, workspace: Workspace, scratch: Workspace) -> Step:
    """Copy the version of the data that was trained on, and check every byte of the copy."""
    root = str(target.lineage["data_fingerprint"])
    store, copy = (
        Store(workspace.raw(target.task), console.bar),
        Store(scratch.raw(target.task), console.bar),
    )
    try:
        if not store.holds(root):
            raise DataError(
                f"the store has no version {root[:12]}; bring its manifest and shards back "
                f"(`dvc pull`), or fetch the source again with `mien data`."
            )
        version = store.find(root)
        _copy(store, version, copy)
        faults = copy.verify(version)
    except DataError as error:
        faults = [str(error)]
    if faults:
        text = " ".join(faults).replace(str(scratch.home), str(workspace.home.resolve()))
        return Step("data", "different", text)
    megabytes = version.bytes / 1e6
    text = f"version {version.number} ({version.short}), {len(version.items):,} files"
    return Step("data", "identical", f"{text}, {megabytes:,.1f} MB, every byte checked")


def run(target: Target, file: Path, code: Code, python: Path, scratch: Workspace) -> Bundle | Step:
    """Run the pipeline of that code; return the new bundle, or why there is none."""
    ended, told = _stream(_command(target, file, python, scratch), subprocess_env(code, python))
    found = _result(target, scratch)
    if found is not None:
        return bundle.read(found)
    return Step(
        "rebuild", "different", f"the pipeline ended with {ended} and left no bundle: {told}"
    )


def _copy(store: Store, version: Version, copy: Store) -> None:
    wanted = {entry.sha256 for entry in version.items.values()}
    shards = sorted((store.folder / "shards").glob("*.zip"))
    for path in [store.folder / "versions" / f"{version.root}.json", *shards]:
        if path.suffix == ".zip" and not _holds(path, wanted):
            continue
        target = copy.folder / path.relative_to(store.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _holds(path: Path, wanted: set[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return not wanted.isdisjoint(archive.namelist())
    except zipfile.BadZipFile:
        return True  # what it held cannot be told; the check of the copy names what is missing


def _command(target: Target, file: Path, python: Path, scratch: Workspace) -> list[str]:
    limits = [f"policy.{name}={_NO_LIMIT}" for name in ("max_bundle_mb", "max_cpu_cost")]
    form = target.lineage.get("variant", {}).get("form", "")
    settings = [*limits, *_alone(target), f"variants=[{form}]"]
    root = target.lineage["data_fingerprint"]
    return [
        *(str(python), "-m", "mien.cli", "run", str(file), "--source", f"@{root}"),
        *("--home", str(scratch.home)),
        *(part for each in settings for part in ("--set", each)),
    ]


def _alone(target: Target) -> list[str]:
    """The setting with which only the wanted candidate is trained; none where a task has none."""
    task = tasks.load(target.task)
    recorded = target.lineage["config"]["params"]
    try:
        params = config.parse(
            task.training.Params, {**recorded, "candidates": [target.candidate]}, "params"
        )
        alone = task.training.candidates(params) == (target.candidate,)
    except ConfigError:
        alone = False  # params of another code, or a task that always trains the same ones
    return [f"params.candidates=[{target.candidate}]"] if alone else []


def _stream(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command whose messages are passed on as they come; return its status and the last."""
    shown = sys.stderr.isatty()
    width = {"COLUMNS": str(shutil.get_terminal_size().columns)}
    colours = {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "1"} if shown else {}
    tail = b""
    with subprocess.Popen(
        command,
        env={**environment, **width, **colours},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stderr is not None
        while piece := os.read(process.stderr.fileno(), 1 << 16):
            sys.stderr.buffer.write(piece)
            sys.stderr.buffer.flush()
            tail = (tail + piece)[-_TAIL:]
    lines = _COLOURS.sub(b"", tail).decode(errors="replace").strip().splitlines()
    return process.returncode, " ".join(lines[-3:])


def _result(target: Target, scratch: Workspace) -> Path | None:
    name = target.bundle.manifest.candidate
    found = sorted(scratch.evaluated(target.task).glob(f"*/{name}/{bundle.MANIFEST}"))
    return found[0].parent if found else None
