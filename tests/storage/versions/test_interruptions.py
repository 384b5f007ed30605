"""Killed and parallel processes, contents that change, and full disks leave whole versions only."""

import io
import os
import resource
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from waiting import PATIENCE

from mien.errors import DataError
from mien.storage.versions import Item, Store

from .files import items, packed, unpacked


@pytest.mark.parametrize("content", [b"short", b"longer than stated", b"other"])
def test_a_content_that_changes_while_it_is_read_is_refused(tmp_path: Path, content: bytes) -> None:
    """What was hashed is stored, or nothing is."""
    item = Item("a", sha256(b"12345").hexdigest(), 5, lambda: io.BytesIO(content))
    with pytest.raises(DataError, match="changed while it was read"):
        Store(tmp_path).add([item], "here")
    assert list((tmp_path / "shards").iterdir()) == []
    assert Store(tmp_path).latest() is None


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
    """A process that stores six files, each in its own shard."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(store), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_in_the_middle_leaves_nothing_half_done(tmp_path: Path) -> None:
    """No version exists; the next import continues with the finished shards."""
    with importing(tmp_path, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGKILL)
    store = Store(tmp_path)
    assert store.latest() is None
    assert store.versions() == []
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.zip")}
    assert len(done) == 3
    assert len(packed(store)) == 4  # one is temporary, and a workspace deletes it
    with importing(tmp_path) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert store.verify() == [], err
    assert len(unpacked(store, out.strip())) == 6
    assert {name: (tmp_path / "shards" / name).stat().st_mtime_ns for name in done} == done


def test_two_processes_may_store_the_same_files_at_once(tmp_path: Path) -> None:
    """One overtakes the other in the middle; both succeed, and one version exists."""
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


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    """The system's error names the path, and no part of a shard stays."""
    store = Store(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            store.add(items({"a": os.urandom(5000)}), "here")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert str(tmp_path) in str(caught.value.filename)
    assert list((tmp_path / "shards").iterdir()) == []
    assert store.latest() is None


def test_contents_larger_than_the_free_space_are_refused_first(tmp_path: Path) -> None:
    """Before the first byte is written."""
    item = Item("a", "0" * 64, 10**18, lambda: io.BytesIO())
    with pytest.raises(OSError, match="No space for"):
        Store(tmp_path).add([item], "here")
    assert list((tmp_path / "shards").iterdir()) == []
