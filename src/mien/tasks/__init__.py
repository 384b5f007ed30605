"""What mien learns: one folder for each task, found by being there.

`load` imports a folder's `__init__.py` and returns the `Task` it builds; heavy libraries are
imported by the task's own functions, not here.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from mien.errors import UnknownTaskError, nearest
from mien.task import Task


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
