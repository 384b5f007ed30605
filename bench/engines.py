"""The engines of `mien batch`, on the same files in alternation; a part of `bench batch`."""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from mien.stages import batch as stage
from mien.storage.workspace import Workspace

TABLE, LOCAL, SHARDS, RAY = "one table", "parts, local", "shards, processes", "ray"
RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
QUIET = {"log_to_driver": False, "logging_level": "error"}


def rows(
    folder: Path, bundle: Path, scratch: Path, cores: int, rounds: int
) -> list[dict[str, object]]:
    """Files per second of each engine, and its ratio to the single table within a round."""
    files = sum(path.is_file() for path in folder.rglob("*"))
    rates: dict[str, list[float]] = {}
    with _shards(folder, bundle, scratch / "shards", cores) as shards, _ray(cores) as start_s:
        ways: dict[str, Callable[[], float]] = {
            TABLE: lambda: seconds(folder, scratch / "table.parquet", bundle, cores),
            LOCAL: lambda: seconds(folder, scratch / "local", bundle, cores),
            SHARDS: shards,
        }
        if start_s is not None:
            ways[RAY] = lambda: seconds(folder, scratch / "ray", bundle, cores, "ray")
        first = {name: way() for name, way in ways.items()}
        for turn in range(rounds):
            for name in list(ways) if turn % 2 else list(reversed(ways)):
                rates.setdefault(name, []).append(files / ways[name]())
    ratios = {
        name: median(own / one for own, one in zip(each, rates[TABLE], strict=True))
        for name, each in rates.items()
    }
    starts = {RAY: (start_s or 0.0) + first.get(RAY, 0.0)}
    return [
        {
            "engine": name,
            "files": files,
            "files/s": f"{median(rates[name]):.1f}" if name in rates else "ray is not installed",
            "relative to one table": f"{ratios[name]:.2f}" if name in rates else "",
            "start, s": f"{starts[name] - files / median(rates[name]):.1f}"
            if name in starts and name in rates
            else "",
        }
        for name in (TABLE, LOCAL, SHARDS, RAY)
    ]


def seconds(
    folder: Path, out: Path, bundle: Path, cores: int, engine: stage.Engine = "local"
) -> float:
    result = stage.batch(
        folder, out, Workspace(out.parent), bundle=bundle, threads=cores, force=True, engine=engine
    )
    return result.seconds


@contextmanager
def _ray(cores: int) -> Iterator[float | None]:
    """Ray on this machine and the seconds of its start; None where it is not installed."""
    os.environ |= RAY_ENVIRONMENT
    start = time.perf_counter()
    try:
        import ray
    except ImportError:
        yield None
        return
    ray.init(address="local", num_cpus=cores, include_dashboard=False, **QUIET)
    try:
        yield time.perf_counter() - start
    finally:
        ray.shutdown()


@contextmanager
def _shards(folder: Path, bundle: Path, out: Path, cores: int) -> Iterator[Callable[[], float]]:
    """Processes with one thread each, one shard each; called, they give the longest time."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    for index in range(cores):
        own, other = context.Pipe()
        context.Process(
            target=_shard, args=(folder, bundle, out, f"{index}/{cores}", other), daemon=True
        ).start()
        other.close()
        pipes.append(own)

    def everyone() -> float:
        shutil.rmtree(out, ignore_errors=True)
        for pipe in pipes:
            pipe.send(True)
        return max(float(pipe.recv()) for pipe in pipes)

    yield everyone
    for pipe in pipes:
        pipe.send(False)


def _shard(folder: Path, bundle: Path, out: Path, shard: str, pipe: Connection) -> None:
    while pipe.recv():
        result = stage.batch(
            folder, out, Workspace(out.parent), bundle=bundle, threads=1, shard=shard
        )
        pipe.send(result.seconds)
