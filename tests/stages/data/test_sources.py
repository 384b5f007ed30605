"""Promises of a source: the same data in any form are the same, and what is unsafe is refused."""

import json
import os
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mien.config import RunConfig
from mien.errors import DataError
from mien.stages import Run, data
from mien.stages.data import archives, hash_cache, sources, versions, zip_archives
from mien.storage.versions import Store, Version
from mien.storage.workspace import Workspace

FILES = {"a.csv": b"one", "b/c.csv": b"two", "b/empty": b""}


_opened: list[str] = []


_watched: list[Path] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and str(arguments[0]).startswith(str(_watched[-1])):
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Which files of the source were opened since one asked last."""

    def ask() -> list[str]:
        names = sorted({path.removeprefix(f"{tmp_path / 'set'}").strip("/") for path in _opened})
        _opened.clear()
        return names

    _watched.append(tmp_path / "set")
    yield ask
    _watched.clear()
    _opened.clear()


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough for their time stamps to be trusted."""
    monkeypatch.setattr(hash_cache, "_MIN_AGE_NS", -(10**18))


def written(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(target: Path, files: Mapping[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def fetched(source: Path | str | None, home: Path, seed: int = 0) -> Version:
    name = None if source is None else str(source)
    run = RunConfig(name="run", task="gesture", source=name, seed=seed)
    resolved = Run.resolve(run, Workspace(home))
    version, _ = data.fetch(resolved)
    with data.accept_if_readable(resolved, version):
        return version


def refused(source: Path, home: Path, message: str) -> None:
    """The message comes, and the workspace has no version and nothing half-made."""
    with pytest.raises(DataError, match=message):
        fetched(source, home)
    assert not [path for path in home.rglob("*") if path.is_file() and "cache" not in path.parts]


def test_a_zip_and_its_folder_are_the_same_data(tmp_path: Path) -> None:
    """Root and shards are equal; times, order and the shadows that macOS leaves do not count."""
    folder = written(tmp_path / "set", {**FILES, ".DS_Store": b"x", "b/._c.csv": b"x"})
    turned = dict(reversed(FILES.items()))
    archive = zipped(tmp_path / "set.zip", {**turned, "__MACOSX/._a.csv": b"x", ".git/HEAD": b"x"})
    one, two = fetched(folder, tmp_path / "one"), fetched(archive, tmp_path / "two")
    assert one.root == two.root
    assert set(one.items) == set(FILES)
    assert (one.source, two.source) == ("set", "set.zip")
    shards = [sorted((tmp_path / home).rglob("*.zip")) for home in ("one", "two")]
    assert [path.name for path in shards[0]] == [path.name for path in shards[1]] != []
    assert [path.read_bytes() for path in shards[0]] == [path.read_bytes() for path in shards[1]]


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    """Under its own name, wherever it lies."""
    path = written(tmp_path / "set") / "a.csv"
    assert list(fetched(path, tmp_path / "home").items) == ["a.csv"]


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("form", ["folder", "zip", "file"])
def test_an_unchanged_source_is_not_read_again(
    tmp_path: Path, form: str, opened: Callable[[], list[str]]
) -> None:
    """The second look opens no file of a folder; a single one is asked only whether it is a zip."""
    source = written(tmp_path / "set")
    if form == "zip":
        source = zipped(tmp_path / "set" / "set.zip")
    elif form == "file":
        source = tmp_path / "set" / "a.csv"
    first = fetched(source, tmp_path / "home")
    assert opened() != []
    assert fetched(source, tmp_path / "home") == first
    assert opened() == ([] if form == "folder" else [source.name])  # is it a zip?
    assert fetched(source, tmp_path / "other").root == first.root
    assert opened() != []  # what one workspace knows, another one finds out itself


@pytest.mark.usefixtures("old")
def test_one_changed_file_is_read_alone(tmp_path: Path, opened: Callable[[], list[str]]) -> None:
    """Also one of the same size, under the time stamp of before."""
    folder = written(tmp_path / "set")
    first = fetched(folder, tmp_path / "home")
    before = (folder / "a.csv").stat()
    (folder / "a.csv").write_bytes(b"eno")
    os.utime(folder / "a.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    opened()
    assert fetched(folder, tmp_path / "home").root != first.root
    assert opened() == ["a.csv"]


def test_a_file_that_changes_within_its_time_stamp_is_read(tmp_path: Path) -> None:
    """What was written a moment ago may be written again at the same moment: it is not trusted."""
    folder = written(tmp_path / "set")
    roots = []
    for text in (b"one", b"eno", b"one"):
        (folder / "a.csv").write_bytes(text)
        roots.append(fetched(folder, tmp_path / "home").root)
    assert roots[0] == roots[2] != roots[1]
    assert not list((tmp_path / "home").rglob("hashes-*.json"))


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("text", [None, "", "not JSON", "[1]", '{"a.csv": 3}', "[" * 10**5])
def test_the_memory_only_saves_time(tmp_path: Path, text: str | None) -> None:
    """Deleted or damaged, it is made anew; the data are the same."""
    folder = written(tmp_path / "set")
    first = fetched(folder, tmp_path / "home")
    (memory,) = (tmp_path / "home").rglob("hashes-*.json")
    kept = json.loads(memory.read_text())
    memory.unlink() if text is None else memory.write_text(text)
    assert fetched(folder, tmp_path / "home") == first
    assert json.loads(memory.read_text()) == kept
    assert set(kept) == set(FILES)


@pytest.mark.usefixtures("old")
def test_lost_shards_come_back_from_an_unchanged_source(tmp_path: Path) -> None:
    """What is remembered of a source does not hide that the store lost it."""
    for source in (written(tmp_path / "set"), zipped(tmp_path / "set.zip"), "sample"):
        first = fetched(source, tmp_path / "home")
        for path in (tmp_path / "home").rglob("*.zip"):
            path.unlink()
        assert fetched(source, tmp_path / "home") == first
        assert Store(Workspace(tmp_path / "home").raw("gesture")).verify(first) == []


def test_a_link_within_the_folder_is_its_file(tmp_path: Path) -> None:
    """The content counts, not how it is stored."""
    folder = written(tmp_path / "set")
    (folder / "b" / "link.csv").symlink_to("../a.csv")
    found = fetched(folder, tmp_path / "home")
    assert found.items["b/link.csv"] == found.items["a.csv"]


def _out(folder: Path) -> None:
    written(folder.parent / "secret")
    (folder / "link").symlink_to(folder.parent / "secret" / "a.csv")


def _loop(folder: Path) -> None:
    (folder / "link").symlink_to(folder, target_is_directory=True)


LINKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "out of the folder": (_out, "found a link to .*secret"),
    "to nowhere": (lambda folder: (folder / "link").symlink_to("absent"), "found a link"),
    "to a folder": (lambda folder: (folder / "link").symlink_to("b"), "found a link"),
    "to itself": (_loop, "found a link"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "neither a file nor a folder"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_what_is_no_file_of_the_folder_is_refused(tmp_path: Path, kind: str) -> None:
    """Nothing from elsewhere gets into a version, and nothing is left out in silence."""
    make, message = LINKS[kind]
    make(written(tmp_path / "set"))
    refused(tmp_path / "set", tmp_path / "home", message)


def _link(path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")


def _encrypt(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)


def _adding(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def add(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, content)

    return add


ZIPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link": (_link, r"found a link \(link\)"),
    "a password": (_encrypt, "cannot be unpacked .*password"),
    "outside": (_adding("../out"), "outside its folder"),
    "a drive": (_adding("C:\\out"), "outside its folder"),
    "two of a name": (_adding("./a.csv"), "two different files a.csv"),
    "a file as a folder": (_adding("a.csv/b"), "as a file and as a folder"),
    "cut off": (
        lambda path: path.write_bytes(path.read_bytes()[:-30]) and None,
        "not a complete zip",
    ),
    "no zip": (lambda path: path.write_text("text") and None, "not a complete zip"),
    "no file": (lambda path: zipped(path, {"__MACOSX/a": b""}) and None, "without files"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_bad_zip_is_refused(tmp_path: Path, kind: str) -> None:
    """The message says what is wrong, and nothing of it is taken."""
    harm, message = ZIPS[kind]
    harm(zipped(tmp_path / "set.zip"))
    refused(tmp_path / "set.zip", tmp_path / "home", message)


def test_a_zip_that_unpacks_to_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file that stands for a huge one stops at what its list of contents says."""
    monkeypatch.setattr(archives, "UNPACKED_LIMIT", 5)
    refused(zipped(tmp_path / "set.zip"), tmp_path / "home", "expected at most")


@pytest.mark.parametrize("kept_bytes", [0, 60_000, 200_000])
def test_a_zip_that_changes_while_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    """What is stored has the fingerprints that were taken, from memory or from the file; what
    does not is refused."""
    monkeypatch.setattr(zip_archives, "KEPT_BYTES", kept_bytes)
    files = {name: Random(name).randbytes(50_000) for name in FILES}
    source = zipped(tmp_path / "set.zip", files)
    store = Store(tmp_path / "store")
    with sources.open_source(str(source), tmp_path / "cache") as opened:
        version = store.add(opened.items, "all of it")
    assert contents_of(store, version) == files
    changed = Store(tmp_path / "changed")
    with (
        suppress(DataError),
        sources.open_source(str(source), tmp_path / "cache2") as opened,
    ):
        source.write_bytes(source.read_bytes().replace(files["b/c.csv"][-9:], b"elsewhere"))
        changed.add(opened.items, "in part")
    if kept_bytes > 150_000:
        assert contents_of(changed, changed.find(version.root)) == files
    else:
        assert changed.versions() == []


def contents_of(store: Store, version: Version) -> dict[str, bytes]:
    with store.unpacked(version) as folder:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_sample_is_drawn_once_for_each_seed(tmp_path: Path) -> None:
    """The same seed is the same version, and becomes the newest again."""
    first, other = (fetched("sample", tmp_path, seed) for seed in (0, 1))
    assert first.root != other.root
    assert fetched("sample", tmp_path, 0) == first
    assert fetched(None, tmp_path) == fetched("@", tmp_path) == first
    assert fetched("@2", tmp_path) == other
    assert first.source == "sample, seed 0"
    assert first.synthetic
    with pytest.raises(DataError, match="is no version"):
        fetched("@3", tmp_path)


def test_drawn_data_stay_drawn_in_another_workspace(tmp_path: Path) -> None:
    """As a folder and as a file of it, with the same bytes; not without the mark."""
    drawn, folder = fetched("sample", tmp_path / "home"), tmp_path / "out"
    versions.checkout("gesture", "1", folder, Workspace(tmp_path / "home"))
    copy = fetched(str(folder), tmp_path / "folder")
    assert (copy.root, copy.synthetic) == (drawn.root, True)
    assert fetched(str(folder / "landmarks.csv"), tmp_path / "file").synthetic
    (folder / ".mien-drawn").unlink()
    assert not fetched(str(folder), tmp_path / "real").synthetic


def described_set(folder: Path, head: str, file: str = "data.yaml") -> Path:
    """A YAML file in `project/`, beside data and other files."""
    files = ("project/venv/big.bin", "project/readme.md", "project/classes.txt", "other/x.jpg",
             *(f"data/faces/{split}/{kind}/{split}.{ending}" for split in ("train", "valid")
               for kind, ending in (("images", "jpg"), ("labels", "txt"))))  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "project" / file).write_text(f"{head}names: [happy]\n")
    return folder / "project" / file


@pytest.mark.parametrize(
    "head",
    [
        "path: ../data/faces\ntrain: train/images\nval: valid/images\n",
        "path: {root}/data/faces\ntrain: train/images\nval: [valid/images]\ntest:\n",
    ],
    ids=["relative", "absolute"],
)
def test_a_yaml_file_is_the_set_that_it_describes(tmp_path: Path, head: str) -> None:
    """The folders that it names with their label files, the file itself, and nothing else."""
    source = described_set(tmp_path, head.format(root=tmp_path), "faces.yaml")
    (tmp_path / "data" / "faces" / "more").mkdir()
    (tmp_path / "data" / "faces" / "more" / "x.jpg").touch()
    (tmp_path / "data" / "faces" / "data.yaml").write_text("names: [other]\n")
    items = fetched(source, tmp_path / "home").items
    assert sorted(items) == [
        "faces.yaml",
        *(f"{split}/{kind}" for split in ("train", "valid")
          for kind in (f"images/{split}.jpg", f"labels/{split}.txt")),
    ]  # fmt: skip


def test_a_yaml_file_beside_its_folders_reads_them_alone(tmp_path: Path) -> None:
    """The environment of a project that holds the data too does not become data."""
    source = described_set(tmp_path, "train: ../data/faces/train/images\n", "data.yaml")
    (tmp_path / "data" / "faces" / "train").rename(tmp_path / "project" / "train")
    source.write_text("train: ../train/images\nval: train/images\nnames: [happy]\n")
    items = fetched(source, tmp_path / "home").items
    assert sorted(items) == [
        "classes.txt",
        "data.yaml",
        "readme.md",
        "train/images/train.jpg",
        "train/labels/train.txt",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "is not readable YAML"),
        ("names: &a [x, x]\ntrain: [*a, *a]\n", "write it out"),
        ("task: emotion\nseed: 0\n", "describes no data set"),
        ("train: gone/images\nnames: [happy]\n", "found none of gone/images"),
        ("path: train\ntrain: images\nval: ../../other\nnames: [a]\n", "expected all splits in"),
    ],
)
def test_a_yaml_file_without_its_set_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says what is missing and what to correct."""
    source = described_set(tmp_path, "", "data.yaml")
    (tmp_path / "data" / "faces" / "train").rename(tmp_path / "project" / "train")
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        fetched(source, tmp_path / "home")


def test_kagglehub_is_imported_only_when_it_is_used(tmp_path: Path) -> None:
    """A folder is fetched without it."""
    assert fetched(written(tmp_path / "set"), tmp_path / "home")
    assert "kagglehub" not in sys.modules
