"""A busy machine for tests: processes that compete for the processors, and a quota of them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Run `count` processes that never wait, until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def limited(share: float) -> Iterator[Sequence[str]]:
    """Give the words that start a command with `share` of one processor.

    A control group where this user may make one, else the lowest priority.
    """
    group = _make_group(share)
    if group is None:
        yield ("nice", "-n", "19")
        return
    try:
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "limited")
    finally:
        with suppress(OSError):  # a process that has not ended yet keeps its group
            group.rmdir()


def _make_group(share: float) -> Path | None:
    quota = int(share * _PERIOD_US)
    for parent, settings in (
        (_CGROUPS / "cpu", {"cpu.cfs_period_us": _PERIOD_US, "cpu.cfs_quota_us": quota}),
        (_CGROUPS, {"cpu.max": f"{quota} {_PERIOD_US}"}),
    ):
        group = parent / f"mien-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, value in settings.items():
                (group / name).write_text(str(value))
            return group
        except OSError:  # a group without control of the processor
            group.rmdir()
    return None
