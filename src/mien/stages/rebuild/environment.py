"""Packages, operating system and processor with which a model was made.

Compares them with the present ones, and installs the recorded packages on request.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.model import lineage
from mien.model.lineage import Platform
from mien.reporting import console

from .code import SourceTree, describe
from .outcome import RebuildStep, differences, format_differences

_MESSAGE_TAIL = 600


def compare_packages(recorded: Mapping[str, str], tree: SourceTree, python: Path) -> RebuildStep:
    """Compare the packages of a Python with the recorded ones."""
    differing = list(differences(dict(recorded), describe(tree, python).environment))
    if not differing:
        text = f"Python and {len(recorded) - 1} packages as recorded"
        return RebuildStep("environment", "identical", text)
    return RebuildStep("environment", "different", format_differences(differing))


def compare_platform(recorded: Platform | None, training: Mapping[str, Any]) -> RebuildStep:
    """Whether bytes must repeat here (`identical`), or only scores (`warning`)."""
    if recorded is None:
        return RebuildStep("platform", "warning", "no platform is recorded; so scores decide")
    present = lineage.machine()
    differing = list(differences(_comparable(recorded), _comparable(present)))
    if differing:
        text = f"{format_differences(differing)}; so scores are compared"
        return RebuildStep("platform", "warning", text)
    if training.get("repeats", "bytes") != "bytes":
        text = "bytes do not repeat on the device of the training; so scores are compared"
        return RebuildStep("platform", "warning", text)
    text = f"{present.system} {present.machine}, {present.libc}"
    return RebuildStep("platform", "identical", text)


def build(tree: SourceTree, folder: Path, python_version: str) -> Path:
    """Make a virtual environment with the locked packages of that code; return its Python.

    Raises:
        ConfigError: there is no lock file, or a package cannot be installed.
    """
    lock = tree.root / lineage.TRAINING_LOCK
    if not lock.is_file():
        raise ConfigError(
            f"--build: expected {lineage.TRAINING_LOCK} of the code that made the model, found "
            "none: mien is installed without its repository. Clone it and run this from there."
        )
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    same_version = ".".join(map(str, sys.version_info[:3])) == python_version
    if uv := shutil.which("uv"):
        base_python = sys.executable if same_version else python_version
        _run(uv, "venv", "--quiet", "--python", base_python, str(folder))
        install = (uv, "pip", "install", "--quiet", "--python", str(python))
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        install = (str(python), "-m", "pip", "install", "--quiet", "--no-deps")
    console.info(f"installing the packages of {lock.name} with {Path(install[0]).name}")
    _run(*install, "--require-hashes", "-r", str(lock))
    return python


def _comparable(platform: Platform) -> dict[str, Any]:
    """The maker of the processor first, then each instruction set. Python counts as a package."""
    flags = dict.fromkeys(platform.cpu.flags, "present")
    rest = platform.model_dump(exclude={"python", "cpu"})
    return {"cpu": {"maker": platform.cpu.maker, **flags}, **rest}


def _run(*command: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        message = (process.stderr or process.stdout).strip()[-_MESSAGE_TAIL:]
        raise ConfigError(
            f"`{' '.join(command[:4])} ...` ended with {process.returncode}: {message}"
        )
