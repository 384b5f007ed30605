"""Every public layout is read to the same thing, and what is not read is refused with a reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import ROOT

from mien.errors import DataError
from mien.stages.data import sources
from mien.storage.versions import Store
from mien.task import SPLITS, DataReport, Inspection, RepairPlan
from mien.tasks.emotion import yolo
from mien.tasks.emotion.data import examples, prepare
from mien.tasks.emotion.inspection import inspect
from mien.tasks.emotion.params import LABELS, Params
from mien.tasks.emotion.repair import repair

from . import import_corpus
from .import_corpus import Case

ACCEPTED = [case for case in import_corpus.CASES if case.counts is not None]
REFUSED = [case for case in import_corpus.CASES if case.counts is None]
Faces = Mapping[str, list[tuple[str, yolo.Box]]]
"""Label and corners of every face, by split and file."""


@dataclass(frozen=True)
class Reading:
    """A set of the corpus, and what was read of it."""

    case: Case
    report: DataReport
    inspection: Inspection
    file_count: int
    """Files of its version."""
    ready: Path
    repaired: Path
    """A copy by an empty plan."""


def read(case: Case, home: Path) -> Reading:
    """Fetch, inspect, prepare and copy a set."""
    folder, ready, repaired = (home / name for name in ("source", "ready", "repaired"))
    for each in (folder, ready, repaired):
        each.mkdir()
    source = case.make(folder) or folder
    params, cache = Params(**case.params), home / "cache"
    store = Store(home / "raw")
    with sources.open_source(str(source), cache) as opened:
        version = store.add(opened.items, opened.name)
    with store.unpacked(version) as raw:
        inspection = inspect(raw, params, cache)
        report = prepare(raw, ready, params, cache)
        repair(raw, repaired, RepairPlan(), params, cache)
    return Reading(case, report, inspection, len(version.items), ready, repaired)


@pytest.fixture(scope="module", params=ACCEPTED, ids=lambda case: case.layout)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Each accepted set, read once."""
    return read(request.param, tmp_path_factory.mktemp("set"))


def faces(ready: Path) -> Faces:
    """What a training reads."""
    return {
        f"{split}/{path.name}": [
            (LABELS[number], yolo.corners(box))
            for number, box in yolo.read_prepared_labels(path, len(LABELS))
        ]
        for split in SPLITS
        for path in sorted((ready / split / "images").iterdir())
    }


def test_a_public_layout_is_read(reading: Reading) -> None:
    """The splits of the source, and each face with the box and the label that it shows."""
    prepared = faces(reading.ready)
    counts = [sum(name.startswith(split) for name in prepared) for split in SPLITS]
    assert tuple(counts) == reading.case.counts
    for name, ((label, corners),) in prepared.items():
        assert label == name.partition("/")[2].partition("_")[0]
        assert corners == pytest.approx(yolo.corners(reading.case.box), abs=1e-4)
    assert reading.case.note in "\n".join(reading.report.notes)


def test_every_file_is_used_or_counted(reading: Reading) -> None:
    """The files of the report are those of the version."""
    assert sum(reading.report.files.values()) == reading.file_count, reading.report.files
    assert reading.report.skipped == reading.case.skipped


def test_evaluation_and_check_name_the_same_images(reading: Reading) -> None:
    """Samples of the check are the examples of the evaluation, by name and label."""
    skipped = set(reading.case.skipped)
    for split in SPLITS:
        sampled = {
            each.name: each.labels[:1]
            for each in reading.inspection.samples
            if each.split == split and each.labels
            and not any(Path(each.name).suffix in slug for slug in skipped if "." in slug)
        }  # fmt: skip
        assert sampled == {each.name: (each.label,) for each in examples(reading.ready, split)}


def test_a_repaired_copy_is_the_same_set(reading: Reading, tmp_path: Path) -> None:
    """Written by `--fix` and read again, every image has the same split, labels and boxes."""
    params = Params(**reading.case.params)
    report = prepare(reading.repaired, tmp_path, params, tmp_path / "cache")
    again, before = faces(tmp_path), faces(reading.ready)
    assert again.keys() == before.keys()
    for name, ((label, corners),) in again.items():
        assert label == before[name][0][0]
        assert corners == pytest.approx(before[name][0][1], abs=1e-5)
    assert not [each for each in report.notes if "drawn" in each]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.layout)
def test_what_is_not_read_is_refused_with_the_reason(case: Case, tmp_path: Path) -> None:
    """The message says what was found and what helps."""
    with pytest.raises(DataError) as refused:
        read(case, tmp_path)
    assert re.search(case.note, str(refused.value)), refused.value


def test_the_corpus_is_large() -> None:
    """At least 60 layouts, each with a name of its own."""
    assert len(ACCEPTED) >= 60
    assert len({case.layout for case in import_corpus.CASES}) == len(import_corpus.CASES)


def test_the_page_on_formats_lists_the_corpus() -> None:
    """docs/source/formats.md holds the tables that the corpus makes, row for row."""
    page = (ROOT / "docs" / "source" / "formats.md").read_text(encoding="utf-8")
    assert import_corpus.markdown() in page
