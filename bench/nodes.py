"""Two Ray nodes of one core each against one: docs/source/measured/nodes.md.

    python3 tasks.py ray && python3 tasks.py bench nodes

Takes about five minutes, on Linux with two cores. MIEN_BENCH_SMOKE=1 runs it briefly, to see that
it works, and writes no page. Each node and what it starts is pinned to a core of its own; the
driver and Ray's head share the core of the first node, as on a machine with one core.
"""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import page
from bench.batch import _champion, _faces, _linked
from bench.engines import QUIET, RAY_ENVIRONMENT, seconds
from bench.serving import SMOKE
from mien import config
from mien.storage.workspace import Workspace

FILES, ROUNDS = 5000, 5
WARM_FILES = 2048
"""Scored before a node counts: four parts or more, so that its worker loads the model."""


def main() -> None:
    """Measure, and write the page."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("This bench needs two cores, one for each node.")
    os.environ |= RAY_ENVIRONMENT | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    smoke = bool(os.environ.get(SMOKE))
    files, warm_files, rounds = (600, 600, 1) if smoke else (FILES, WARM_FILES, ROUNDS)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        _faces(scratch / "faces")
        for name, count in (("warm", warm_files), ("several", files)):
            _linked(scratch / "faces", scratch / name, count)
        with _champion("emotion", Workspace(config.settings().home)) as (_, model):
            bundle = model.bundle.folder
        os.sched_setaffinity(0, {cores[0]})
        rates = _rates(scratch, bundle, cores, files, rounds)
    gains = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    parts = [
        f"`mien batch --engine ray` on {files:,} 96-pixel faces, with one Ray node of one core and "
        f"with two, in alternation; medians of {rounds} rounds, the ratio within a round. Each "
        "node is pinned to a core; the driver and Ray's head are on that of the first. The start "
        "of a node, and of the worker that loads the model, is not part of the speed.",
        page.table([
            {
                "nodes of one core": count,
                "files/s": f"{median(each):.1f}",
                "relative to one node": f"{median(gains):.2f}" if count > 1 else "1.00",
                "rounds": ", ".join(f"{gain:.2f}" for gain in gains) if count > 1 else "",
            }
            for count, each in rates.items()
        ]),
    ]  # fmt: skip
    if smoke:
        print("\n\n".join(parts))
    else:
        page.write("nodes", "Two Ray nodes", parts)


def _rates(
    scratch: Path, bundle: Path, cores: list[int], files: int, rounds: int
) -> dict[int, list[float]]:
    """Files per second of each round, by the count of nodes."""
    try:
        import ray
    except ImportError:
        sys.exit("This bench needs ray: run `python3 tasks.py ray` first.")
    rates: dict[int, list[float]] = {1: [], 2: []}
    with _cluster() as cluster:
        ray.init(cluster.address, **QUIET)
        try:
            for _ in range(rounds):
                for count, found in rates.items():
                    second = _add_node(cluster, cores) if count > 1 else None
                    cluster.wait_for_nodes()
                    seconds(scratch / "warm", scratch / "nodes", bundle, 1, "ray")
                    spent = seconds(scratch / "several", scratch / "nodes", bundle, 1, "ray")
                    found.append(files / spent)
                    if second:
                        cluster.remove_node(second)
        finally:
            ray.shutdown()
    return rates


@contextmanager
def _cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()


def _add_node(cluster: Any, cores: list[int]) -> Any:
    """A node on the second core: its processes get the cores of the process that starts them."""
    os.sched_setaffinity(0, {cores[1]})
    try:
        return cluster.add_node(num_cpus=1)
    finally:
        os.sched_setaffinity(0, {cores[0]})


if __name__ == "__main__":
    main()
