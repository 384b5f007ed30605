"""mien reads two signs of a person in a picture: the emotion of a face, the gesture of a hand."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.pipeline import run_named as run
    from mien.stages.predict import load

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]
_LATE = {"load": ("mien.stages.predict", "load"), "run": ("mien.pipeline", "run_named")}


def __getattr__(name: str) -> Any:
    """Import a public function on its first use: `import mien` alone imports nothing else."""
    if name not in _LATE:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    module, function = _LATE[name]
    return getattr(import_module(module), function)
