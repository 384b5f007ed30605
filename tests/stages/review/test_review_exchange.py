"""Labels leave as CSV and YOLO and come in as these and as the JSON of Label Studio."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien import tasks
from mien.errors import DataError
from mien.observability.review.labels import Label
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.stages.review.exchange import export, import_labels
from mien.task import Inspection

Keep = Callable[..., ReviewSample]


def label(store: ReviewStore, sample: ReviewSample, answer: str | None, who: str = "ann") -> None:
    verdict = "nothing" if answer is None else "label"
    store.labels(sample.task).add(
        Label(
            trace_id=sample.trace_id,
            reviewer=who,
            timestamp=sample.timestamp,
            verdict=verdict,  # type: ignore[arg-type]
            label=answer,
        )
    )


def read(task: str, source: Path, folder: Path) -> Inspection:
    """The export as `mien data` reads it."""
    data, params = tasks.load(task).data, tasks.load(task).training.Params()
    return data.inspect(source, params, folder / "cache")


def answers(store: ReviewStore, task: str, who: str) -> dict[str, str | None]:
    latest = store.labels(task).latest()
    return {trace_id: each.label for (trace_id, name), each in latest.items() if name == who}


def test_a_table_of_landmarks_is_a_source_of_data(
    store: ReviewStore, keep: Keep, tmp_path: Path
) -> None:
    """With the points as they came; disputed, empty and unlabelled samples are left out."""
    samples = [keep() for _ in range(5)]
    for sample, answer in zip(samples, ("fist", "like", None, "palm"), strict=False):
        label(store, sample, answer)
    label(store, samples[3], "like", "bob")
    out = tmp_path / "out" / "hands.csv"
    done = export(store, "gesture", out)
    assert (done.written, done.left_out) == (2, 3)
    inspection = read("gesture", out.parent, tmp_path)
    assert [each.labels for each in inspection.samples] == [("fist",), ("like",)]
    with out.open() as file:
        row = next(csv.DictReader(file))
    assert samples[0].body is not None
    first = samples[0].body["landmarks"][0]
    assert [float(row[name]) for name in ("x1", "y1", "z1")] == first
    assert row["trace_id"] == samples[0].trace_id


def test_crops_are_a_source_of_data(store: ReviewStore, keep: Keep, tmp_path: Path) -> None:
    """In YOLO format, with the box of the face; nothing to be seen is a picture without a box."""
    samples = [keep("emotion") for _ in range(5)]
    for sample, answer in zip(samples, ("angry", "angry", "angry", None), strict=False):
        label(store, sample, answer)
    out = tmp_path / "faces"
    assert export(store, "emotion", out).written == 4
    lines = [(path.stem, path.read_text()) for path in sorted(out.rglob("*.txt"))]
    assert lines == [
        *((each.trace_id, "1 0.500000 0.500000 0.666667 0.750000\n") for each in samples[:3]),
        (samples[3].trace_id, ""),
    ]
    inspection = read("emotion", out, tmp_path)
    assert {each.labels for each in inspection.samples} == {("anger",), ()}  # as the task names it


def test_exports_come_back_as_labels_of_another_reviewer(
    store: ReviewStore, keep: Keep, tmp_path: Path
) -> None:
    """Where somebody corrected them elsewhere."""
    hand, face, empty = keep(), keep("emotion"), keep("emotion")
    label(store, hand, "fist")
    label(store, face, "angry")
    label(store, empty, None)
    for task, out in (("gesture", tmp_path / "a.csv"), ("emotion", tmp_path / "faces")):
        export(store, task, out)
        import_labels(store, task, out, "bob")
    assert answers(store, "gesture", "bob") == {hand.trace_id: "fist"}
    assert answers(store, "emotion", "bob") == {face.trace_id: "angry", empty.trace_id: None}


def test_label_studio_is_read(store: ReviewStore, keep: Keep, tmp_path: Path) -> None:
    """By the trace_id in the data or in the name of the picture; the last annotation counts, and a
    task that was skipped has none."""
    one, two, three, four = (keep("emotion") for _ in range(4))

    def task(data: dict[str, str], *choices: str, cancelled: bool = False) -> dict[str, Any]:
        return {
            "data": data,
            "annotations": [
                {
                    "was_cancelled": cancelled,
                    "result": [{"type": "choices", "value": {"choices": [choice]}}],
                }
                for choice in choices
            ],
        }

    file = tmp_path / "project.json"
    document = [
        task({"trace_id": one.trace_id}, "happy", "angry"),
        task({"image": f"/data/upload/1/0a1b-{two.trace_id}.png"}, "nothing"),
        task({"trace_id": three.trace_id}, "happy", cancelled=True),
        task({"trace_id": four.trace_id}),
        task({"trace_id": "f" * 32}, "happy"),
    ]
    file.write_text(json.dumps(document))
    assert import_labels(store, "emotion", file, "ls") == 2
    assert answers(store, "emotion", "ls") == {one.trace_id: "angry", two.trace_id: None}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "name,label\n1,fist\n", "it cannot be read"),
        ("a.json", "{", "it cannot be read"),
        ("a.csv", f"trace_id,label\n{'f' * 32},fist\n", "found 1 others"),
        ("missing.csv", None, "it cannot be read"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(
    store: ReviewStore, keep: Keep, tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    """With what was expected."""
    keep()
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        import_labels(store, "gesture", tmp_path / name, "bob")


def test_an_unknown_label_stores_nothing(store: ReviewStore, keep: Keep, tmp_path: Path) -> None:
    """Not the right ones before it either."""
    one, two = keep(), keep()
    file = tmp_path / "a.csv"
    file.write_text(f"trace_id,label\n{one.trace_id},fist\n{two.trace_id},happy\n")
    with pytest.raises(DataError, match="found 'happy'"):
        import_labels(store, "gesture", file, "bob")
    assert answers(store, "gesture", "bob") == {}


def test_nothing_is_written_over(store: ReviewStore, keep: Keep, tmp_path: Path) -> None:
    """And an export of nothing says what is missing."""
    with pytest.raises(DataError, match="expected a new path"):
        export(store, "gesture", tmp_path)
    keep()
    with pytest.raises(DataError, match="expected labelled samples with landmarks"):
        export(store, "gesture", tmp_path / "a.csv")
