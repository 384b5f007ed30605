"""Names of folders and files by everything that their content depends on, the code included.

Equal keys mean equal content: a stage whose folder exists is skipped.
"""

from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from mien import config

TASK_SOURCES = (
    "boxes.py",
    "images",
    "mediapipe",
    "model/onnx_graph.py",
    "model/runtime.py",
    "task.py",
)
"""Code outside of its folder on which the results of every task depend."""
STAGE_SOURCES = {
    "sample": (),
    "samples": (),
    "check": ("stages/check", "stages/check/page.html", "reporting/base.html", "reporting/html.py"),
    "prepare": ("stages/data/__init__.py",),
    "train": ("stages/train.py", "model/golden.py"),
    "pull": ("stages/pull.py", "model/golden.py"),
    "optimize": ("stages/optimize.py", "model/golden.py", "model/variants.py"),
    "evaluate": (
        *("stages/evaluate", "model/evaluation.py", "model/policy.py"),
        *("reporting/details.py", "reporting/drawings.py", "reporting/figures.py"),
        *("reporting/html.py", "reporting/scores.py", "observability/drift.py"),
    ),
    "sweep": (
        *("sweep/search_space.py", "sweep/study.py", "sweep/trial.py"),
        *("stages/evaluate/measuring.py", "reporting/scores.py"),
    ),
}
"""By stage, the code outside of the task on which its results depend; `dvc.yaml` names it too."""


def stage_key(stage: str, task: str, *inputs: Any) -> str:
    """A short name for what a stage makes of JSON-like inputs with the present code."""
    sources = (f"tasks/{task}", *TASK_SOURCES, *STAGE_SOURCES[stage])
    return cache_key(*inputs, source_hash(*sources))


def cache_key(*parts: Any) -> str:
    """A short name for a combination of JSON-like inputs: the same inputs, the same name."""
    return config.digest(list(parts))[:12]


@cache
def source_hash(*modules: str) -> str:
    """SHA-256 of source files of the package, given as ``stages/train.py`` or ``tasks/emotion``."""
    state = sha256()
    root = Path(str(resources.files("mien")))
    for module in modules:
        path = root / module
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            state.update(source.relative_to(root).as_posix().encode() + b"\0")
            state.update(source.read_bytes())
    return state.hexdigest()
