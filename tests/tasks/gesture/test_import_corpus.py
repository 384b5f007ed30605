"""Sources as public writers make them end as the same rows, or in a message that helps."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

from mien.errors import DataError
from mien.task import SPLITS, DataReport, RepairPlan
from mien.tasks.gesture.data import prepare, read_split
from mien.tasks.gesture.inspection import inspect
from mien.tasks.gesture.landmarks import Floats, normalize
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.repair import repair

from .import_corpus import READ, Read
from .refused_corpus import REFUSED, Refused
from .tables import hands

PAGE = ROOT / "docs" / "source" / "formats.md"


def prepared(source: Read | Refused, home: Path) -> DataReport:
    for folder in ("raw", "ready"):
        (home / folder).mkdir()
    source.write(home / "raw")
    return prepare(home / "raw", home / "ready", Params(), home / "cache")


@dataclass(frozen=True)
class Reading:
    """A source that is read, and what `prepare` made of it."""

    source: Read
    home: Path
    report: DataReport


@pytest.fixture(scope="module", params=READ)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Each source, written and prepared once."""
    source, home = READ[request.param], tmp_path_factory.mktemp("source")
    return Reading(source, home, prepared(source, home))


def features(points: Floats, depth: bool) -> list[tuple[float, ...]]:
    """What a classifier gets of hands, in an order of its own; without depth only x and y."""
    values = normalize(points).reshape(-1, 21, 3)[:, :, : 3 if depth else 2]
    return sorted(tuple(row) for row in values.reshape(len(values), -1).tolist())


def test_a_source_is_read_as_its_plain_form(reading: Reading) -> None:
    """The same hands under the same labels; every row is used or counted; splits are kept."""
    source, report = reading.source, reading.report
    splits = [read_split(reading.home / "ready", split) for split in SPLITS]
    assert [tuple(each) for each in report.counts.values()] == [source.labels] * 3
    assert report.skipped == source.skipped
    assert any(source.note in note for note in report.notes), report.notes
    if source.splits:
        assert tuple(len(each.labels) for each in splits) == source.splits
    points = np.concatenate([each.landmarks for each in splits])
    labels = np.array([label for each in splits for label in each.labels])
    for label in source.labels:
        drawn = [each for given, each in hands() if source.names.get(given, given) == label]
        np.testing.assert_allclose(
            features(points[labels == label], source.depth),
            features(np.stack(drawn), source.depth),
            atol=2e-4,
        )


def test_the_check_sees_what_is_prepared(reading: Reading) -> None:
    """The same rows in the same splits, and no issue but those that are counted."""
    source, report = reading.source, reading.report
    found = inspect(reading.home / "raw", Params(), reading.home / "cache")
    assert found.labels == source.labels
    used = [each.split for each in found.samples if each.split]
    assert {split: used.count(split) for split in SPLITS} == {
        split: sum(counts.values()) for split, counts in report.counts.items()
    }
    issues = {slug for slug, each in found.issues.items() if each.names}
    assert issues <= {*source.skipped, *(() if source.depth else ("missing_depth",))}


def test_a_repaired_copy_is_read_the_same(reading: Reading, tmp_path: Path) -> None:
    """In a form of mien's own: the same rows in the same splits, without those of no use."""
    home, params = reading.home, Params()
    out, ready = tmp_path / "out", tmp_path / "ready"
    for folder in (out, ready):
        folder.mkdir()
    repair(home / "raw", out, RepairPlan(), params, home / "cache")
    again = prepare(out, ready, params, tmp_path / "cache")
    assert again.counts == reading.report.counts
    assert set(again.skipped) <= {"ignored_label"}
    for split in SPLITS:
        one, other = (read_split(folder, split) for folder in (home / "ready", ready))
        assert sorted(other.names) == sorted(one.names)
        order = [other.names.index(each) for each in one.names]
        np.testing.assert_array_equal(other.landmarks[order], one.landmarks)


@pytest.mark.parametrize("name", REFUSED)
def test_an_ambiguous_source_is_refused(name: str, tmp_path: Path) -> None:
    """With what was found, what was expected, and what to do."""
    with pytest.raises(DataError, match=REFUSED[name].message):
        prepared(REFUSED[name], tmp_path)


def test_the_page_on_formats_lists_every_source() -> None:
    """Each row of its tables is one that is tested here, in the same words."""
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition("## Landmark tables\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    read = [f"| {each.habit} | {each.reading} |" for each in READ.values()]
    refused = [f"| {each.habit} | {each.reason} |" for each in REFUSED.values()]
    expected = ["| source | how it is read |", "| --- | --- |", *read]
    expected += ["| source | why it is refused |", "| --- | --- |", *refused]
    assert rows == expected, "\n".join(expected)
