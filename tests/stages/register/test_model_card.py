"""A bundle without a complete model card is not registered."""

import shutil
from pathlib import Path

import pytest
from evaluated import RUN, complete_card, evaluated

from mien.errors import RegistryError
from mien.model import bundle
from mien.reporting.model_card import CARD, SECTIONS
from mien.stages import Run, register
from mien.storage.workspace import Workspace


def register_with(card: str | None, home: Path, database: Path) -> register.Registered:
    """Register a bundle whose card is replaced, or removed."""
    shutil.copy(database, home)
    evaluated(home, "first", 0.8, None)
    folder = Workspace(home).evaluated("gesture") / "first" / "svm"
    manifest = bundle.read(folder).manifest
    if card is None:
        (folder / CARD).unlink()
    else:
        (folder / CARD).write_text(card)
    bundle.write(folder, manifest)
    return register.register(Run.resolve(RUN, Workspace(home)))


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        (None, "found no card.md in the bundle"),
        ("", f"found none in: {', '.join(SECTIONS)}."),
        (complete_card().replace("## Rights\n\nText.", "## Rights\n\n  "), "none in: Rights."),
        (complete_card().replace("## Limits", "### Limits"), "none in: Limits."),
    ],
    ids=["no card", "empty", "an empty section", "no section"],
)
def test_an_incomplete_card_is_refused(
    card: str | None, fault: str, tmp_path: Path, mlflow_database: Path
) -> None:
    """With a message that names what is missing, and before anything is registered."""
    with pytest.raises(RegistryError) as refused:
        register_with(card, tmp_path, mlflow_database)
    assert fault in str(refused.value)
    assert Workspace(tmp_path).aliases("gesture") == {}
    assert not list(Workspace(tmp_path).exported_versions("gesture"))


def test_a_complete_card_is_registered(tmp_path: Path, mlflow_database: Path) -> None:
    assert register_with(complete_card(), tmp_path, mlflow_database).alias == "champion"
