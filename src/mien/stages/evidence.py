"""The checklist of a course on this repository; its checks are no part of the package."""

import subprocess
import sys
from pathlib import Path

from mien.errors import ConfigError
from mien.model.lineage import ROOT


def collect(root: Path = ROOT) -> int:
    """Run the checks of the clone that mien runs from; returns their exit status.

    Raises:
        ConfigError: mien runs from no clone.
    """
    if not (root / "evidence" / "__main__.py").is_file():
        raise ConfigError(
            "The checks are of mien's repository: expected a clone of it, found an installed "
            "package. Clone it, run `python3 tasks.py lint` there, and then `.venv/bin/mien "
            "evidence`."
        )
    return subprocess.run([sys.executable, "-m", "evidence"], cwd=root, check=False).returncode
