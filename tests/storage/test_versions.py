"""Promises of `storage.versions`: contents come back byte by byte, or it is said what is wrong."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE

from mien.errors import DataError
from mien.storage.versions import Item, RawFile, Store, root_of, shards

FILES = {"a.txt": b"one", "b/c.txt": b"two", "b/again.txt": b"one", "empty": b""}
Damage = Callable[[Path], None]


def items(files: Mapping[str, bytes]) -> list[Item]:
    """Files in memory as items of a source."""

    def opener(content: bytes) -> Callable[[], BinaryIO]:
        return lambda: io.BytesIO(content)

    return [
        Item(name, sha256(content).hexdigest(), len(content), opener(content))
        for name, content in files.items()
    ]


def unpacked(store: Store, name: str) -> dict[str, bytes]:
    """The files of a version as they come back."""
    with store.unpacked(store.find(name)) as folder:
        return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def packed(store: Store) -> list[Path]:
    return sorted((store.folder / "shards").iterdir())


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    """Equal contents, empty files and folders below folders; equal contents are kept once."""
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
def test_any_files_come_back(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a source holds is what a version of it gives."""
    store = Store(tmp_path_factory.mktemp("store"))
    assert unpacked(store, store.add(items(files), "any").short) == files
    assert store.verify() == []


@given(order=st.permutations(sorted(FILES)))
def test_the_root_hash_knows_no_order(order: list[str]) -> None:
    """Names and contents decide, and nothing else."""
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
    """The same source makes the same bytes in any workspace, in whatever order it was read."""
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.add(items(FILES), "here")
    there.add(reversed(items(FILES)), "there")
    assert contents(here.folder / "shards") == contents(there.folder / "shards") != {}
    with zipfile.ZipFile(packed(here)[0]) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_changed_version_adds_only_what_is_new(tmp_path: Path) -> None:
    """The new shard holds the new contents alone; the same files again add nothing."""
    store = Store(tmp_path)
    many = {f"{number}.txt": os.urandom(1000) for number in range(50)}
    first = store.add(items(many), "here")
    before = packed(store)
    second = store.add(items({**many, "0.txt": b"changed"}), "here")
    (new,) = set(packed(store)) - set(before)
    assert new.stat().st_size < 500
    assert [each.number for each in store.versions()] == [1, 2]
    third = store.add(items(many), "elsewhere")
    assert (third, store.latest()) == (first, first)
    assert len(packed(store)) == 2
    assert unpacked(store, second.root)["0.txt"] == b"changed"


def test_contents_are_divided_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards stay within their size; a larger content has one of its own."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    store = Store(tmp_path)
    files = {str(number): os.urandom(40) for number in range(5)} | {"large": os.urandom(300)}
    assert unpacked(store, store.add(items(files), "here").root) == files
    assert len(packed(store)) == 4


BAD_NAMES = ["../out", "/out", "a/../../out", "..\\out", "C:\\out", "c:out", "", "."]
NO_TEXT = ["a\0b", "\udcff"]


@pytest.mark.parametrize("name", [*BAD_NAMES, *NO_TEXT])
def test_an_unsafe_name_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """No file can be made to land elsewhere, and none of its source is taken."""
    store = Store(tmp_path / "store")
    fault = "is not Unicode text" if name in NO_TEXT else "outside its folder"
    with pytest.raises(DataError, match=fault):
        store.add(items({"fine": b"1", name: b"2"}), "here")
    assert list(tmp_path.iterdir()) == []


def test_names_that_only_look_alike_are_kept_apart(tmp_path: Path) -> None:
    """Case and form of Unicode belong to a name; colons and backslashes harm nobody."""
    store = Store(tmp_path)
    files = {"A.txt": b"1", "a.txt": b"2", "caf\u00e9": b"3", "cafe\u0301": b"4", "12:30.txt": b"5"}
    version = store.add(items(files), "here")
    assert set(version.items) == set(files)
    if not (tmp_path / "LATEST.TXT").exists():  # a file system that knows case
        assert unpacked(store, version.root) == files


def test_a_name_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    """Where a file system takes two names for one, it is said; no content is lost in silence."""
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
def test_what_cannot_lie_in_one_folder_is_refused(
    tmp_path: Path, files: list[tuple[str, bytes]], message: str
) -> None:
    """Two contents of one name, a file that is a folder as well, and nothing at all."""
    with pytest.raises(DataError, match=message):
        Store(tmp_path).add([each for pair in files for each in items(dict([pair]))], "here")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("found", [b"short", b"longer than was said", b"other"])
def test_a_content_that_changes_while_it_is_read_is_refused(tmp_path: Path, found: bytes) -> None:
    """What was hashed is what is kept, or nothing is."""
    item = Item("a", sha256(b"12345").hexdigest(), 5, lambda: io.BytesIO(found))
    with pytest.raises(DataError, match="changed while it was read"):
        Store(tmp_path).add([item], "here")
    assert list((tmp_path / "shards").iterdir()) == []
    assert Store(tmp_path).latest() is None


def _flip(shard: Path) -> None:
    raw = bytearray(shard.read_bytes())
    raw[raw.index(b"two")] ^= 1
    shard.write_bytes(raw)


def _cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:60])


DAMAGE: dict[str, tuple[Damage, str]] = {
    "a flipped byte": (_flip, r"\.zip does not match its name.*lacks b/c\.txt\.$"),
    "a missing shard": (Path.unlink, "lacks a.txt, b/again.txt, b/c.txt and 1 more"),
    "a shard cut short": (_cut, "truncated.*lacks a.txt"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_mended_by_fetching_again(tmp_path: Path, kind: str) -> None:
    """`verify` names the files at fault; the version is not given; the source brings it back."""
    harm, message = DAMAGE[kind]
    store = Store(tmp_path)
    version = store.add(items(FILES), "here")
    (shard,) = packed(store)
    content = shard.read_bytes()
    harm(shard)
    assert_told(store.verify(), message)
    assert_told(store.verify(version), message)
    with pytest.raises(DataError, match="mien data verify"), store.unpacked(version):
        pass
    if kind == "a flipped byte":
        assert store.is_complete(version)  # only reading tells
        shard.unlink()
    assert not store.is_complete(version)
    assert store.add(items(FILES), "here") == version
    assert (shard.read_bytes(), store.verify()) == (content, [])
    assert unpacked(store, version.root) == FILES


def test_a_forged_shard_is_told(tmp_path: Path) -> None:
    """A sound zip under its own SHA-256 is not believed either: each content is hashed."""
    store = Store(tmp_path)
    version = store.add(items({"a": b"right"}), "here")
    (shard,) = packed(store)
    shard.unlink()
    with zipfile.ZipFile(tmp_path / "forged", "w") as archive:
        archive.writestr(version.items["a"].sha256, b"wrong")
    content = (tmp_path / "forged").read_bytes()
    (shard.parent / f"{sha256(content).hexdigest()}.zip").write_bytes(content)
    assert_told(store.verify(), "lacks a")
    with pytest.raises(DataError, match="a differs from the fetched file"), store.unpacked(version):
        pass


def assert_told(faults: list[str], message: str) -> None:
    assert re.search(message, " ".join(faults)), faults


@given(place=st.integers(0, 10**6), other=st.integers(1, 255))
def test_no_byte_can_change_unseen(
    place: int, other: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any byte of a shard: it is told, and what comes back is right or an error."""
    store = Store(tmp_path_factory.mktemp("store"))
    version = store.add(items(FILES), "here")
    (shard,) = packed(store)
    raw = bytearray(shard.read_bytes())
    raw[place % len(raw)] ^= other
    shard.write_bytes(raw)
    assert store.verify()
    with suppress(DataError):
        assert unpacked(store, version.root) == FILES


EDITS: list[Callable[[dict[str, object]], object]] = [
    lambda told: told.update(items={"a": {"sha256": "0" * 64, "size_bytes": 3}}),
    lambda told: told.update(root="0" * 64),
    lambda told: told.update(number=0),
    lambda told: told.update(format=1),
    lambda told: told.update(more=1),
    lambda told: told.pop("items"),
    lambda told: told.pop("source"),
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_altered_manifest_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, object]], object]
) -> None:
    """No list of files is believed that does not make the root hash it is named by."""
    store = Store(tmp_path)
    root = store.add(items(FILES), "here").root
    path = tmp_path / "versions" / f"{root}.json"
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match=root):
        store.find(root)
    assert_told(store.verify(), root)
    path.write_text("not JSON")
    assert_told(store.verify(), "no manifest")


def test_a_version_is_found_by_number_and_by_the_beginning_of_its_hash(tmp_path: Path) -> None:
    """What is no version, or more than one, is told with the versions that are there."""
    store = Store(tmp_path)
    first, second = (store.add(items({"a": bytes([n])}), "here") for n in (1, 2))
    assert store.find("1") == store.find(first.short) == store.find(first.root[:4]) == first
    assert store.latest() == second
    store.set_latest(first.root)
    assert store.latest() == first
    for name in ("3", "abc", "", "../latest", "x" * 5000, "0" * 64):
        with pytest.raises(DataError, match=rf"is no version.*1 \({first.short}\), 2"):
            store.find(name)
    assert not store.contains("../../latest")


def test_two_stores_that_grew_apart_can_be_put_together(tmp_path: Path) -> None:
    """Files of one store lie beside those of another, as after a merge: all versions are there."""
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    first, second = one.add(items(FILES), "x"), two.add(items({"z": b"9"}), "y")
    for path in [*two.folder.rglob("*.zip"), *two.folder.rglob("*.json")]:
        path.rename(one.folder / path.relative_to(two.folder))
    assert {each.root for each in one.versions()} == {first.root, second.root}
    assert unpacked(one, second.root) == {"z": b"9"}
    with pytest.raises(DataError, match="more than one version"):
        one.find("1")


def test_a_store_is_only_moved_to_be_elsewhere(tmp_path: Path) -> None:
    """Nothing in it names the place where it lies."""
    version = Store(tmp_path / "here").add(items(FILES), "source")
    (tmp_path / "here").rename(tmp_path / "there")
    assert unpacked(Store(tmp_path / "there"), version.root) == FILES


IMPORT = """
import io, sys
from hashlib import sha256
from pathlib import Path
from mien.storage.versions import Item, Store, shards

def item(number, content):
    def opened():
        if sys.argv[2] == "wait" and number == 3:
            print("reading", flush=True)
            sys.stdin.read()
        return io.BytesIO(content)
    return Item(str(number), sha256(content).hexdigest(), len(content), opened)

shards.SHARD_BYTES = 1000
items = [item(number, bytes([number]) * 900) for number in range(6)]
print(Store(Path(sys.argv[1])).add(items, "script").root, flush=True)
"""


def importing(store: Path, how: str = "go") -> "subprocess.Popen[str]":
    """A process of its own that keeps six files, each in its shard."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(store), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_in_the_middle_leaves_nothing_half_done(tmp_path: Path) -> None:
    """No version is there; the next import goes on with the shards that were finished."""
    with importing(tmp_path, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGKILL)
    store = Store(tmp_path)
    assert store.latest() is None
    assert store.versions() == []
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.zip")}
    assert len(done) == 3
    assert len(packed(store)) == 4  # and what has another name, which a workspace clears away
    with importing(tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert store.verify() == [], err
    assert len(unpacked(store, out.strip())) == 6
    assert {name: (tmp_path / "shards" / name).stat().st_mtime_ns for name in done} == done


def test_two_processes_may_keep_the_same_files_at_once(tmp_path: Path) -> None:
    """One is overtaken by the other in the middle; both end well, and one version is there."""
    with importing(tmp_path, "wait") as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "reading\n"
        quick = importing(tmp_path)
        ends = [each.communicate(timeout=PATIENCE) for each in (quick, slow)]
    assert (quick.returncode, slow.returncode) == (0, 0), ends
    store = Store(tmp_path)
    assert [f"{each.root}\n" for each in store.versions()] == [ends[0][0]]
    assert store.verify() == []
    assert len(packed(store)) == 6


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """An error of the system that names the place, and no half of a shard."""
    store = Store(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as told:
            store.add(items({"a": os.urandom(5000)}), "here")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert str(tmp_path) in str(told.value.filename)
    assert list((tmp_path / "shards").iterdir()) == []
    assert store.latest() is None


def test_what_cannot_fit_is_not_begun(tmp_path: Path) -> None:
    """More than is free is refused before the first byte is written."""
    item = Item("a", "0" * 64, 10**18, lambda: io.BytesIO())
    with pytest.raises(OSError, match="No space for"):
        Store(tmp_path).add([item], "here")
    assert list((tmp_path / "shards").iterdir()) == []
