"""What a model was made with beside code and data: packages, system, processor.

Tells what is another one here; makes the recorded packages anew where that is asked for.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.model import lineage
from mien.reporting import console

from .code import Code, ask
from .steps import Step, differences, summary

_TAIL = 600


def packages(recorded: Mapping[str, str], code: Code, python: Path) -> Step:
    """Hold the packages of a Python against the recorded ones."""
    found = list(differences(dict(recorded), ask(code, python)["environment"]))
    if not found:
        return Step(
            "environment", "identical", f"Python and {len(recorded) - 1} packages as recorded"
        )
    return Step("environment", "different", summary(found))


def machine(recorded: Mapping[str, Any], training: Mapping[str, Any]) -> Step:
    """Whether bytes can be promised here; `within_tolerance` where only scores can."""
    here = lineage.machine()
    found = list(differences(_comparable(recorded), _comparable(here)))
    if found:
        return Step("platform", "warning", f"{summary(found)}; so scores decide")
    if training.get("repeats", "bytes") != "bytes":
        why = "its trainer promises no bytes on the device that it used"
        return Step("platform", "warning", f"{why}; so scores decide")
    return Step("platform", "identical", f"{here['system']} {here['machine']}, {here['libc']}")


def build(code: Code, folder: Path, python: str) -> Path:
    """Make a virtual environment of the locked packages of that code; return its Python.

    Raises:
        ConfigError: there is no lock file, or a package cannot be installed.
    """
    lock = code.root / lineage.TRAINING_LOCK
    if not lock.is_file():
        raise ConfigError(
            f"--build needs {lineage.TRAINING_LOCK} of the code that made the model, and mien is "
            "installed without its repository. Clone it and run this from there."
        )
    made = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    here = ".".join(map(str, sys.version_info[:3])) == python
    if uv := shutil.which("uv"):
        _do(uv, "venv", "--quiet", "--python", sys.executable if here else python, str(folder))
        install = (uv, "pip", "install", "--quiet", "--python", str(made))
    else:
        _do(sys.executable, "-m", "venv", str(folder))
        install = (str(made), "-m", "pip", "install", "--quiet", "--no-deps")
    console.info(f"installing the packages of {lock.name} with {Path(install[0]).name}")
    _do(*install, "--require-hashes", "-r", str(lock))
    return made


def _comparable(platform: Mapping[str, Any]) -> dict[str, Any]:
    """The maker of the processor first, then each instruction by itself. Python is a package."""
    cpu = platform.get("cpu", {})
    flags = dict.fromkeys(cpu.get("flags", ()), "there")
    rest = {name: value for name, value in platform.items() if name not in ("python", "cpu")}
    return {"cpu": {"maker": cpu.get("maker", ""), **flags}, **rest}


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip()[-_TAIL:]
        raise ConfigError(f"`{' '.join(command[:4])} ...` ended with {done.returncode}: {told}")
