"""The model card of a bundle: its sections, and what is missing before the model is registered."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.errors import RegistryError
from mien.task import Task

CARD = "card.md"
"""In a bundle, and for the choice of a run in the task's reports."""
SECTIONS = ("Intended use", "Forbidden use", "Data", "Rights", "Measured", "Limits")
"""What every card says; a section without a text is missing."""
GROUPS = (
    "Labels are what annotators or the makers of the data perceived, not what a person feels. "
    "Groups such as skin tone, age, gender or disability were not measured, and neither were "
    "cameras, places and light that the data do not have. A calibrated confidence holds for inputs "
    "like those of the validation split; drift of the live inputs ends that."
)


def render(task: Task[Any], candidate: str, summary: str, sections: Mapping[str, str]) -> str:
    """The card of a model of a task; `sections` are those after the use of the task."""
    texts = {
        "Intended use": task.intended_use,
        "Forbidden use": task.forbidden_use,
        **sections,
    }
    body = "\n\n".join(f"## {name}\n\n{text.strip()}" for name, text in texts.items())
    return f"# {task.name}: {candidate}\n\n{summary}\n\n{body}\n"


def require_complete(folder: Path) -> None:
    """Raise RegistryError for a bundle without a card, or whose card lacks a section."""
    path = folder / CARD
    if not path.is_file():
        raise RegistryError(
            f"{folder.name}: expected a model card, found no {CARD} in the bundle. Evaluate the "
            "run again (`mien evaluate CONFIG`), or pull the model again."
        )
    texts = _sections(path.read_text(encoding="utf-8"))
    missing = [name for name in SECTIONS if not texts.get(name)]
    if missing:
        raise RegistryError(
            f"{folder.name}: expected a text in every section of {CARD}, found none in: "
            f"{', '.join(missing)}. `intended_use` and `forbidden_use` of the task fill the first "
            "two; evaluate the run again."
        )


def _sections(card: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"^## +(.+?) *$", card, flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
