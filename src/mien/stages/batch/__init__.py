"""Scores a folder of images or a CSV: on all cores into one table, or in parts on many machines.

`inputs.py` lists what to score and `scoring.py` predicts it. `one_table.py` writes one table, which
`checkpoint.py` makes resumable. `in_parts.py` writes a folder: `plan.py` cuts the list into parts,
`parts.py` has the rules by which any number of processes write them, `local.py` and `on_ray.py`
score them here or on a cluster. `tables.py` has the formats. This package knows no task by name.
"""

from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import ConfigError
from mien.model import golden
from mien.model.cpus import available_cpus
from mien.storage.buckets import BucketPath, Location
from mien.storage.workspace import Workspace
from mien.task import Task

from . import in_parts, one_table, tables
from .in_parts import Engine, commit
from .result import BatchIdentity, BatchResult
from .scoring import Scorer, frame_predictor
from .shard import Shard


def batch(
    source: Location,
    out: Location,
    workspace: Workspace,
    *,
    name: str | None = None,
    bundle: Path | None = None,
    threads: int = 0,
    sequence: bool = False,
    force: bool = False,
    engine: Engine = "local",
    shard: str | None = None,
    suffix: str = ".parquet",
) -> BatchResult:
    """Score every image of a folder, or every row of a CSV, into `out`.

    Args:
        source: a folder, also in a bucket, or a CSV.
        out: a table by its suffix, or a folder, also in a bucket, that gets a table in parts.
        name, bundle: the task or a bundle folder, instead of the first champion.
        threads: 0 means one for each core that the process may use.
        sequence: the images of each folder, sorted by name, are frames of one video.
        engine, shard, suffix: what scores parts, the share `I/N` of this process, the format.

    Raises:
        DataError: there is nothing to score, or the CSV has no usable columns.
        ConfigError, BucketError: `out` has an unknown suffix or another result; no bucket answers.
        RegistryError, BundleError: there is no model, it is damaged, or answers differently here.
    """
    parts, runner = _engine(out, engine, shard)
    write_table = tables.writer_for(Path(f"part{suffix}" if parts else str(out)))
    folder, version = (bundle, "") if bundle else _champion(name, workspace)
    with golden.load(folder) as model:
        task: Task[Any] = tasks.load(model.bundle.manifest.task)
        origin = "" if parts else str(source.resolve())
        identity = BatchIdentity(task.name, version, model.bundle.digest, origin, sequence)
        scorer = Scorer(task, model, threads or available_cpus(), write_table)
        if isinstance(out, Path) and not parts:
            return one_table.score(source, out, identity, force, scorer)
        return in_parts.score(source, out, identity, suffix, force, scorer, runner)


def _engine(out: Location, engine: Engine, shard: str | None) -> tuple[bool, Engine | Shard]:
    """Whether `out` is a folder for parts, and what scores them."""
    runner = Shard.of(shard) if shard or engine == "shard" else engine
    parts = not out.suffix or (isinstance(out, Path) and out.is_dir())
    if not parts and (runner != "local" or isinstance(out, BucketPath)):
        raise ConfigError(
            f"--out {out}: expected a folder, which several processes can write to; found the name "
            "of a table. Give a name without a suffix."
        )
    return parts, runner


def _champion(name: str | None, workspace: Workspace) -> tuple[Path, str]:
    """The bundle folder and the version of the champion of a task, or of the first with one."""
    task_name, number = workspace.champion([tasks.load(name).name] if name else tasks.names())
    return workspace.version(task_name, number), str(number)


__all__ = ["BatchResult", "Engine", "batch", "commit", "frame_predictor"]
