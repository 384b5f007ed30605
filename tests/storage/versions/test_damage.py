"""Damaged shards and altered manifests are reported, and fetching again repairs them."""

import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError
from mien.storage.versions import Store

from .files import FILES, assert_fault, items, packed, unpacked

Damage = Callable[[Path], None]


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
def test_damage_is_named_and_repaired_by_fetching_again(tmp_path: Path, kind: str) -> None:
    """`verify` names the affected files; the version cannot be opened; the source restores it."""
    damage, message = DAMAGE[kind]
    store = Store(tmp_path)
    version = store.add(items(FILES), "here")
    (shard,) = packed(store)
    content = shard.read_bytes()
    damage(shard)
    assert_fault(store.verify(), message)
    assert_fault(store.verify(version), message)
    with pytest.raises(DataError, match="mien data verify"), store.unpacked(version):
        pass
    if kind == "a flipped byte":
        assert store.is_complete(version)  # only reading detects it
        shard.unlink()
    assert not store.is_complete(version)
    assert store.add(items(FILES), "here") == version
    assert (shard.read_bytes(), store.verify()) == (content, [])
    assert unpacked(store, version.root) == FILES


def test_a_forged_shard_is_reported(tmp_path: Path) -> None:
    """A valid zip under its own SHA-256 is not trusted either: each content is hashed."""
    store = Store(tmp_path)
    version = store.add(items({"a": b"right"}), "here")
    (shard,) = packed(store)
    shard.unlink()
    with zipfile.ZipFile(tmp_path / "forged", "w") as archive:
        archive.writestr(version.items["a"].sha256, b"wrong")
    content = (tmp_path / "forged").read_bytes()
    (shard.parent / f"{sha256(content).hexdigest()}.zip").write_bytes(content)
    assert_fault(store.verify(), "lacks a")
    with pytest.raises(DataError, match="a differs from the fetched file"), store.unpacked(version):
        pass


@given(position=st.integers(0, 10**6), other=st.integers(1, 255))
def test_no_changed_byte_stays_unnoticed(
    position: int, other: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any byte of a shard: it is reported, and reading gives the right files or an error."""
    store = Store(tmp_path_factory.mktemp("store"))
    version = store.add(items(FILES), "here")
    (shard,) = packed(store)
    raw = bytearray(shard.read_bytes())
    raw[position % len(raw)] ^= other
    shard.write_bytes(raw)
    assert store.verify()
    with suppress(DataError):
        assert unpacked(store, version.root) == FILES


EDITS: list[Callable[[dict[str, object]], object]] = [
    lambda document: document.update(items={"a": {"sha256": "0" * 64, "size_bytes": 3}}),
    lambda document: document.update(root="0" * 64),
    lambda document: document.update(number=0),
    lambda document: document.update(format=1),
    lambda document: document.update(more=1),
    lambda document: document.pop("items"),
    lambda document: document.pop("source"),
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_altered_manifest_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, object]], object]
) -> None:
    """A list of files is refused unless it gives the root hash that it is named by."""
    store = Store(tmp_path)
    root = store.add(items(FILES), "here").root
    path = tmp_path / "versions" / f"{root}.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=root):
        store.find(root)
    assert_fault(store.verify(), root)
    path.write_text("not JSON")
    assert_fault(store.verify(), "no manifest")
