"""Promises of reading a data set: evidence before guesses, drawn splits, errors with reasons."""

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import config, images
from mien.errors import DataError
from mien.task import SPLITS
from mien.tasks.emotion import dataset
from mien.tasks.emotion.data import prepare
from mien.tasks.emotion.dataset import conversion, drawn_splits
from mien.tasks.emotion.dataset.drawn_splits import Candidate
from mien.tasks.emotion.dataset.file_tree import FileTree
from mien.tasks.emotion.dataset.splits import split_of_folder
from mien.tasks.emotion.inspection import inspect
from mien.tasks.emotion.params import LABELS, Params

from . import drawn_sets, yolo_set
from .drawn_sets import IDS, line

GOOD = "4 0.5 0.5 0.4 0.6\n"
REST = {"valid/c.png": GOOD, "test/d.png": GOOD}


def read(raw: Path, **params: Any) -> dataset.DataSet:
    return dataset.read(raw, Params(**params), raw.parent / "cache")


def touch(root: Path, *paths: str) -> FileTree:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return FileTree(root)


def candidates(count: int, persons: int = 0) -> list[Candidate]:
    return [
        Candidate(f"i{n}", n % 4, f"p{n % persons}" if persons else "", f"digest {n}")
        for n in range(count)
    ]


def test_an_empty_split_says_why_its_files_were_skipped(tmp_path: Path) -> None:
    """The three most common reasons, each with its number, an example file and the line."""
    files: dict[str, str | None] = {
        **{f"train/pixels{n}.png": f"\n4 {100 + n} 90 40 60\n" for n in range(5)},
        **{f"train/none{n}.png": None for n in range(4)},
        **{f"train/flat{n}.png": "4 0.5 0.5 0 0.6\n" for n in range(3)},
        "train/words.png": "five\n",
    }
    raw = yolo_set.write(tmp_path / "set", {**files, **REST})
    for reader in (inspect, lambda *args: prepare(args[0], tmp_path / "ready", *args[1:])):
        with pytest.raises(DataError) as refused:
            reader(raw, Params(), tmp_path / "cache")
        message = str(refused.value)
        assert message.startswith("train: expected images with a usable label, found none among 13")
        assert "5 malformed_label (train/labels/pixels0.txt:2: " in message
        assert "pixels" in message
        assert "4 missing_label_file (train/images/none0.png: " in message
        assert "3 degenerate_box (train/labels/flat0.txt:1: " in message
        assert "words" not in message, "only the top three"


def test_unreadable_images_are_a_reason_too(tmp_path: Path) -> None:
    """What only decoding shows is found by `prepare`."""
    raw = yolo_set.write(tmp_path / "set", {"train/a.png": GOOD, **REST})
    (raw / "test" / "images" / "d.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"test: .*1 unreadable \(test/images/d\.png: "):
        prepare(raw, tmp_path / "ready", Params(), tmp_path / "cache")


@pytest.mark.parametrize("persons", [0, 7])
def test_a_drawn_split_is_the_same_whatever_the_order(persons: int) -> None:
    """Contents decide: not the order of files, and only a few move when images are added."""
    pool = candidates(200, persons)
    drawn = {pool[index].digest for index in drawn_splits.draw(pool, 1)}
    shuffled = pool.copy()
    random.Random(1).shuffle(shuffled)
    assert {shuffled[index].digest for index in drawn_splits.draw(shuffled, 1)} == drawn
    assert 20 <= len(drawn) <= 60
    if not persons:
        labels = [each.label for each in pool if each.digest in drawn]
        assert {label: labels.count(label) for label in range(4)} == dict.fromkeys(range(4), 8)
        grown = candidates(220)
        again = {grown[index].digest for index in drawn_splits.draw(grown, 1)}
        assert len(drawn & again) >= 24


@pytest.mark.parametrize(
    "pool",
    [
        [Candidate(f"i{n}", 0, f"p{n // 5}", f"d{n}") for n in range(40)],
        [Candidate(f"i{n}", n % 2, "", f"d{n // 2}") for n in range(40)],
        [Candidate(f"photo{n // 3}_jpg.rf.0a{n}", 0, "", f"d{n}") for n in range(42)],
    ],
    ids=["persons", "copies", "Roboflow's versions"],
)
def test_what_belongs_together_stays_together(pool: Sequence[Candidate]) -> None:
    """No person, copy or augmented version of a photo is on both sides."""
    drawn = set(drawn_splits.draw(pool, 1))
    assert 0 < len(drawn) < len(pool) / 2

    def sides(key: str) -> set[bool]:
        return {index in drawn for index, each in enumerate(pool) if key_of(each) == key}

    def key_of(each: Candidate) -> str:
        return each.person or (each.stem.partition("_")[0] if "rf" in each.stem else each.digest)

    assert all(len(sides(key_of(each))) == 1 for each in pool)


def test_train_is_never_emptied() -> None:
    """Of one group nothing is drawn; of two, one stays."""
    assert drawn_splits.draw([Candidate("a", 0, "", "d")] * 5, 1) == []
    assert len(drawn_splits.draw(candidates(8), 1)) == 4
    assert drawn_splits.draw(candidates(8), 2) == []


def test_a_set_that_is_too_small_to_draw_from_is_refused(tmp_path: Path) -> None:
    """The message says what is missing and how many images would do."""
    raw = yolo_set.write(tmp_path / "set", {"train/a.png": GOOD, "valid/c.png": GOOD})
    with pytest.raises(DataError, match=r"test: expected a split, or enough images .*found 1 im"):
        read(raw)


def test_a_split_that_names_the_images_of_another_is_reported(tmp_path: Path) -> None:
    """`val: train/images` is read as it says; the check of leakage then fails."""
    drawn_sets.draw(tmp_path / "set", order=IDS)
    head = "train: train/images\nval: train/images\ntest: test/images\n"
    drawn_sets.names(tmp_path / "set", head, IDS)
    inspection = inspect(tmp_path / "set", Params(), tmp_path / "cache")
    digests = {
        split: {each.digest for each in inspection.samples if each.split == split}
        for split in SPLITS
    }
    assert digests["train"] == digests["val"]
    assert inspection.issues["image_outside_splits"].names


def test_labels_that_a_source_does_not_name_are_not_expected(tmp_path: Path) -> None:
    """The check of empty classes looks at the seven that a set of seven names."""
    drawn_sets.seven(tmp_path)
    inspection = inspect(tmp_path, Params(), tmp_path / "cache")
    assert inspection.labels == tuple(label for label in LABELS if label != "contempt")


def test_the_setting_for_an_unknown_class_can_be_pasted(tmp_path: Path) -> None:
    """It names every class in use that the task does not know, quoted as YAML needs it."""
    drawn_sets.draw(tmp_path, order=(*IDS[:6], "contempt", "anger", "x", "y"))
    drawn_sets.names(tmp_path, order=(*IDS[:6], "Not, sure", "on"))
    issues = inspect(tmp_path, Params(), tmp_path / "cache").issues["unknown_class"]
    assert issues.setting == "params.ignore_labels=['8', '9', 'not, sure', 'on']"
    others = Params(ignore_labels=("sad", "on"))
    more = inspect(tmp_path, others, tmp_path / "cache").issues["unknown_class"]
    assert more.setting == "params.ignore_labels=['8', '9', 'not, sure', 'on', sad]"
    accepted = Params(ignore_labels=("8", "9", "not, sure", "on"))
    assert not inspect(tmp_path, accepted, tmp_path / "cache").issues["unknown_class"].names
    (tmp_path / "ready").mkdir()
    report = prepare(tmp_path, tmp_path / "ready", accepted, tmp_path / "cache")
    assert report.skipped == {"ignored_label": 12}


def test_a_misspelled_class_to_ignore_is_refused(tmp_path: Path) -> None:
    """A label of the task may be ignored though the set does not name it."""
    drawn_sets.seven(tmp_path)
    inspect(tmp_path, Params(ignore_labels=("contempt", "sad")), tmp_path / "cache")
    for label in ("hapyp", "7"):
        with pytest.raises(DataError, match=f"no box has the label '{label}'"):
            inspect(tmp_path, Params(ignore_labels=(label,)), tmp_path / "cache")


def test_paths_of_other_machines_are_matched_by_their_end(tmp_path: Path) -> None:
    """By the longest ending, only where one path has it, and whatever the case."""
    tree = touch(tmp_path, "a/train/images/x.jpg", "a/valid/images/x.jpg", "b/Faces/y.JPG")
    assert tree.folder_ending("/content/a/train/images") == "a/train/images"
    assert tree.folder_ending("C:\\data\\VALID\\images") == "a/valid/images"
    assert tree.folder_ending("elsewhere/images") is None, "two folders have this end"
    assert tree.folder_ending("old/faces") == "b/Faces"
    assert tree.folder_ending("old/faces", min_parts=2) is None
    assert tree.file("b/faces/Y.jpg") == "b/Faces/y.JPG"
    assert tree.below("a/train") == ("a/train/images/x.jpg",)


def test_many_yaml_files_are_not_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets with a YAML file for each image exist; those nearest to the top describe the set."""
    drawn_sets.usual()(tmp_path)
    for number in range(200):
        path = tmp_path / "annotations" / f"{number}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("names: [a, b]\n")
    (tmp_path / "large.yaml").write_text("names: [a]\n" + "# more\n" * 200_000)
    loads: list[str] = []
    parse_yaml = config.parse_yaml
    monkeypatch.setattr(config, "parse_yaml", lambda text: loads.append(text) or parse_yaml(text))
    assert read(tmp_path).classes.origin == "data.yaml"
    assert 0 < len(loads) < 60
    assert max(map(len, loads)) < 1_000_000


def test_a_label_file_that_is_called_as_a_list_names_nothing(tmp_path: Path) -> None:
    """`classes.jpg` has a label file `classes.txt`."""
    drawn_sets.usual()(tmp_path)
    for kind, suffix in (("images", ".png"), ("labels", ".txt")):
        path = tmp_path / "train" / kind / f"happy_train_0{suffix}"
        path.rename(path.with_stem("classes"))
    data = read(tmp_path)
    assert data.classes.origin == "data.yaml"
    assert data.notes == ()


def test_lines_of_a_list_without_an_image_are_counted(tmp_path: Path) -> None:
    """A list of another state of the set is used as far as it goes, and that is said."""
    drawn_sets.image_lists(tmp_path)
    next((tmp_path / "images").glob("happy_train*")).unlink()
    data = read(tmp_path)
    assert len(data.images["train"]) == 7
    assert "train.txt: 1 of 8 lines name no image of the source." in data.notes
    assert data.orphans == ("labels/happy_train_0.txt",)


def test_a_missing_split_is_not_that_of_another_folder(tmp_path: Path) -> None:
    """`../test/images` without such a folder is not the only `images` that is there."""
    drawn_sets.draw(tmp_path, splits=["train"], each=4)
    drawn_sets.names(
        tmp_path, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    )
    counts = {split: len(of_split) for split, of_split in read(tmp_path).images.items()}
    assert counts == {"train": 16, "val": 8, "test": 8}


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("val2017", "val"), ("VALID", "val")),
        *(("validation", "val"), ("test_set", "test"), ("obj_train_data", "train")),
        *(("images_train", "train"), ("dev", "val")),
        *(("testing", "test"), ("images", None), ("trainer", None), ("contest", None)),
        *(("train_extra", None), ("2017", None)),
    ],
)
def test_folders_that_name_a_split(folder: str, split: str | None) -> None:
    """In any case, with the usual additions and no others."""
    assert split_of_folder(folder) == split


def test_a_label_file_of_another_split_is_not_taken(tmp_path: Path) -> None:
    """An image without a label file stays without, whatever has the same name elsewhere."""
    raw = yolo_set.write(tmp_path / "set", {"train/a.png": GOOD, "valid/a.png": None, **REST})
    images_of_val = {each.name: each.label_source for each in read(raw).images["val"]}
    assert images_of_val == {"val/a.png": None, "val/c.png": "valid/labels/c.txt"}


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "PPM"])
def test_converted_images_have_the_same_pixels(tmp_path: Path, kind: str) -> None:
    """And are converted once for each content."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).quantize(64)
    path = tmp_path / "x.dat"
    path.write_bytes(encoded(picture.convert("RGB") if kind == "PPM" else picture, kind))
    converted, image_type = conversion.readable_path(path, tmp_path / "cache")
    assert image_type == kind
    read_pixels = images.decode(converted.read_bytes())
    assert (read_pixels == np.asarray(picture.convert("RGB"))).all()
    before = converted.stat().st_mtime_ns
    assert conversion.readable_path(path, tmp_path / "cache") == (converted, kind)
    assert converted.stat().st_mtime_ns == before


def test_orientation_and_modes_survive_the_conversion(tmp_path: Path) -> None:
    """A turned TIFF is upright, CMYK is read as colours, 16-bit grey keeps its brightness."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.new("RGB", (40, 20), "red")
    turned.paste("blue", (0, 0, 20, 20))
    grey = Image.fromarray(np.full((20, 20), 65535 // 2, np.uint16))
    files = {
        "turned.tif": encoded(turned, "TIFF", exif=exif),
        "cmyk.tif": encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "TIFF"),
        "grey.tif": encoded(grey, "TIFF"),
    }
    pixels = {}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        converted, _ = conversion.readable_path(tmp_path / name, tmp_path / "cache")
        pixels[name] = images.decode(converted.read_bytes())
    assert pixels["turned.tif"].shape == (40, 20, 3)
    assert pixels["turned.tif"][5, 5].tolist() == [0, 0, 255]
    assert pixels["cmyk.tif"][5, 5].tolist() == pytest.approx([255, 0, 0], abs=40)
    assert pixels["grey.tif"][5, 5].tolist() == pytest.approx([127] * 3, abs=1)


def test_what_cannot_be_converted_stays_and_is_counted(tmp_path: Path) -> None:
    """Floats without a unit, damaged files and other bytes have the type `other`."""
    files = {
        "float.tif": encoded(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF"),
        "cut.bmp": encoded(Image.new("RGB", (20, 20)), "BMP")[:40],
        "page.tif": b"<html>",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        path = tmp_path / name
        assert conversion.readable_path(path, tmp_path / "cache") == (path, "other")


def test_two_files_of_one_name_stay_two_images(tmp_path: Path) -> None:
    """Each with its own labels, under a name that no other image has."""
    for name, number in (("a/x", 4), ("b/x", 6), ("b/x_2", 5)):
        drawn_sets.draw(
            tmp_path,
            f"{{split}}/images/{name}.png",
            f"{{split}}/labels/{name}.txt",
            order=["happy"],
            to_line=lambda _, number=number: line(number),
        )
    drawn_sets.names(tmp_path)
    (tmp_path / "ready").mkdir()
    report = prepare(tmp_path, tmp_path / "ready", Params(), tmp_path / "cache")
    assert {label: count for label, count in report.counts["train"].items() if count} == {
        "happy": 1,
        "neutral": 1,
        "sad": 1,
    }
    labels = tmp_path / "ready" / "train" / "labels"
    assert {path.name: path.read_text()[0] for path in labels.iterdir()} == {
        "x.txt": "4",
        "x_2.txt": "6",
        "x_2_2.txt": "5",
    }
