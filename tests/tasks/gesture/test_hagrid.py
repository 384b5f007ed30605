"""HaGRID's annotation files, in both of their forms, end as rows with honest depths."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import pipeline
from mien.config import RunConfig
from mien.errors import DataError
from mien.model import bundle
from mien.stages.data import read_report
from mien.storage.workspace import Workspace, read_latest
from mien.task import SPLITS, DataReport
from mien.tasks.gesture import data, depth, hagrid, table
from mien.tasks.gesture.data import prepare
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.sample import landmark_rows

from .table_forms import hagrid_annotations
from .tables import LABELS, PER_LABEL

SQUARE = Params(aspect_ratio=1.0)
Entry = dict[str, Any]


def entries(
    labels: Sequence[str] = HAGRID_LABELS, per_label: int = 6, seed: int = 3
) -> dict[str, Entry]:
    """Pictures with one hand each, in shares of 4000 x 4000 pixels."""
    hands, given_labels = landmark_rows(per_label, seed)
    return {
        f"picture{number}": {
            "bboxes": [[0.1, 0.1, 0.2, 0.2]],
            "labels": [label],
            "hand_landmarks": [(hand[:, :2] / 4000).tolist()],
            "user_id": f"user{number % 17}",
            "meta": {"age": [30.0]},
        }
        for number, (hand, label) in enumerate(zip(hands, given_labels, strict=True))
        if label in labels
    }


def write(document: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def prepared(home: Path, params: Params = SQUARE) -> DataReport:
    (home / "ready").mkdir(exist_ok=True)
    return prepare(home / "raw", home / "ready", params, home / "cache")


def part_of(document: Any, folder: Path) -> table.SourceTable:
    path = write(document, folder / "like.json")
    return hagrid.read_annotations({path: path.name}, {path: ""})


def test_every_hand_is_a_row_and_nobody_is_in_two_splits(tmp_path: Path) -> None:
    """One file for each gesture, divided by user."""
    for label in HAGRID_LABELS:
        write(entries([label]), tmp_path / "raw" / f"{label}.json")
    report = prepared(tmp_path)
    assert sum(sum(each.values()) for each in report.counts.values()) == 6 * len(HAGRID_LABELS)
    users = [set(data.read_split(tmp_path / "ready", split).users) for split in SPLITS]
    assert sum(map(len, users)) == len(set.union(*users)) == 17
    names = data.read_split(tmp_path / "ready", "train").names
    assert all(name.partition(":")[0].removesuffix(".json") in HAGRID_LABELS for name in names)
    assert any("HaGRID's annotations" in note for note in report.notes)


def test_the_first_release_is_read(tmp_path: Path) -> None:
    """Its key is `landmarks`; `no_gesture` marks the hand that is not the leading one."""
    document = entries(["like"], 1)
    (entry,) = document.values()
    hand = entry.pop("hand_landmarks")[0]
    entry |= {"landmarks": [[], hand], "labels": ["no_gesture", "like"], "leading_hand": "left"}
    rest, like = part_of(document, tmp_path).rows
    assert (rest.label, rest.landmarks, rest.skip_reason) == (
        "no_gesture",
        None,
        hagrid.MISSING_LANDMARKS,
    )
    assert like.facts["handedness"] == "Left"
    assert "handedness" not in rest.facts
    assert like.name == f"like.json:{next(iter(document))}:2"
    assert like.landmarks is not None
    np.testing.assert_array_equal(like.landmarks[:, :2], np.array(hand))


def test_hands_without_a_gesture_are_left_out_and_rare_labels_refused(tmp_path: Path) -> None:
    """As in tables; the message has the param that leaves out rare labels."""
    document = entries()
    document["other"] = dict(entries(["like"], 1)["picture4"], labels=["no_gesture"])
    document["heart"] = dict(document["other"], labels=["hand_heart"])
    write(document, tmp_path / "raw" / "all.json")
    with pytest.raises(
        DataError, match=r"1 of 'hand_heart'.*ignore_labels=\[no_gesture, none, hand_heart\]"
    ):
        prepared(tmp_path)
    params = Params(aspect_ratio=1.0, ignore_labels=("no_gesture", "hand_heart"))
    assert prepared(tmp_path, params).skipped == {"ignored_label": 2}


def test_the_aspect_ratio_is_the_usual_one_unless_it_is_given(tmp_path: Path) -> None:
    """Annotations do not contain it, and x and y are fractions of the two sides."""
    write(entries(), tmp_path / "raw" / "all.json")
    report = prepared(tmp_path, Params())
    assert "x was multiplied by 0.75, the usual width / height there" in report.notes[0]
    report = prepared(tmp_path, Params(aspect_ratio=0.5))
    assert "x was multiplied by params.aspect_ratio = 0.5" in report.notes[0]


def test_hands_without_landmarks_are_counted(tmp_path: Path) -> None:
    """Empty lists, null, and lists that do not fit the labels."""
    document = entries()
    names = list(document)[::7]  # of different labels
    document[names[0]]["hand_landmarks"] = [[]]
    document[names[1]]["hand_landmarks"] = None
    document[names[2]]["hand_landmarks"] = [None]
    document[names[3]]["hand_landmarks"] *= 2
    write(document, tmp_path / "raw" / "all.json")
    assert prepared(tmp_path).skipped == {"missing_landmarks": 3, "missing_values": 1}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "val", "test"), (1, 1, 1)),
        (("ann_train_val", "ann_test"), (1, 0, 1)),
        (("hagrid/annotations/train", "hagrid/annotations/test"), (1, 0, 1)),
        (("train", "train/more"), None),
    ],
)
def test_splits_of_folders_are_used(
    tmp_path: Path, folders: Sequence[str], expected: tuple[int, ...] | None
) -> None:
    """As HaGRID is packed; val is taken from train where there is none, and one folder is none."""
    rows: dict[str, int] = {}
    for number, folder in enumerate(folders):
        write(entries(seed=number), tmp_path / "raw" / folder / "all.json")
        rows[folder] = 6 * len(HAGRID_LABELS)
    report = prepared(tmp_path)
    found = {split: sum(report.counts[split].values()) for split in SPLITS}
    if expected is None:
        assert any("by user" in note for note in report.notes)
        return
    assert found["test"] == rows[folders[-1]]
    assert found["train"] + found["val"] == sum(rows.values()) - found["test"]
    assert (found["val"] == rows[folders[0]]) == bool(expected[1])


def test_a_missing_depth_is_imputed(tmp_path: Path) -> None:
    """A classifier must not learn that depth is 0, which it never is in serving."""
    write(entries(), tmp_path / "raw" / "all.json")
    report = prepared(tmp_path)
    assert any(depth.IMPUTED_DEPTH_NOTE in note for note in report.notes)
    depths = data.read_split(tmp_path / "ready", "train").landmarks[:, :, 2]
    assert (np.abs(depths).max(axis=1) > 0).all()
    assert len({row.tobytes() for row in depths}) > len(depths) // 2


def test_equal_hands_get_the_same_depth() -> None:
    """In any table: copies stay copies, and x and y do not change."""
    hands, _ = landmark_rows(3, 1)
    flat = hands * [1, 1, 0]
    assert depth.has_no_depth(flat)
    assert not depth.has_no_depth(hands)
    one, other = depth.impute_depth(flat), depth.impute_depth(flat[::-1])[::-1]
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[:, :, :2], flat[:, :, :2])
    assert not flat[:, :, 2].any(), "the given hands were changed"


def test_other_json_is_no_annotation(tmp_path: Path) -> None:
    """A settings file beside the data is ignored."""
    write({"name": "x", "labels": ["a"]}, tmp_path / "raw" / "package.json")
    assert hagrid.find_annotations(tmp_path / "raw") == []
    write(entries(["like"], 1), tmp_path / "raw" / "b" / "like.json")
    assert [path.name for path in hagrid.find_annotations(tmp_path / "raw")] == ["like.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"bboxes": [], "labels": ["li', "found a file that cannot be read"),
        ('[{"bboxes": 1, "labels": 1}]', "object"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    """A truncated download is an error."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "like.json").write_text(text)
    with pytest.raises(DataError, match=rf"like\.json.*{message}"):
        prepared(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
keys = st.sampled_from(
    ["bboxes", "labels", "hand_landmarks", "landmarks", "user_id", "leading_hand"]
)


@given(st.dictionaries(st.text(max_size=5), st.dictionaries(keys, values, max_size=6), max_size=4))
def test_lists_with_any_content_become_rows(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Entry]
) -> None:
    """No JSON value is a traceback; landmarks are 21 finite pairs or None."""
    part = part_of(document, tmp_path_factory.mktemp("any"))
    for row in part.rows:
        assert (row.landmarks is None) == bool(row.skip_reason)
        assert row.landmarks is None or (
            row.landmarks.shape == (21, 3) and np.isfinite(row.landmarks).all()
        )


@pytest.mark.long
@pytest.mark.parametrize(
    ("pattern", "key"),
    [("ann_{split}/{label}.json", "landmarks"), ("{split}/{label}.json", "hand_landmarks")],
)
def test_a_whole_run_needs_no_setting(tmp_path: Path, pattern: str, key: str) -> None:
    """From HaGRID's annotations of 2022 and of 2024 to a registered model of their gestures."""
    hagrid_annotations(pattern, key)(tmp_path / "raw")
    run = RunConfig(
        name="hagrid",
        task="gesture",
        source=str(tmp_path / "raw"),
        params={"candidates": ["logistic_regression"], "accept_images": False},
    )
    workspace = Workspace(tmp_path / "home")
    done = pipeline.run(run, workspace, force="test").registered
    assert done.fresh
    manifest = bundle.read(workspace.version("gesture", 1)).manifest
    assert manifest.labels == LABELS
    report = read_report(read_latest(workspace.processed("gesture"), "hagrid", ""))
    assert report.skipped == {"ignored_label": len(LABELS) * PER_LABEL}
