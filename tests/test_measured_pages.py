"""Promises about the pages that benches write."""

from pathlib import Path

import pytest

from bench import page


def test_a_new_page_is_listed_in_the_navigation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; the documentation is complete right after a bench."""
    monkeypatch.setattr(page, "DOCS", tmp_path)
    (tmp_path / "mkdocs.yml").write_text("nav:\n  - Measured:\n      - One: measured/one.md\n")
    for name, title in (("one", "Another title"), ("two", "Two"), ("two", "Two")):
        page.write(name, title, ["A table."])
        assert (tmp_path / "source" / "measured" / f"{name}.md").is_file()
    lines = (tmp_path / "mkdocs.yml").read_text().splitlines()
    assert lines[2:] == ["      - One: measured/one.md", "      - Two: measured/two.md"]
