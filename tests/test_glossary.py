"""The glossary is true: each term once, and every place exists."""

import re

from project import ROOT

GLOSSARY = (ROOT / "docs" / "source" / "glossary.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GLOSSARY.splitlines()
    if line.startswith("|") and not line.startswith(("| term", "| ---"))
]


def test_each_term_is_defined_once() -> None:
    """A term, a meaning that is a sentence, a place."""
    terms = [row[0] for row in ROWS]
    assert len(terms) >= 50
    assert len(set(terms)) == len(terms)
    assert [row for row in ROWS if len(row) != 3 or not row[1].endswith(".")] == []


def test_every_place_exists() -> None:
    """Paths are below src/mien."""
    places = {place for row in ROWS for place in re.findall(r"`([\w/]+(?:/|\.py))`", row[2])}
    assert len(places) >= 25
    assert sorted(p for p in places if not (ROOT / "src" / "mien" / p).exists()) == []
