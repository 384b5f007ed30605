"""Free memory, within the limit of the container."""

from pathlib import Path

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning

LOW_GB, MIN_GB = 2.0, 0.35
"""A training of the emotion task takes 2 GB; a server of both tasks 0.35 GB."""
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of a container: control groups of version 2 and 1."""


def find(subject: Installation) -> Finding:
    """The memory that is available, or the limit of the container where that is less."""
    meminfo = subject.root / "proc/meminfo"
    if not meminfo.is_file():
        return Finding("skipped", "this system has no /proc/meminfo")
    lines = (line.split() for line in meminfo.read_text().splitlines())
    kilobytes = {fields[0].rstrip(":"): int(fields[1]) for fields in lines if len(fields) > 1}
    available = kilobytes.get("MemAvailable", kilobytes.get("MemFree", 0)) * 1024
    limits = [_bytes(subject.root / name) for name in _LIMITS]
    gigabytes = min(available, *filter(None, limits), available) / 1e9
    text = f"{gigabytes:.2g} GB of memory available"
    if gigabytes < MIN_GB:
        return failed(f"{text}: expected {MIN_GB:g}.", "End other programs, or raise the limit.")
    if gigabytes < LOW_GB and subject.target == "local":
        return warning(
            f"{text}: expected {LOW_GB:g} for a training.", "End other programs, or only serve."
        )
    return ok(text)


def _bytes(path: Path) -> int:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else 0  # version 2 writes `max` for no limit


CHECK = DoctorCheck("memory", "Available memory, within the limit of a container.", find)
