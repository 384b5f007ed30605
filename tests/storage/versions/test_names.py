"""Names of files: kept apart, never unsafe, never overwritten."""

from pathlib import Path

import pytest

from mien.errors import DataError
from mien.storage.versions import Store

from .files import FILES, items, unpacked

BAD_NAMES = ["../out", "/out", "a/../../out", "..\\out", "C:\\out", "c:out", "", "."]


NO_TEXT = ["a\0b", "\udcff"]


@pytest.mark.parametrize("name", [*BAD_NAMES, *NO_TEXT])
def test_an_unsafe_name_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """No file is written elsewhere, and nothing of that source is stored."""
    store = Store(tmp_path / "store")
    fault = "is not Unicode text" if name in NO_TEXT else "outside its folder"
    with pytest.raises(DataError, match=fault):
        store.add(items({"fine": b"1", name: b"2"}), "here")
    assert list(tmp_path.iterdir()) == []


def test_similar_names_are_different_files(tmp_path: Path) -> None:
    """Case and Unicode form are part of a name; colons are allowed."""
    store = Store(tmp_path)
    files = {"A.txt": b"1", "a.txt": b"2", "caf\u00e9": b"3", "cafe\u0301": b"4", "12:30.txt": b"5"}
    version = store.add(items(files), "here")
    assert set(version.items) == set(files)
    if not (tmp_path / "LATEST.TXT").exists():  # a case-sensitive file system
        assert unpacked(store, version.root) == files


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """Where a file system treats two names as one, there is an error; no content is lost."""
    store = Store(tmp_path / "store")
    version = store.add(items(FILES), "here")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_bytes(b"there")
    with pytest.raises(DataError, match=r"a\.txt: this file system takes two names"):
        store.write(version, tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"there"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("a", b"1"), ("./a", b"2")], "two different files a"),
        ([("a", b"1"), ("a/b", b"2")], "a as a file and as a folder"),
        ([], "holds no file"),
    ],
)
def test_files_that_cannot_share_a_folder_are_refused(
    tmp_path: Path, files: list[tuple[str, bytes]], message: str
) -> None:
    """Two contents of one name, a file that is also a folder, and no file at all."""
    with pytest.raises(DataError, match=message):
        Store(tmp_path).add([each for pair in files for each in items(dict([pair]))], "here")
    assert list(tmp_path.iterdir()) == []
