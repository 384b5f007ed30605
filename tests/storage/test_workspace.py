"""Promises of `mien.storage.workspace`."""

from pathlib import Path

import pytest

from mien.errors import MienError, RegistryError
from mien.storage import workspace
from mien.storage.workspace import Workspace


def test_a_pointer_leads_to_a_folder_or_says_what_to_do(tmp_path: Path) -> None:
    """A folder that is gone is as good as none."""
    (tmp_path / "abc").mkdir()
    workspace.write_latest(tmp_path, "run", "abc")
    assert workspace.read_latest(tmp_path, "run", "") == tmp_path / "abc"
    (tmp_path / "abc").rmdir()
    with pytest.raises(MienError, match="Do this"):
        workspace.read_latest(tmp_path, "run", "Do this.")


def test_aliases_survive_a_round_trip_and_damage_is_told(tmp_path: Path) -> None:
    """No file means no alias; an unreadable file is an error that says how to mend it."""
    home = Workspace(tmp_path)
    assert home.aliases("gesture") == {}
    home.write_aliases("gesture", {"champion": 3})
    assert home.aliases("gesture") == {"champion": 3}
    (tmp_path / "models" / "gesture" / "aliases.json").write_text("[1]")
    with pytest.raises(RegistryError, match="mien promote gesture"):
        home.aliases("gesture")
