"""What mien learns: one folder for each task, found by being there.

`load` imports a folder's `__init__.py` and returns the `Task` it builds; heavy libraries are
imported by the task's own functions, not here.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from mien import config
from mien.config import RunConfig
from mien.errors import ConfigError, UnknownTaskError, nearest
from mien.task import Task

OWN_CONFIGS = Path("configs")
"""The configs of a user, in the current folder; they come before those of the tasks."""


def names() -> tuple[str, ...]:
    """Names of all tasks, in order of the alphabet."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))


def load(name: str) -> Task[Any]:
    """Return the task of that name.

    Raises:
        UnknownTaskError: there is no such folder.
    """
    if name not in names():
        known = ", ".join(names())
        raise UnknownTaskError(
            f"There is no task {name!r}; there are: {known}." + nearest(name, names())
        )
    task: Task[Any] = import_module(f"{__name__}.{name}").TASK
    return task


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the tasks, by name."""
    shipped = [path for folder in __path__ for path in Path(folder).glob("*/configs/*.yaml")]
    return {path.stem: path for path in sorted(shipped)}


def configs() -> dict[str, Path]:
    """Every config that a run may name: those that come with the tasks, and those of the user."""
    return shipped_configs() | {path.stem: path for path in sorted(OWN_CONFIGS.glob("*.yaml"))}


def run_config(
    name: str | Path, source: str | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read the config of a run by its name, or by the path of a YAML file.

    Args:
        name: such as `gesture`, or `folder/own.yaml`.
        source: where the data come from; None for what the config says.
        overrides: config keys, such as ``params.epochs=5``.

    Raises:
        ConfigError: there is no such config, or it cannot be used.
        UnknownTaskError: the config is of a task that is not here.
    """
    file, available = Path(name), configs()
    if not file.suffix and len(file.parts) == 1 and not file.is_file():
        if str(name) not in available:
            raise ConfigError(
                f"There is no config {str(name)!r}.{nearest(str(name), available)} There are: "
                f"{', '.join(sorted(available))}; the path of a YAML file works too."
            )
        file = available[str(name)]
    run = config.load(file, overrides)
    load(run.task)  # an unknown task is refused here
    return run.model_copy(update={"source": source}) if source else run
