"""From a source (a file, a folder, a zip, or the project's own sample) to what the trainer reads.

    source -> data/raw/<task>/<id>/ -> task.prepare -> data/processed/<task>/<key>/

Both folders are named by their content and appear whole or not at all. This file knows how to
fetch and fingerprint bytes; what the bytes mean is the task's business.
"""

import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from mien import config, console, figures, tasks
from mien.bundle import building, checksum, replacing
from mien.config import RunConfig
from mien.errors import DataError
from mien.task import DataReport
from mien.workspace import REPORT, Workspace, code, key, point

SAMPLE = "sample"
UNPACKED_LIMIT = 50e9
"""Bytes that a zip may unpack to; more is taken for an attack."""


@dataclass(frozen=True)
class Ready:
    """Prepared data: where it lies, and the fingerprint of the raw data it was made from."""

    folder: Path
    fingerprint: str
    fresh: bool
    """False where the folder was already there."""


def data(run: RunConfig, workspace: Workspace) -> Ready:
    """Fetch and prepare the data of a run; skip what is already there.

    Raises:
        DataError: the source is missing, unsafe or not what the task takes.
        ConfigError: the run's `params` do not fit the task.
    """
    ready = prepare(run, workspace)
    point(workspace.processed(run.task), run.name, ready.folder.name)
    if ready.fresh:
        show(ready.folder)
        _publish(ready.folder, workspace.reports(run.task))
    return ready


def prepare(run: RunConfig, workspace: Workspace) -> Ready:
    """`data` without its report and without remembering the result as the run's own."""
    task = tasks.load(run.task)
    params = config.parse(task.Params, run.params, "params")
    params = task.Params(**{name: getattr(params, name) for name in task.data_params})
    raw, fingerprint = _fetch(run, workspace)
    made_by = code(f"tasks/{run.task}", "stages/data.py", "images.py")
    folder = workspace.processed(run.task) / key(fingerprint, params, made_by)
    fresh = not folder.is_dir()
    if fresh:
        with building(folder) as temporary:
            report = task.prepare(raw, temporary, params)
            _write_report(report, fingerprint, temporary)
    return Ready(folder, fingerprint, fresh)


def show(folder: Path) -> None:
    """Print the data report of a prepared folder.

    Raises:
        DataError: the folder holds none.
    """
    report = read_report(folder)
    labels = list(dict.fromkeys(name for split in report.counts.values() for name in split))
    rows = [
        [label, *(f"{split.get(label, 0):,}" for split in report.counts.values())]
        for label in labels
    ]
    totals = [f"{sum(split.values()):,}" for split in report.counts.values()]
    console.table("Items per class and split", ["", *report.counts], [*rows, ["all", *totals]])
    found = [
        [check.name, f"{check.count:,}", f"{check.total:,}", check.meaning]
        for check in report.checks
    ]
    console.table("Completeness", ["check", "found", "of", "meaning"], found)
    for note in report.notes:
        console.result(f"! {note}")


def read_report(folder: Path) -> DataReport:
    """Read the report that lies with prepared data.

    Raises:
        DataError: there is none.
    """
    path = folder / REPORT
    if not path.is_file():
        raise DataError(f"{folder} holds no {REPORT}; prepare it with `mien data`.")
    document = json.loads(path.read_text(encoding="utf-8"))
    return DataReport.from_json(document)


def _write_report(report: DataReport, fingerprint: str, folder: Path) -> None:
    document = {"data_fingerprint": fingerprint, **asdict(report)}
    (folder / REPORT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    figures.data_report(report, folder / "report.png")


def _publish(folder: Path, reports: Path) -> None:
    reports.mkdir(parents=True, exist_ok=True)
    for name in ("report.json", "report.png"):
        with replacing(reports / f"data_{name}") as temporary:
            shutil.copyfile(folder / name, temporary)


def _fetch(run: RunConfig, workspace: Workspace) -> tuple[Path, str]:
    if run.source is None:
        raise DataError(
            f"No source for task {run.task!r}: give --source PATH (a CSV, a YOLO folder or a zip "
            f"of one), or --source {SAMPLE} for the project's own drawn data."
        )
    home = workspace.raw(run.task)
    if run.source == SAMPLE:
        folder = home / key(SAMPLE, run.seed, code(f"tasks/{run.task}"))
        if not folder.is_dir():
            with building(folder) as temporary:
                tasks.load(run.task).sample(temporary, run.seed)
        return folder, _fingerprint(folder)
    return _import(Path(run.source).expanduser(), home)


def _import(source: Path, home: Path) -> tuple[Path, str]:
    if not source.exists():
        raise DataError(f"There is no {source}. Give --source the path of a CSV, folder or zip.")
    if source.is_dir():
        return _import_folder(source, home)
    if source.stat().st_size == 0:
        raise DataError(f"{source} is empty. Fetch it again.")
    folder = home / checksum(source)[:12]
    if not folder.is_dir():
        with building(folder) as temporary:
            if zipfile.is_zipfile(source):
                _unpack(source, temporary)
            else:
                shutil.copyfile(source, temporary / source.name)
    return folder, _fingerprint(folder)


def _import_folder(source: Path, home: Path) -> tuple[Path, str]:
    if not any(_files(source)):
        raise DataError(f"The folder {source} holds no file. Give the folder of the data set.")
    fingerprint = _hash_tree(source)
    folder = home / fingerprint[:12]
    if not folder.is_dir():
        with building(folder) as temporary:
            for path in console.track(list(_files(source)), "copy"):
                target = temporary / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return folder, _fingerprint(folder)


def _unpack(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if _is_data(member)]
            _check_members(members, source)
            for member in console.track(members, f"unpack {source.name}"):
                path = target / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream, path.open("wb") as out:
                    shutil.copyfileobj(stream, out)
    except (*_DAMAGED, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{source} cannot be unpacked ({error}). Fetch it again.") from None


_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Not a folder, and not one of the shadow files that macOS packs beside each file."""
    parts = PurePosixPath(member.filename).parts
    shadow = "__MACOSX" in parts or (bool(parts) and parts[-1].startswith("._"))
    return not member.is_dir() and not shadow


def _check_members(members: list[zipfile.ZipInfo], source: Path) -> None:
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise DataError(
                f"{source} holds a file that would land outside its folder ({member.filename!r}). "
                "Nothing was unpacked. Get the archive from a source that you trust."
            )
    size = sum(member.file_size for member in members)
    if size > UNPACKED_LIMIT:
        raise DataError(
            f"{source} would unpack to {size / 1e9:.0f} GB; up to {UNPACKED_LIMIT / 1e9:.0f} GB "
            "are taken. Unpack it yourself and give the folder."
        )
    if not members:
        raise DataError(f"{source} is an archive without files. Fetch it again.")


def _fingerprint(folder: Path) -> str:
    """Hash of the raw folder, kept beside it: raw folders never change once they are there."""
    path = folder.with_name(f"{folder.name}.sha256")
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    fingerprint = _hash_tree(folder)
    with replacing(path) as temporary:
        temporary.write_text(fingerprint + "\n", encoding="utf-8")
    return fingerprint


def _hash_tree(folder: Path) -> str:
    state = sha256()
    for path in console.track(list(_files(folder)), "fingerprint"):
        state.update(f"{path.relative_to(folder).as_posix()}\0{checksum(path)}\n".encode())
    return state.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
