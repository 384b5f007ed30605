"""How many processors this process may keep busy: the one answer for all thread counts and pools.

Python's own counts (`os.cpu_count`, `os.process_cpu_count`) and native libraries do not know the
quota of a control group, by which containers are limited: they count the machine.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path

NATIVE_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that native libraries read once, when they are loaded."""


def available_cpus(root: Path = Path("/")) -> int:
    """How many processors this process may keep busy, at least 1.

    The fewer of those that it may run on and, on Linux, of what its control groups grant it
    (`cpu.max` of version 2, `cpu.cfs_quota_us` of version 1), as containers limit it; a part of
    a processor counts as one.
    """
    return max(1, min([_usable(), *(ceil(share) for share in _granted(root))]))


def limit_native_threads(root: Path = Path("/")) -> None:
    """Let OpenMP and BLAS start no more threads than a quota grants; to be called before they are
    loaded. A variable that is set stays; without a quota nothing is set."""
    available = available_cpus(root)
    if available < _usable():
        for name in NATIVE_THREADS:
            os.environ.setdefault(name, str(available))


def _usable() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _granted(root: Path) -> Iterator[float]:
    """Processors that each control group around this process grants."""
    fixed = root / "sys" / "fs" / "cgroup"
    try:
        groups = (root / "proc" / "self" / "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return  # no Linux
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = fixed / ("cpu" if controllers else "") / path.lstrip("/")
        for folder in (own, *(each for each in own.parents if each.is_relative_to(fixed))):
            yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
    except OSError:
        return  # a group without a limit of its own
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)
