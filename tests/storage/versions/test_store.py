"""A store of versions returns every content byte by byte, and adds only new contents."""

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError
from mien.storage.versions import RawFile, Store, root_of, shards

from .files import FILES, contents, items, packed, unpacked


def test_a_content_of_several_pieces_is_copied_to_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a single piece, or of none."""
    monkeypatch.setattr(shards, "_CHUNK_BYTES", 2)
    files = {**FILES, "as empty": b"", "long": b"12345", "as long": b"12345"}
    store = Store(tmp_path)
    assert unpacked(store, store.add(items(files), "here").root) == files


def test_a_stored_version_is_read_back(tmp_path: Path) -> None:
    """Equal contents, empty files and nested folders; equal contents are stored once."""
    store = Store(tmp_path)
    version = store.add(items(FILES), "here")
    assert unpacked(store, version.root) == FILES
    assert (version.number, version.source, version.reason, version.parent) == (
        *(1, "here", "fetched"),
        None,
    )
    assert version.size_bytes == 9
    assert sum(path.stat().st_size for path in packed(store)) < 1000
    assert store.verify() == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


NAMES = st.from_regex(r"[a-zà-ü]{1,8}(/[a-z]{1,3}){0,2}\.t", fullmatch=True)


@given(files=st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=8))
def test_any_files_are_read_back(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For any names and contents of a source."""
    store = Store(tmp_path_factory.mktemp("store"))
    assert unpacked(store, store.add(items(files), "any").short) == files
    assert store.verify() == []


@given(order=st.permutations(sorted(FILES)))
def test_the_root_hash_does_not_depend_on_the_order(order: list[str]) -> None:
    """Only on names and contents."""
    entries = {each.name: RawFile(each.sha256, each.size_bytes) for each in items(FILES)}
    assert root_of({name: entries[name] for name in order}) == root_of(entries)


@pytest.mark.parametrize(
    "other",
    [{**FILES, "a.txt": b"other"}, {**FILES, "more": b""}, {"a": b"one"}, {"a.tx": b"tone"}],
)
def test_other_names_or_contents_have_another_root(tmp_path: Path, other: dict[str, bytes]) -> None:
    """No two different sets of files share a root hash."""
    store = Store(tmp_path)
    assert store.add(items(FILES), "one").root != store.add(items(other), "two").root


def test_shards_are_the_same_everywhere(tmp_path: Path) -> None:
    """The same source gives the same bytes in any workspace, whatever the order of reading."""
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.add(items(FILES), "here")
    there.add(reversed(items(FILES)), "there")
    assert contents(here.folder / "shards") == contents(there.folder / "shards") != {}
    with zipfile.ZipFile(packed(here)[0]) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_changed_version_adds_only_what_is_new(tmp_path: Path) -> None:
    """The new shard has only the new contents; the same files again add nothing."""
    store = Store(tmp_path)
    many = {f"{number}.txt": os.urandom(1000) for number in range(50)}
    first = store.add(items(many), "here")
    before = packed(store)
    second = store.add(items({**many, "0.txt": b"changed"}), "here")
    (new,) = set(packed(store)) - set(before)
    assert new.stat().st_size < 500
    assert [each.number for each in store.versions()] == [1, 2]
    third = store.add(items(many), "elsewhere")
    assert third == first
    assert len(packed(store)) == 2
    assert unpacked(store, second.root)["0.txt"] == b"changed"


def test_contents_are_divided_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards stay within their size; a larger content gets its own shard."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    store = Store(tmp_path)
    files = {str(number): os.urandom(40) for number in range(5)} | {"large": os.urandom(300)}
    assert unpacked(store, store.add(items(files), "here").root) == files
    assert len(packed(store)) == 4


def test_a_version_is_named_by_its_number_or_the_start_of_its_hash(tmp_path: Path) -> None:
    """An unknown or ambiguous name is an error that lists the versions."""
    store = Store(tmp_path)
    first, _ = (store.add(items({"a": bytes([n])}), "here") for n in (1, 2))
    assert store.find("1") == store.find(first.short) == store.find(first.root[:4]) == first
    assert store.latest() is None
    store.set_latest(first.root)
    assert store.latest() == first
    for name in ("3", "abc", "", "../latest", "x" * 5000, "0" * 64):
        with pytest.raises(DataError, match=rf"is no version.*1 \({first.short}\), 2"):
            store.find(name)
    assert not store.contains("../../latest")


def test_two_stores_can_be_merged(tmp_path: Path) -> None:
    """By copying the files of one into the other: all versions exist."""
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    first, second = one.add(items(FILES), "x"), two.add(items({"z": b"9"}), "y")
    for path in [*two.folder.rglob("*.zip"), *two.folder.rglob("*.json")]:
        path.rename(one.folder / path.relative_to(two.folder))
    assert {each.root for each in one.versions()} == {first.root, second.root}
    assert unpacked(one, second.root) == {"z": b"9"}
    with pytest.raises(DataError, match="more than one version"):
        one.find("1")


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    """Nothing in it contains its path."""
    version = Store(tmp_path / "here").add(items(FILES), "source")
    (tmp_path / "here").rename(tmp_path / "there")
    assert unpacked(Store(tmp_path / "there"), version.root) == FILES


def test_what_is_made_of_drawn_data_is_synthetic(tmp_path: Path) -> None:
    """The mark goes on to repaired versions, and to data that were stored before as a user's."""
    store = Store(tmp_path)
    as_user = store.add(items(FILES), "here")
    assert not as_user.synthetic
    drawn = store.add(items(FILES), "sample", synthetic=True)
    assert drawn.root == as_user.root
    assert store.find(drawn.root).synthetic
    assert store.add(items(FILES), "again").synthetic  # never taken back
    repaired = store.add(items({"b.txt": b"other"}), "here", "fixed", drawn)
    assert (repaired.synthetic, repaired.parent) == (True, drawn.root)
    assert store.find(repaired.root).synthetic
