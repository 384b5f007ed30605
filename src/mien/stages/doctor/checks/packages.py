"""Installed packages against the lock files."""

from importlib.metadata import PackageNotFoundError, version

from mien.model.lineage import locked

from ..contract import DoctorCheck, Finding, Installation, failed, ok, warning

SERVING, TRAINING, ALL = "requirements.txt", "requirements_train.txt", "requirements_dev.txt"
_FROM_PYTHON = ("pip", "setuptools")
"""An environment has these from Python itself, in any version."""
_INSTALL = "`python3 tasks.py lint` installs the locked packages."
_MAX_NAMES = 3


def find(subject: Installation) -> Finding:
    """Which locked packages are missing, and which have another version."""
    paths = {name: subject.project / name for name in (SERVING, TRAINING, ALL)}
    if not all(path.is_file() for path in paths.values()):
        return Finding("skipped", "no lock files here: mien runs without its repository")
    pins = {name: locked(path) for name, path in paths.items()}
    installed = {name: _installed(name) for each in pins.values() for name in each}
    if missing := [name for name in pins[SERVING] if not installed[name]]:
        return failed(f"{SERVING}: {_names(missing)} not installed.", _INSTALL)
    everything = {**pins[ALL], **pins[TRAINING], **pins[SERVING]}
    other = [
        f"{name} (expected {pin}, found {installed[name]})"
        for name, pin in everything.items()
        if installed[name] not in ("", pin) and name not in _FROM_PYTHON
    ]
    if other:
        return warning(f"versions other than locked: {_names(other)}.", _INSTALL)
    if missing := [name for name in pins[TRAINING] if not installed[name]]:
        text = f"serves and cannot train every task: {_names(missing)} of {TRAINING} not installed."
        return warning(text, _INSTALL)
    return ok(f"{sum(map(bool, installed.values()))} packages have their locked versions")


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]  # torch 2.13.0+cpu is a build of 2.13.0
    except PackageNotFoundError:
        return ""


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"


CHECK = DoctorCheck("packages", "Installed packages against the lock files.", find)
