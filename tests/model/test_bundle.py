"""Promises of `mien.model.bundle`: a bundle is whole and unaltered, or it is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import BundleError, DataError
from mien.model import bundle
from mien.model.bundle import MANIFEST
from mien.model.lineage import Lineage
from mien.storage.files import atomic_dir

LATER = Lineage(seed=1, trained_at="2026-01-02T03:04:05+00:00")


def made(folder: Path) -> Path:
    """A small valid bundle."""
    (folder / "figures").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "figures" / "a.png").write_bytes(b"picture")
    manifest = bundle.describe("gesture", ("a", "b"), "svm", {"input": 3}, lineage=Lineage(seed=1))
    bundle.write(folder, manifest)
    return folder


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**document, **changes}))

    return edit


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (lambda f: (f / "model.onnx").write_bytes(b"Weights"), "differs from its checksum"),
    "cut off": (lambda f: (f / "model.onnx").write_bytes(b"weig"), "differs from its checksum"),
    "missing": (lambda f: (f / "model.onnx").unlink(), "listed but missing"),
    "extra": (lambda f: (f / "more.json").write_text("{}"), "not listed"),
    "pickle": (lambda f: (f / "model.pkl").write_bytes(b"\x80"), "no bundle holds"),
    "link": (lambda f: (f / "l.json").symlink_to("/etc/hostname"), "is a link"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "is no bundle"),
    "no JSON": (lambda f: (f / MANIFEST).write_text("{"), "not readable JSON"),
    "a list": (lambda f: (f / MANIFEST).write_text("[]"), "expected bundle format 3, found None"),
    "old format": (_edit(format=1), "expected bundle format 3, found 1"),
    "unknown key": (_edit(more=2), "more"),
    "other preprocessing": (_edit(preprocessing={"input": 4}), "does not match its hash"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_with_a_reason(tmp_path: Path, kind: str) -> None:
    """Whatever was done to a bundle, opening it names the fault."""
    damage, message = DAMAGE[kind]
    folder = made(tmp_path / "b")
    damage(folder)
    with pytest.raises(BundleError, match=message):
        bundle.read(folder)


def test_the_hash_of_a_model_covers_what_predictions_depend_on(tmp_path: Path) -> None:
    """Labels, preprocessing and networks; not the time of the training, nor figures."""
    first = bundle.read(made(tmp_path / "first"))
    hashes = {first.model_sha256}
    later = made(tmp_path / "later")
    (later / "figures" / "a.png").write_bytes(b"another")
    described = bundle.describe("gesture", ("a", "b"), "svm", {"input": 3}, lineage=LATER)
    again = bundle.write(later, described)
    assert (again.model_sha256, again.digest != first.digest) == (first.model_sha256, True)
    for labels, preprocessing in ((("b", "a"), {"input": 3}), (("a", "b"), {"input": 4})):
        other = bundle.describe("gesture", labels, "svm", preprocessing, lineage=LATER)
        hashes.add(bundle.write(later, other).model_sha256)
    (later / "model.onnx").write_bytes(b"Weights")
    hashes.add(bundle.write(later, described).model_sha256)
    assert len(hashes) == 4


def test_a_bundle_lists_every_file_and_reads_back(tmp_path: Path) -> None:
    """What was written comes back, with size and checksum of every file."""
    opened = bundle.read(made(tmp_path / "b"))
    assert set(opened.manifest.files) == {"model.onnx", "figures/a.png"}
    assert opened.manifest.files["model.onnx"].bytes == 7
    assert opened.manifest.preprocessing == {"input": 3}
    assert opened.megabytes == pytest.approx(14e-6)


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    """A digest depends on content alone, not on place or time."""
    one, two = bundle.read(made(tmp_path / "1")), bundle.read(made(tmp_path / "2"))
    assert one.digest == two.digest


def test_a_damaged_bundle_is_not_copied(tmp_path: Path) -> None:
    """The target of a failed copy is not there, not even in part."""
    folder = made(tmp_path / "b")
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError):
        bundle.copy(folder, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_failed_build_leaves_nothing_and_the_old_one_stays(tmp_path: Path) -> None:
    """An error while a folder is filled leaves what stood there before."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()

    def build() -> None:
        with atomic_dir(tmp_path / "target") as temporary:
            (temporary / "new").touch()
            raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        build()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "old"]
