"""Promises of the inspection: each image is a sample, each issue is recorded for its check."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError
from mien.task import Inspection
from mien.tasks.emotion import label_lines, yolo
from mien.tasks.emotion.checks import CHECKS
from mien.tasks.emotion.data import examples, prepare
from mien.tasks.emotion.inspection import inspect
from mien.tasks.emotion.params import LABELS, Params
from mien.tasks.emotion.sample import write_sample

from . import yolo_set

GOOD = "4 0.5 0.5 0.4 0.6\n"
REST = {"valid/c.png": GOOD, "test/d.png": GOOD}


def inspected(raw: Path) -> Inspection:
    return inspect(raw, Params(), raw / "cache")


def issues(found: Inspection) -> dict[str, list[str]]:
    return {slug: list(each.names) for slug, each in found.issues.items() if each.names}


@pytest.mark.parametrize("val", ["valid", "val"])
def test_every_picture_is_a_sample(tmp_path: Path, val: str) -> None:
    """Name, split, labels with the largest first, bytes and file; also of a set one folder deep."""
    two = "0 0.2 0.2 0.1 0.1\n6 0.6 0.6 0.5 0.5\n"
    raw = yolo_set.write(tmp_path / "set", {"train/b.png": two, **REST, "test/e.png": ""}, val=val)
    found = inspected(tmp_path)
    result = {each.name: (each.split, each.labels) for each in found.samples}
    assert result == {
        "train/b.png": ("train", ("sad", "anger")),
        "val/c.png": ("val", ("happy",)),
        "test/d.png": ("test", ("happy",)),
        "test/e.png": ("test", ()),
    }
    first = found.samples[0]
    assert first.image_path == raw / "train" / "images" / "b.png"
    assert first.digest == sha256(first.image_path.read_bytes()).hexdigest()
    assert issues(found) == {"empty_label_file": ["test/e.png"]}


def test_every_issue_is_recorded_for_its_check(tmp_path: Path) -> None:
    """One bad file among many stops nothing; each check has its total."""
    files = {
        "train/none.png": None,
        "train/class.png": "9 0.5 0.5 0.4 0.6\n",
        "train/words.png": "five 0.5\n",
        "train/nan.png": "1 nan 0.5 0.4 0.6\n",
        "train/out.png": "1 0.9 0.5 0.4 0.6\n",
        "train/left.png": "1 0.1 0.5 0.4 0.6\n",
        "train/flat.png": "1 0.5 0.5 0 0.6\n",
        "train/whole.png": "1 0.499 0.499 0.999 0.999\n",
    }
    raw = yolo_set.write(tmp_path, {**files, **REST})
    (raw / "train" / "labels" / "nobody.txt").write_text(GOOD)
    (raw / "train" / "labels" / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    found = inspected(raw)
    assert issues(found) == {
        "missing_label_file": ["train/none.png"],
        "orphan_label_file": ["train/labels/bytes.txt", "train/labels/nobody.txt"],
        "unknown_class": ["train/class.png"],
        "malformed_label": ["train/words.png"],
        "box_out_of_bounds": ["train/left.png", "train/nan.png", "train/out.png"],
        "degenerate_box": ["train/flat.png", "train/nan.png"],
        "whole_image_box": ["train/whole.png"],
    }
    assert found.issues["whole_image_box"].total == 8
    assert found.issues["orphan_label_file"].total == 11
    assert list(found.issues) == [check.slug for check in CHECKS]


def test_classes_are_read_whatever_their_spelling(tmp_path: Path) -> None:
    """Mixed case and space around a name are reported and read; an unknown name is reported."""
    names = "[Anger, contempt, disgust, fear, ' happy', neutral, sad, suprise]"
    files = {"train/a.png": "0 0.5 0.5 0.4 0.6\n", "train/b.png": "7 0.5 0.5 0.4 0.6\n", **REST}
    found = inspected(yolo_set.write(tmp_path, files, names))
    assert found.samples[0].labels == ("anger",)
    assert found.samples[2].labels == ("happy",)
    result = issues(found)
    assert result["mixed_case_label"] == ["data.yaml 'Anger'", "data.yaml ' happy'"]
    assert "Did you mean 'surprise'?" in result["unknown_class"][0]
    assert found.issues["unknown_class"].hint == result["unknown_class"][0]
    assert result["unknown_class"][1:] == ["train/b.png"]
    check = next(each for each in CHECKS if each.slug == "unknown_class")
    assert (check.level, check.limit) == ("error", 0)


def test_a_legend_is_held_against_the_labels(tmp_path: Path) -> None:
    """Rows without picture, pictures without row, other words and labels, and contradictions."""
    files = {f"train/{name}.png": GOOD for name in "abef"}
    raw = yolo_set.write(tmp_path, {**files, **REST})
    (raw / "legend_dev.csv").write_text(
        "user.id,image,emotion\n"
        "1,a.jpg,HAPPINESS\n1,b.jpg,sadness\n1,c.jpg,happy\n2,c.jpg,fear\n"
        "1,d.jpg,bored\n3,gone.jpg,happy\n3,,\n1,e.jpg,happy\n"
    )
    found = inspected(raw)
    assert issues(found) == {
        "mixed_case_label": ["legend_dev.csv:2 'HAPPINESS'"],
        "csv_label_mismatch": ["train/b.png"],
        "csv_conflicting_labels": ["val/c.png"],
        "csv_unknown_label": ["legend_dev.csv:6 'bored'", "legend_dev.csv:8 ''"],
        "csv_row_without_image": ["legend_dev.csv:7", "legend_dev.csv:8"],
        "image_without_csv_row": ["train/f.png"],
    }
    assert found.issues["csv_row_without_image"].total == 8
    assert found.issues["image_without_csv_row"].total == 6


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00\n", b'image,emotion\n"a'])
def test_an_unusable_legend_stops_nothing(tmp_path: Path, content: bytes) -> None:
    """Empty, without columns, no text, cut off: the set itself is still surveyed."""
    raw = yolo_set.write(tmp_path, REST | {"train/a.png": GOOD})
    (raw / "legend.csv").write_bytes(content)
    assert len(inspected(raw).samples) == 3


def test_persons_and_sources_are_read_from_names(tmp_path: Path) -> None:
    """People where most files are named so; else the word before the number, unless a label."""
    people = {f"train/Anna_{chr(65 + n)}_000{n % 3}.png": GOOD for n in range(24)}
    found = inspected(yolo_set.write(tmp_path / "people", people | {"train/x7.png": GOOD} | REST))
    result = {each.name: each.person for each in found.samples}
    assert result["train/Anna_B_0001.png"] == "Anna_B"
    assert result["train/x7.png"] == ""
    assert not any("source" in each.metadata for each in found.samples)
    others = {f"train/x{n}.png": GOOD for n in range(30)}
    found = inspected(yolo_set.write(tmp_path / "few", people | others | REST))
    assert {each.person for each in found.samples} == {""}, "most names are no persons'"
    names = ("ffhq_12", "image0003", "happy_0001", "angry_0001")
    files = {f"train/{name}.png": GOOD for name in names}
    found = inspected(yolo_set.write(tmp_path / "sources", files | REST))
    sources = {each.name: each.metadata.get("source") for each in found.samples}
    assert sources["train/ffhq_12.png"] == "ffhq"
    assert sources["train/image0003.png"] == "image"
    assert sources["train/happy_0001.png"] is sources["val/c.png"] is None
    assert sources["train/angry_0001.png"] is None, "a synonym of anger"
    assert {each.metadata["type"] for each in found.samples} == {"PNG"}
    assert {each.person for each in found.samples} == {""}


def test_the_type_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    """Sets are renamed; the content of a file is reported whatever its name says."""
    raw = yolo_set.write(tmp_path, REST | {"train/a.png": GOOD})
    (raw / "train" / "images" / "a.png").rename(raw / "train" / "images" / "a.jpg")
    (raw / "test" / "images" / "d.png").write_bytes(b"<html>")
    assert [each.metadata["type"] for each in inspected(raw).samples] == ["PNG", "PNG", "other"]


def test_what_cannot_be_understood_ends_in_a_message(tmp_path: Path) -> None:
    """No split folders, or a data.yaml that names nothing."""
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="expected a YOLO data set"):
        inspected(tmp_path / "bare")
    with pytest.raises(DataError, match="The classes have no names"):
        inspected(yolo_set.write(tmp_path / "set", {"train/a.png": GOOD} | REST, names="{}"))


def test_samples_are_named_as_examples_are(tmp_path: Path) -> None:
    """What evaluation names can be found in the survey, and the drawn sample has no fault."""
    raw, ready = tmp_path / "raw", tmp_path / "ready"
    raw.mkdir()
    ready.mkdir()
    write_sample(raw, counts={"train": 26, "valid": 26, "test": 9})
    prepare(raw, ready, Params(), tmp_path / "cache")
    found = inspected(raw)
    assert set(issues(found)) == {"empty_label_file"}
    for split in ("val", "test"):
        named = {each.name: each.labels[:1] for each in found.samples if each.split == split}
        assert named == {
            each.name: (each.label,) if each.label else ()
            for each in examples(ready, split)  # type: ignore[arg-type]
        }


@given(st.text(max_size=60))
def test_any_text_is_a_label_file(text: str) -> None:
    """Boxes have five numbers, and every other line is reported as a fault."""
    labels = label_lines.parse(text.encode())
    boxes = [yolo.clip_box(each.box, lambda _: None) for each in labels.boxes]
    for box in boxes:
        if box:
            cx, cy, w, h = box
            assert cx - w / 2 + 1e-9 >= 0
            assert cx + w / 2 <= 1 + 1e-9
            assert 0 < h <= 1
            assert 0 <= cy <= 1
    assert boxes or labels.issues


@pytest.mark.long
def test_the_real_sets_are_told_as_they_are_known_to_be(real_data: Path, tmp_path: Path) -> None:
    """AffectNet has no boxes and two sources; the other set has persons and a messy legend."""
    zipfile.ZipFile(real_data / "emotion" / "affectnet_yolo.zip").extractall(tmp_path / "a")
    zipfile.ZipFile(real_data / "emotion" / "muxspace_yolo.zip").extractall(tmp_path / "m")
    found = inspected(tmp_path / "a")
    assert {slug: len(names) for slug, names in issues(found).items()} == {"whole_image_box": 6408}
    assert {each.metadata["source"] for each in found.samples} == {"ffhq", "image"}
    assert {each.labels[0] for each in found.samples} == set(LABELS)
    found = inspected(tmp_path / "m")
    assert {slug: len(names) for slug, names in issues(found).items()} == {
        "whole_image_box": 34,
        "mixed_case_label": 854,
        "csv_row_without_image": 11382,
    }
    assert len({each.person for each in found.samples}) == 1039
