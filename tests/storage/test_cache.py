"""Promises of the content cache: nothing whole is lost, nothing cut off is believed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.storage.cache import ContentCache


def opened(path: Path) -> ContentCache[tuple[int, ...]]:
    return ContentCache(path, list, tuple)


def test_values_are_there_for_the_next_process(tmp_path: Path) -> None:
    """By content, decoded; the last value of a content counts."""
    cache = opened(tmp_path / "new" / "cache.txt")
    assert cache.get("a") is None
    cache.put("a", (1, 2))
    cache.put("b", ())
    cache.put("a", (3,))
    again = opened(tmp_path / "new" / "cache.txt")
    assert (again.get("a"), again.get("b"), again.get("c")) == ((3,), (), None)


def test_two_that_are_open_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Two processes add lines to one file."""
    one, other = opened(tmp_path / "cache.txt"), opened(tmp_path / "cache.txt")
    one.put("a", (1,))
    other.put("b", (2,))
    one.put("c", (3,))
    third = opened(tmp_path / "cache.txt")
    assert [third.get(each) for each in "abc"] == [(1,), (2,), (3,)]


@given(cut=st.integers(0, 60))
def test_a_line_that_was_cut_off_is_computed_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    """Wherever a process was killed: the lines before it stay, and the next one is whole."""
    path = tmp_path_factory.mktemp("cache") / "cache.txt"
    cache = opened(path)
    cache.put("a", (1,))
    whole = path.stat().st_size
    cache.put("b", (2,))
    path.write_bytes(path.read_bytes()[: whole + cut])
    again = opened(path)
    assert again.get("a") == (1,)
    assert again.get("b") in (None, (2,))
    again.put("c", (3,))
    assert opened(path).get("c") == (3,)
