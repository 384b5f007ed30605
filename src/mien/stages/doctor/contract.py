"""What a check of the doctor gets and returns."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mien.config import Settings
from mien.storage.workspace import Workspace

Target = Literal["local", "compose", "cloud-run"]
"""What the installation is for. What another target needs is no alarm."""
TARGETS: tuple[Target, ...] = get_args(Target)
FindingState = Literal["ok", "warning", "failed", "skipped"]
"""`skipped`: there is nothing to look at, and the target does not need it."""
GOOGLE = "https://run.googleapis.com"


def free_bytes(folder: Path) -> int:
    """Free space for files of this user, in bytes."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Installation:
    """The installation that is checked, and what checks may spend."""

    project: Path
    """The folder of docker-compose.yml and the lock files."""
    workspace: Workspace
    settings: Settings
    target: Target = "local"
    image: str | None = None
    """Name of a container image to check."""
    settings_error: str = ""
    """Why the environment could not be read."""
    limit_s: float = 4.0
    """Seconds for all checks together."""
    root: Path = Path("/")
    """Where /proc, /sys and the marks of a container are."""
    google: str = GOOGLE
    """Who is asked for the time, and whether Google Cloud can be reached."""
    python: tuple[int, int] = sys.version_info[:2]
    free_bytes: Callable[[Path], int] = free_bytes

    @property
    def in_container(self) -> bool:
        marks = (".dockerenv", "run/.containerenv")
        return "K_SERVICE" in os.environ or any((self.root / mark).exists() for mark in marks)


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it."""

    state: FindingState
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class DoctorCheck:
    """One check; `find` may raise MienError or OSError, which count as a failure."""

    slug: str
    description: str
    """What it looks at."""
    find: Callable[[Installation], Finding]


def ok(text: str) -> Finding:
    return Finding("ok", text)


def warning(text: str, remedy: str) -> Finding:
    return Finding("warning", text, remedy)


def failed(text: str, remedy: str) -> Finding:
    return Finding("failed", text, remedy)


def absent(subject: Installation, text: str, remedy: str, *needed_for: Target) -> Finding:
    """Something is not there: a failure for the targets that need it, else skipped."""
    return failed(text, remedy) if subject.target in needed_for else Finding("skipped", text)


def existing_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that exists: where it would be made."""
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())
