"""The recording: what is stored, how it is split, and that it is whole at every moment."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import RequestError
from mien.stages.studio import recording
from mien.stages.studio.recording import Recording, splits
from mien.tasks.gesture import data
from mien.tasks.gesture.columns import COLUMNS
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.table import read_landmarks

from .recorded import recorded


@pytest.fixture
def store(tmp_path: Path) -> Recording:
    return Recording(tmp_path / "studio" / "recording.csv", COLUMNS)


def reopened(store: Recording) -> Recording:
    return Recording(store.path, COLUMNS)


def test_samples_survive_the_process_to_the_last_bit(store: Recording) -> None:
    """What was added is there when the recording is opened again, in the same order."""
    samples = recorded()
    assert store.add(samples, "take") == len(samples)
    assert reopened(store).samples == tuple(samples)
    assert reopened(store).text() == store.text() == store.path.read_text(encoding="utf-8")


def test_the_same_sample_is_recorded_once(store: Recording) -> None:
    """A file that is imported twice, or a camera that stands still, adds nothing."""
    samples = recorded(count=2)
    store.add(samples, "one")
    assert store.add([*samples, replace(samples[0], session=3)], "two") == 1


def test_undo_goes_back_step_by_step(store: Recording) -> None:
    """Samples of one take are one step; deletions too; the file follows."""
    first, second, *rest = recorded(count=2)
    store.add([first], "take 1")
    store.add([second], "take 1")
    store.add(rest, "take 2")
    assert store.delete([first.name, "unknown"], "delete") == 1
    assert store.undo() == 1
    assert store.undo() == -len(rest)
    assert reopened(store).samples == (first, second)
    assert store.undo() == -2
    with pytest.raises(RequestError, match="nothing to undo"):
        store.undo()
    assert not store.undoable
    assert reopened(store).samples == ()


def test_the_last_sessions_of_each_label_are_measured_on() -> None:
    """Of three sessions one each; of two, the second is halved; one alone is train."""
    three = recorded("like", sessions=3, count=4)
    by_session = dict.fromkeys(zip([each.session for each in three], splits(three), strict=True))
    assert list(by_session) == [(1, "train"), (2, "val"), (3, "test")]
    two = splits(recorded("peace", sessions=2, count=4))
    assert two == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert set(splits([*three, *recorded("peace", sessions=1, count=2)])[-2:]) == {"train"}


def test_the_gesture_task_reads_it_with_sessions_and_splits(
    store: Recording, tmp_path: Path
) -> None:
    """The file is a source of the pipeline as it is: no session is on both sides of a fold."""
    store.add(recorded(sessions=3), "take")
    rows = read_landmarks(store.path, (), Counter())
    assert Counter(zip(rows.labels, rows.users, rows.splits, strict=True)) == {
        (label, session, split): 12
        for label in ("like", "peace")
        for session, split in (("1", "train"), ("2", "val"), ("3", "test"))
    }
    (tmp_path / "ready").mkdir()
    report = data.prepare(store.path.parent, tmp_path / "ready", Params(), tmp_path / "cache")
    assert report.counts == {split: {"like": 12, "peace": 12} for split in ("train", "val", "test")}


def test_other_tables_of_landmarks_are_imported(store: Recording) -> None:
    """Columns in any order; without a session all rows are of session 1."""
    (sample,) = recorded("like", sessions=1, count=1)
    header = ",".join([*reversed(COLUMNS), "label"])
    row = ",".join([*map(str, reversed(sample.subject.numbers)), "wave"])
    (read,) = store.parse(f"{header}\n{row}\n".encode())
    assert (read.label, read.session, read.subject.numbers) == ("wave", 1, sample.subject.numbers)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "columns label and x1 .. z21: expected label"),
        (",".join(COLUMNS) + "\n", "expected label"),
        (",".join(["label", *COLUMNS]) + "\nlike,1\n", "line 2: expected numbers"),
        (",".join(["label", *COLUMNS]) + "\nlike" + ",nan" * 63 + "\n", "line 2: .*finite"),
        ("label\n\x00\n", "expected x1"),
    ],
)
def test_what_is_no_recording_is_refused(store: Recording, text: str, reason: str) -> None:
    """The message names what is missing, and the line."""
    with pytest.raises(RequestError, match=reason):
        store.parse(text.encode())
    with pytest.raises(RequestError, match="CSV in UTF-8"):
        store.parse(b"\xff\xfe")


def test_a_refused_addition_changes_nothing(
    store: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, sessions and counts have limits; none of the new samples is stored then."""
    samples = recorded(count=2)
    store.add(samples, "take")
    before = store.path.read_bytes()
    monkeypatch.setattr(recording, "MAX_PER_LABEL", 5)
    more = recorded("like", count=4)
    for wrong, reason in [
        (replace(more[-1], label=""), "name of a class"),
        (replace(more[-1], label=" like"), "name of a class"),
        (replace(more[-1], label="a\nb"), "name of a class"),
        (replace(more[-1], session=0), "session"),
    ]:
        with pytest.raises(RequestError, match=reason):
            store.add([more[-2], wrong], "wrong")
    with pytest.raises(RequestError, match="5 samples"):
        store.add(more, "too many")
    assert store.path.read_bytes() == before
    assert list(store.path.parent.iterdir()) == [store.path]
