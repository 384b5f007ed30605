"""A tar is read as the folder in it; what is no plain file in it is refused, and nothing is written
outside of the workspace."""

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import DataError
from mien.stages.data import archives, sources
from mien.storage.versions import Store, Version

FILES = {"set/b.txt": b"one", "set/images/a.png": os.urandom(3000), "set/empty": b""}


def packed(path: Path, mode: str = "w", files: dict[str, bytes] | None = None) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in (FILES if files is None else files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def fetched(source: Path, home: Path) -> Version:
    with sources.open_source(str(source), home / "cache") as opened:
        return Store(home / "raw").add(opened.items, opened.name)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_a_tar_is_the_folder_in_it(tmp_path: Path, kind: str) -> None:
    """Packed in any way of the standard library; an unchanged one is not read again."""
    form = {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(kind, "w:gz")
    path = packed(tmp_path / f"set.{kind}", form)
    os.utime(path, (1e9, 1e9))
    version = fetched(path, tmp_path)
    with Store(tmp_path / "raw").unpacked(version) as folder:
        assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert fetched(path, tmp_path) == version
    assert not list((tmp_path / "cache").glob(".*"))


def test_shadow_files_and_dots_before_names_do_not_count(tmp_path: Path) -> None:
    """As tar and macOS write them."""
    names = {"./set/a.txt": b"1", "./set/._a.txt": b"2", "__MACOSX/x": b"3"}
    assert list(fetched(packed(tmp_path / "a.tar", files=names), tmp_path).items) == ["set/a.txt"]


def _with(kind: bytes, target: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("set/x")
            info.type, info.linkname = kind, target
            archive.addfile(info)

    return write


def _outside(path: Path) -> None:
    packed(path, files={"set/a": b"1", "../evil.txt": b"2"})


def _cut(path: Path) -> None:
    packed(path)
    path.write_bytes(path.read_bytes()[:2500])


def _without_end(path: Path) -> None:
    packed(path)
    path.write_bytes(path.read_bytes()[:1024])


def _cut_gzip(path: Path) -> None:
    packed(path, "w:gz")
    path.write_bytes(path.read_bytes()[:-40])


def _long_header(path: Path) -> None:
    """A header of names that claims 4 GB."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 4 << 30
    path.write_bytes(packed(path).read_bytes()[:1024] + info.tobuf(tarfile.USTAR_FORMAT))


def _long_name(path: Path) -> None:
    """A packed name of 100 MB in 100 kB, the first header of the tar."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100 << 20
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size))


BAD = {
    "link": (_with(tarfile.SYMTYPE, "/etc/passwd"), "expected plain files, found a link"),
    "hard link": (_with(tarfile.LNKTYPE, "set/y"), "expected plain files, found a link"),
    "device": (_with(tarfile.CHRTYPE, ""), "found a link or a device"),
    "outside": (_outside, "outside its folder"),
    "cut": (_cut, "cannot be unpacked"),
    "no end": (_without_end, "cut off"),
    "cut gzip": (_cut_gzip, "cannot be unpacked|not a complete"),
    "long header": (_long_header, "cut off|cannot be unpacked"),
    "empty": (lambda path: packed(path, files={}), "without files"),
    "long name": (_long_name, "not a complete"),
    "no tar": (lambda path: path.write_bytes(b"<html>"), "not a complete zip or tar"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_tar_is_refused(tmp_path: Path, kind: str) -> None:
    """With a message, little memory, and nothing stays."""
    write, message = BAD[kind]
    write(tmp_path / "set.tar")
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        fetched(tmp_path / "set.tar", tmp_path / "home")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 50e6
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list((tmp_path / "home").rglob(".open-tar*"))


def test_a_tar_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the bytes beyond the limit are written."""
    monkeypatch.setattr(archives, "UNPACKED_LIMIT", 2000)
    with pytest.raises(DataError, match="Unpack it yourself"):
        fetched(packed(tmp_path / "set.tar"), tmp_path / "home")


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01", "rar"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_other_archives_are_named(tmp_path: Path, start: bytes, kind: str) -> None:
    """With what to do."""
    (tmp_path / "set.bin").write_bytes(start + bytes(100))
    with pytest.raises(DataError, match=rf"found .*{kind}.*Unpack it and give the folder"):
        fetched(tmp_path / "set.bin", tmp_path / "home")
