"""Every public layout is read to the same thing, and what is not read is refused with a reason."""

import re
from pathlib import Path

import pytest
from project import ROOT

from mien.errors import DataError
from mien.stages.data import sources
from mien.storage.versions import Store
from mien.task import SPLITS, DataReport, Inspection
from mien.tasks.emotion import yolo
from mien.tasks.emotion.data import examples, prepare
from mien.tasks.emotion.inspection import inspect
from mien.tasks.emotion.params import LABELS, Params

from . import import_corpus
from .drawn_sets import Case

ACCEPTED = [case for case in import_corpus.CASES if case.counts is not None]
REFUSED = [case for case in import_corpus.CASES if case.counts is None]


def read(case: Case, home: Path) -> tuple[DataReport, Inspection, int]:
    """Fetch, inspect and prepare a set; also the number of files of its version."""
    folder, ready = home / "source", home / "ready"
    for each in (folder, ready):
        each.mkdir()
    source = case.make(folder) or folder
    params = Params(**case.params)
    store = Store(home / "raw")
    with sources.open_source(str(source), home / "cache") as opened:
        version = store.add(opened.items, opened.name)
    with store.unpacked(version) as raw:
        inspection = inspect(raw, params, home / "cache")
        report = prepare(raw, ready, params, home / "cache")
    return report, inspection, len(version.items)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.layout)
def test_a_public_layout_is_read(case: Case, tmp_path: Path) -> None:
    """The splits of the source, each face with the label that it shows, and every file counted."""
    report, _, file_count = read(case, tmp_path)
    images = {split: sorted((tmp_path / "ready" / split / "images").iterdir()) for split in SPLITS}
    assert tuple(map(len, images.values())) == case.counts
    for paths in images.values():
        for path in paths:
            ((number, box),) = yolo.read_prepared_labels(path, len(LABELS))
            assert LABELS[number] == path.name.partition("_")[0]
            assert box == pytest.approx(case.box, abs=1e-4)
    assert sum(report.files.values()) == file_count, report.files
    assert report.skipped == case.skipped
    assert case.note in "\n".join(report.notes)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.layout)
def test_evaluation_and_check_name_the_same_images(case: Case, tmp_path: Path) -> None:
    """Samples of the check are the examples of the evaluation, by name and label."""
    _, inspection, _ = read(case, tmp_path)
    for split in SPLITS:
        sampled = {
            each.name: each.labels[:1]
            for each in inspection.samples
            if each.split == split and "more" not in each.name and each.labels
        }
        assert sampled == {each.name: (each.label,) for each in examples(tmp_path / "ready", split)}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.layout)
def test_what_is_not_read_is_refused_with_the_reason(case: Case, tmp_path: Path) -> None:
    """The message says what was found and what helps."""
    with pytest.raises(DataError) as refused:
        read(case, tmp_path)
    assert re.search(case.note, str(refused.value)), refused.value


def test_the_corpus_is_large() -> None:
    """At least 35 layouts, each with a name of its own."""
    assert len(ACCEPTED) >= 35
    assert len({case.layout for case in import_corpus.CASES}) == len(import_corpus.CASES)


def test_the_page_on_formats_lists_the_corpus() -> None:
    """docs/source/formats.md holds the tables that the corpus makes, row for row."""
    page = (ROOT / "docs" / "source" / "formats.md").read_text(encoding="utf-8")
    assert import_corpus.markdown() in page
