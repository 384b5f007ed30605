"""Promises of the data stage: any usual form of a source is taken, any other ends in a message."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import tasks
from mien.config import RunConfig
from mien.errors import DataCheckError, DataError
from mien.model import bundle
from mien.model.lineage import Lineage
from mien.stages import Run, data
from mien.stages.data import versions
from mien.storage.versions import Store
from mien.storage.workspace import Workspace
from mien.task import DataReport

Maker = Callable[[Path], Path]
LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def yolo(folder: Path, val: str = "valid", suffix: str = "png", copies: int = 1) -> Path:
    """A tiny YOLO data set: one picture of noise for each class and split."""
    rng = np.random.default_rng(0)
    for split in ("train", val, "test"):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        for number, label in enumerate(LABELS * copies):
            pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            name = f"{label}{number}"
            Image.fromarray(pixels).save(folder / split / "images" / f"{name}.{suffix}")
            line = f"{LABELS.index(label)} 0.5 0.5 0.4 0.6\n"
            (folder / split / "labels" / f"{name}.txt").write_text(line)
    names = ", ".join(LABELS)
    (folder / "data.yaml").write_text(f"train: ../train/images\nnc: 8\nnames: [{names}]\n")
    return folder


def zipped(folder: Path, target: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(inside) / path.relative_to(folder))
    return target


def prepared(source: Path | str, home: Path) -> DataReport:
    run = RunConfig(name="run", task="emotion", source=str(source))
    return data.read_report(data.data(Run.resolve(run, Workspace(home))).folder)


@pytest.mark.parametrize("form", ["folder", "zip", "nested zip", "nested folder"])
@pytest.mark.parametrize(("val", "suffix"), [("valid", "png"), ("val", "jpg")])
def test_every_usual_form_is_taken(tmp_path: Path, form: str, val: str, suffix: str) -> None:
    """Folder or zip, at the top or one folder deep, `valid` or `val`, png or jpg."""
    inside = "set" if "nested" in form else ""
    yolo(tmp_path / "source" / inside, val, suffix)
    source = tmp_path / "source"
    if "zip" in form:
        source = zipped(source, tmp_path / "source.zip")
    report = prepared(source, tmp_path / "home")
    assert {split: sum(counts.values()) for split, counts in report.counts.items()} == {
        "train": 8,
        "val": 8,
        "test": 8,
    }
    assert report.skipped == {}


def test_a_zip_and_its_folder_have_the_same_fingerprint(tmp_path: Path) -> None:
    """The fingerprint is that of the data, not of the way they came."""
    folder = yolo(tmp_path / "set")
    archive = zipped(folder, tmp_path / "set.zip")
    runs = [RunConfig(name="r", task="emotion", source=str(s)) for s in (folder, archive)]
    one, two = (data.data(Run.resolve(run, Workspace(tmp_path / "home"))) for run in runs)
    assert one.fingerprint == two.fingerprint
    assert (one.fresh, two.fresh) == (True, False)


def test_an_unchanged_source_is_not_prepared_again(tmp_path: Path) -> None:
    """The second time nothing is written; a changed label makes another version."""
    folder = yolo(tmp_path / "set")
    run = RunConfig(name="run", task="emotion", source=str(folder))
    home = Workspace(tmp_path / "home")
    first = data.data(Run.resolve(run, home))
    assert not data.data(Run.resolve(run, home)).fresh
    (folder / "train" / "labels" / "anger0.txt").write_text("1 0.5 0.5 0.4 0.6\n")
    changed = data.data(Run.resolve(run, home))
    assert changed.fresh
    assert changed.fingerprint != first.fingerprint
    assert first.folder.is_dir()


def test_unusable_files_are_skipped_and_counted(tmp_path: Path) -> None:
    """One bad file among many stops nothing; it is counted by the check that reports it."""
    folder = yolo(tmp_path / "set", copies=2)
    images, labels = folder / "train" / "images", folder / "train" / "labels"
    (images / "anger0.png").write_bytes(b"not a picture")
    (labels / "contempt1.txt").unlink()
    (labels / "disgust2.txt").write_text("")
    (labels / "fear3.txt").write_text("3 0.9 0.5 0.4 0.6\n")
    (labels / "happy4.txt").write_text("4 0.5 0.5 0.0 0.6\n")
    (labels / "neutral5.txt").write_text("five 0.5\n")
    (labels / "sad6.txt").write_text("inf 0.5 0.5 0.1 0.1\n")
    (labels / "nobody.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    report = prepared(folder, tmp_path / "home")
    assert report.skipped == {
        "unreadable": 1,
        "missing_label_file": 1,
        "malformed_label": 2,
        "degenerate_box": 1,
    }
    assert sum(report.counts["train"].values()) == 16 - 6


def test_a_file_that_nobody_counted_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage compares the task's account with the version; users read the account."""
    report = prepared(yolo(tmp_path / "set"), tmp_path / "home")
    assert report.files == {"images used": 24, "label files used": 24, "names and splits": 1}
    task = tasks.load("emotion")

    def forgetful(*arguments: Any) -> DataReport:
        whole = task.data.prepare(*arguments)
        return replace(whole, files={**whole.files, "images used": 23})

    forgetting = replace(task, data=replace(task.data, prepare=forgetful))
    monkeypatch.setattr(tasks, "load", lambda _: forgetting)
    with pytest.raises(RuntimeError, match="report has 48 files, and the version 49"):
        prepared(tmp_path / "set", tmp_path / "other")


def test_class_numbers_follow_data_yaml(tmp_path: Path) -> None:
    """Another order of names, or names by number, means other labels for the same numbers."""
    folder = yolo(tmp_path / "set")
    turned = dict(enumerate(reversed(LABELS)))
    (folder / "data.yaml").write_text(f"names: {json.dumps(turned)}\n")
    report = prepared(folder, tmp_path / "home")
    assert report.counts["train"] == dict.fromkeys(LABELS, 1)
    (folder / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"--set params\.names=affectnet8"):
        prepared(folder, tmp_path / "home")


def _outside(folder: Path) -> Path:
    path = zipped(yolo(folder / "set"), folder / "bad.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.txt", "gotcha")
    return path


def _cut(folder: Path) -> Path:
    path = zipped(yolo(folder / "set"), folder / "cut.zip")
    raw = bytearray(path.read_bytes())
    raw[200:260] = bytes(60)
    path.write_bytes(raw)
    return path


def _empty(folder: Path) -> Path:
    (folder / "empty.zip").touch()
    return folder / "empty.zip"


def _bare(folder: Path) -> Path:
    (folder / "bare").mkdir()
    return folder / "bare"


def _edited(name: str, text: str) -> Maker:
    def make(folder: Path) -> Path:
        source = yolo(folder / "set")
        (source / name).write_text(text)
        return source

    return make


def _without(name: str) -> Maker:
    def make(folder: Path) -> Path:
        source = yolo(folder / "set")
        shutil.rmtree(source / name)
        return source

    return make


BAD: dict[str, tuple[Maker, str]] = {
    "absent": (lambda folder: folder / "absent.zip", "does not exist"),
    "empty file": (_empty, "is empty"),
    "empty folder": (_bare, "holds no file"),
    "outside": (_outside, "outside its folder"),
    "damaged zip": (_cut, "cannot be unpacked"),
    "no split": (_without("train"), "expected a YOLO data set"),
    "too few to draw a test split": (_without("test"), "test: expected a split"),
    "unknown class": (_edited("data.yaml", "names: [hapy]\n"), "Did you mean 'happy'"),
    "no names": (_edited("data.yaml", "nc: 8\n"), "The classes have no names"),
    "numbers from 1": (
        _edited("data.yaml", "names: {1: anger, 2: fear}\n"),
        "expected classes 0 to 1",
    ),
    "no YAML": (_edited("data.yaml", "a: [\n"), "not readable YAML"),
    "repeated lists": (_edited("data.yaml", "names: &a [x]\ntrain: [*a, *a]\n"), "write it out"),
    "class number": (
        _edited("train/labels/anger0.txt", "8 0.5 0.5 0.1 0.1"),
        "classes 0 to 7, .*found 8",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_source_ends_in_a_message_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """The message says what was found and what to do; no half-written folder stays behind."""
    make, message = BAD[kind]
    source = make(tmp_path)
    with pytest.raises(DataError, match=message):
        prepared(source, tmp_path / "home")
    assert not list((tmp_path / "home").glob("data/processed/emotion/*"))
    assert not list((tmp_path / "home").rglob(".*"))
    assert not (tmp_path / "evil.txt").exists()
    assert not list((tmp_path / "home").rglob("evil.txt"))


def test_what_is_not_understood_is_not_the_newest(tmp_path: Path) -> None:
    """The next run without a source goes on with what it had."""
    workspace = Workspace(tmp_path / "home")
    run = RunConfig(name="run", task="emotion")

    def fetched(source: Path) -> str:
        other = run.model_copy(update={"source": str(source)})
        return data.data(Run.resolve(other, workspace)).fingerprint

    for good in (None, yolo(tmp_path / "good")):
        if good:
            first = fetched(good)
        with pytest.raises(DataError, match="expected a YOLO data set"):
            fetched(_without("train")(tmp_path / f"bad {good is None}"))
        assert Store(workspace.raw("emotion")).latest_root == (first if good else "")


def test_a_refused_source_is_marked_and_can_be_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mien data log` says why; what others share stays, and so do the data of a model."""
    workspace = Workspace(tmp_path / "home")
    store = Store(workspace.raw("emotion"))

    def fetched(source: Path) -> None:
        run = RunConfig(name="run", task="emotion", source=str(source))
        data.data(Run.resolve(run, workspace))

    source = yolo(tmp_path / "good")
    fetched(source)
    with pytest.raises(DataError, match="expected a YOLO data set"):
        fetched(_without("train")(tmp_path / "bad"))
    good, bad = store.versions()
    assert list(store.refused()) == [bad.root]
    versions.log("emotion", workspace)
    shown = capsys.readouterr().out
    assert "version 2 was refused" in shown
    assert "`mien data forget emotion 2`" in shown
    with pytest.raises(DataError, match=r"Version 2 of emotion was refused.*--source @2"):
        versions.checkout("emotion", "2", None, workspace)
    with pytest.raises(DataError, match=r"Version 1 is the latest.*mien data checkout"):
        versions.forget("emotion", "1", workspace)
    trained = workspace.version("emotion", 7)
    trained.mkdir(parents=True)
    origin = Lineage(data_fingerprint=bad.root)
    bundle.write(trained, bundle.describe("emotion", ("a", "b"), "c", {}, lineage=origin))
    with pytest.raises(DataError, match="Version 2 is the data of mien-emotion version 7"):
        versions.forget("emotion", "2", workspace)
    shutil.rmtree(trained)
    versions.forget("emotion", "2", workspace)
    assert store.versions() == [good]
    assert store.refused() == {}
    assert store.verify() == []
    fetched(source)


def test_a_version_that_is_read_later_is_no_longer_refused(tmp_path: Path) -> None:
    """By another version of mien, or with other params."""
    workspace = Workspace(tmp_path / "home")
    store = Store(workspace.raw("emotion"))
    run = Run.resolve(
        RunConfig(name="run", task="emotion", source=str(yolo(tmp_path / "set"))), workspace
    )
    version, _ = data.fetch(run)
    store.set_refused(version.root, "not understood")
    data.data(run)
    assert store.refused() == {}


def test_what_fails_a_gate_is_the_newest(tmp_path: Path) -> None:
    """It is understood, and `--fix` mends that very version."""
    workspace = Workspace(tmp_path / "home")
    run = RunConfig(name="run", task="emotion", source=str(yolo(tmp_path / "set")))
    resolved = Run.resolve(run, workspace)
    version, _ = data.fetch(resolved)
    with pytest.raises(DataCheckError), data.accept_if_readable(resolved, version):
        raise DataCheckError("a check")
    assert Store(workspace.raw("emotion")).latest_root == version.root


def test_a_version_whose_reading_was_interrupted_is_not_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between the fetch of a source and its refusal leaves `@` as it was; the
    next use of the version reads it again."""
    workspace, task = Workspace(tmp_path / "home"), tasks.load("emotion")
    store = Store(workspace.raw("emotion"))
    config = RunConfig(name="run", task="emotion")

    def use(source: str | None) -> str:
        chosen = config.model_copy(update={"source": source})
        return data.data(Run.resolve(chosen, workspace)).fingerprint

    def killed(*_: object) -> DataReport:
        raise SystemExit(137)

    good, bad = yolo(tmp_path / "good"), _without("train")(tmp_path / "bad")
    with monkeypatch.context() as patch:
        reading = replace(task, data=replace(task.data, prepare=killed))
        patch.setattr(tasks, "load", lambda _: reading)
        with pytest.raises(SystemExit):
            use(str(good))
    assert (store.latest_root, len(store.versions())) == ("", 1)
    with pytest.raises(DataError, match="--source @1 reads again"):
        use(None)
    first = use("@1")
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "load", lambda _: reading)
        with pytest.raises(SystemExit):
            use(str(bad))
    assert store.latest_root == first == use(None)
    with pytest.raises(DataError, match="expected a YOLO data set"):
        use("@2")
    assert list(store.refused()) == [store.find("2").root]
    assert store.latest_root == first == use(None)


def test_no_source_says_how_to_give_one(tmp_path: Path) -> None:
    """A config without a source and no --source: the first thing that one gets wrong."""
    with pytest.raises(DataError, match="--source"):
        data.data(Run.resolve(RunConfig(name="run", task="emotion"), Workspace(tmp_path)))


@pytest.mark.long
def test_affectnet_is_prepared_in_full(real_data: Path, tmp_path: Path) -> None:
    """The real set: nothing is skipped."""
    report = prepared(real_data / "emotion" / "affectnet_yolo.zip", tmp_path)
    assert report.skipped == {}
    assert report.counts["test"] == dict.fromkeys(LABELS, 80)
