"""From a source to a version of raw data, and from that to what the trainer reads.

    source -> Store of data/raw/<task>/ -> task.data.prepare -> data/processed/<task>/<key>/

A version and a prepared folder are named by their content and appear complete or not at all. The
task knows what the bytes mean, `sources.py` how a source is read.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import DataCheckError, DataError
from mien.reporting import console, figures
from mien.stages import Run
from mien.storage.files import atomic_dir, atomic_write, write_json
from mien.storage.versions import Store, Version
from mien.storage.workspace import REPORT, write_latest
from mien.task import DataReport

from . import sources

SAMPLE = "sample"
LATEST = "@"
"""A source for configs that name another one: the latest version."""
_NO_SOURCE = (
    "No source for task {task!r}: give --source PATH (a CSV, a YOLO folder, its data.yaml or a "
    "zip), --source kaggle:OWNER/SET, or --source sample for the project's own drawn data."
)


@dataclass(frozen=True)
class PreparedData:
    """Prepared data: their folder, and the fingerprint of the raw data."""

    folder: Path
    fingerprint: str
    fresh: bool
    """False where the folder existed before."""


def fetch(run: Run) -> tuple[Version, bool]:
    """Store a run's source as a version; also return whether that version is new.

    Raises:
        DataError: the source is missing, unsafe or empty.
    """
    before = run.store.roots()
    version = _version(run)
    return version, version.root not in before


@contextmanager
def accept_if_readable(run: Run, version: Version) -> Iterator[None]:
    """Make a version the latest one when the block has read it; mark it as refused where the task
    cannot. A process that ends before leaves the latest version as it was.

    The caller holds the lock of the task.
    """
    try:
        yield
    except DataCheckError:  # the task can read it, and it can be repaired
        _accept(run, version)
        raise
    except DataError as error:
        if version.root != run.store.latest_root:
            run.store.set_refused(version.root, str(error))
        raise
    _accept(run, version)


def _accept(run: Run, version: Version) -> None:
    run.store.set_refused(version.root, "")
    run.store.set_latest(version.root)


def data(run: Run, version: Version | None = None) -> PreparedData:
    """Prepare a version, by default that of the run's source, and accept it; skip what exists.

    Raises:
        DataError: the source is missing, unsafe or not what the task takes.
    """
    version = version or fetch(run)[0]
    with accept_if_readable(run, version):
        ready = prepare(run, version)
    write_latest(run.processed, run.config.name, ready.folder.name)
    if ready.fresh:
        show(ready.folder)
    run.when_idle(partial(_publish, ready.folder, run.reports))
    return ready


def prepare(run: Run, version: Version) -> PreparedData:
    """Prepare a version for a run's task, without storing the result as the run's own."""
    params = run.data_params
    folder = run.processed / run.key("prepare", version.root, params)
    fresh = not folder.is_dir()
    if fresh:
        with run.store.unpacked(version) as raw, atomic_dir(folder) as temporary:
            report = run.task.data.prepare(raw, temporary, params, run.cache)
            _require_every_file(report, version)
            _write_report(report, version.root, temporary)
    return PreparedData(folder, version.root, fresh)


def _require_every_file(report: DataReport, version: Version) -> None:
    """Every file of the version is used or skipped for a reason: a difference is a bug here."""
    count = sum(report.files.values())
    if report.files and count != len(version.items):
        raise RuntimeError(
            f"the task's report has {count:,} files, and the version {len(version.items):,}: "
            f"{dict(report.files)}"
        )


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
    if report.skipped:
        skipped = [[reason, f"{count:,}"] for reason, count in report.skipped.items()]
        console.table("Left out", ["reason", "number"], skipped)
    if report.files:
        listing = ", ".join(f"{count:,} {use}" for use, count in report.files.items())
        console.result(f"{sum(report.files.values()):,} files: {listing}")
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
    write_json(folder / REPORT, document)


def _publish(folder: Path, reports: Path) -> None:
    """Draw the report, if that was not done, and copy it to where people look."""
    figure = folder / "report.png"
    if not figure.is_file():
        with atomic_write(figure) as temporary:
            figures.data_report(read_report(folder), temporary)
    for name in ("report.json", "report.png"):
        with atomic_write(reports / f"data_{name}") as temporary:
            shutil.copyfile(folder / name, temporary)


def _version(run: Run) -> Version:
    source, store, cache = run.config.source, run.store, run.cache
    if source is None or source == LATEST:
        latest = store.latest()
        if latest is None:
            raise DataError(_NO_SOURCE.format(task=run.task.name) + _not_accepted(store))
        return latest
    if source.startswith("@"):
        return store.find(source.removeprefix("@"))
    if source == SAMPLE:
        return _sample(run)
    with sources.open_source(source, cache) as opened:
        return store.add(opened.items, opened.name, synthetic=opened.drawn)


def _not_accepted(store: Store) -> str:
    """What to do with versions that were fetched and never read to the end."""
    fetched = store.versions()
    return f" --source @{fetched[-1].number} reads again what was fetched last." if fetched else ""


def _sample(run: Run) -> Version:
    """The drawn sample data, once for each seed and version of the code."""
    store = run.store
    note = run.cache / f"sample-{run.key('sample', run.config.seed)}.txt"
    root = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    if store.contains(root) and store.is_complete(store.find(root)):
        return store.find(root)
    with TemporaryDirectory(prefix="mien-sample-") as temporary:
        drawn = Path(temporary) / SAMPLE
        drawn.mkdir()
        run.task.data.write_sample(drawn, run.config.seed)
        with sources.open_source(str(drawn), Path(temporary)) as opened:
            name = f"{SAMPLE}, seed {run.config.seed}"
            version = store.add(opened.items, name, synthetic=True)
    with atomic_write(note) as path:
        path.write_text(version.root + "\n", encoding="utf-8")
    return version
