"""The page on the behaviour of libraries is true: what it names is there."""

import re

from project import ROOT

PAGE = (ROOT / "docs" / "source" / "libraries.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| library", "| ---"))
]


def test_each_row_names_a_library_a_behaviour_an_answer_and_a_place() -> None:
    """With the version, unless the behaviour is of a service."""
    assert len(ROWS) >= 25
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []
    without = [row[0] for row in ROWS if not re.search(r" \d", row[0])]
    assert without == ["Ultralytics, Roboflow"]


def test_every_place_exists() -> None:
    """A file below src/mien, or a test: its file, and its function."""
    for row in ROWS:
        places = re.findall(r"`([^`]+)`", row[3])
        assert places, row
        for place in places:
            file, _, function = place.partition("::")
            folder = ROOT if file.startswith("tests/") else ROOT / "src" / "mien"
            content = (folder / file).read_text(encoding="utf-8")
            assert not function or f"\ndef {function}(" in content, place
