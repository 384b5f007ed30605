"""A control group of Linux that grants a share of a core, as containers limit one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")


class NoQuotaError(Exception):
    """No control group can be made here; the message says why."""


@contextmanager
def limited(cores: float) -> Iterator[Callable[[int], None]]:
    """A group with so many cores; yields what moves a process into it, with all its threads.

    Raises:
        NoQuotaError: it takes other rights, or another system.
    """
    is_second = (_ROOT / "cgroup.controllers").is_file()
    group = (_ROOT if is_second else _ROOT / "cpu") / f"mien-bench-{os.getpid()}"
    quota_us = round(cores * PERIOD_US)
    try:
        group.mkdir()
        if is_second:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        raise NoQuotaError(f"{error.filename}: {error.strerror}") from None
    try:
        yield lambda pid: _move(group, pid)
    finally:
        with suppress(OSError):
            group.rmdir()


def _move(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(str(pid))
