"""Where a model comes from: code, configuration, data, seed, locked packages, platform."""

import platform
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from mien import __version__, config
from mien.config import RunConfig

_ROOT = Path(__file__).resolve().parents[2]


def record(run: RunConfig, data_fingerprint: str) -> dict[str, Any]:
    """Return what a bundle must know to be rebuilt, as JSON values."""
    document = run.model_dump(mode="json", exclude={"source"})
    return {
        "code": commit(),
        "config": document,
        "config_sha256": config.digest(document),
        "data_fingerprint": data_fingerprint,
        "seed": run.seed,
        "lock_sha256": lock_hash(),
        "platform": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
        },
    }


def lock_hash() -> str | None:
    """SHA-256 of `requirements_dev.txt`, or None where mien is installed without its repository."""
    path = _ROOT / "requirements_dev.txt"
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def commit() -> dict[str, Any]:
    """Version of mien, the git commit, and whether files differ from it; None without git."""
    found = _git("rev-parse", "HEAD") if (_ROOT / ".git").exists() else None
    if not found:
        return {"version": __version__, "commit": None, "dirty": None}
    return {"version": __version__, "commit": found, "dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no commit yet: the record then says so by holding None
    return done.stdout.strip()
