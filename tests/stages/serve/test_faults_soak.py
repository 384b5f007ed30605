"""A short soak of both tasks, and that a long one can fail."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from project import ROOT

from mien.storage.workspace import Workspace

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
from bench import soak
from bench.soak import Sample

SECONDS = 12.0


@pytest.fixture(autouse=True)
def only_made_up_tasks() -> None:
    """Here the real tasks are asked, not the made-up ones of the other tests."""


@pytest.mark.long
def test_a_short_soak_leaves_the_server_as_it_was(served_home: Path) -> None:
    """Lost: nothing. Photos, landmarks and bad requests are each answered with the status that
    they should have; threads and descriptors do not grow. Memory and series of metrics take
    minutes to settle, and are for the long one."""
    done = soak.run(Workspace(served_home), SECONDS)
    assert done.wrong == {}
    assert done.statuses[200] > 0
    assert {400, 404, 405, 413, 415, 422} <= set(done.statuses)
    rows = {row["of the server"]: row for row in soak.results(done.samples)}
    for name in ("threads", "descriptors"):
        assert rows[name]["flat"] == "yes", rows[name]


def test_growth_is_told() -> None:
    """A server that takes 1 MB more every ten seconds is not flat; one that wavers is."""
    flat = [Sample(moment, 0, 200 + moment % 3, 9, 30, 800) for moment in range(0, 600, 5)]
    grown = [replace(each, resident=each.resident + each.moment / 10) for each in flat]
    more = [replace(each, series=each.series + each.moment // 60) for each in flat]
    assert [row["flat"] for row in soak.results(flat)] == ["yes"] * 4
    assert [row["flat"] for row in soak.results(grown)] == ["NO", "yes", "yes", "yes"]
    assert [row["flat"] for row in soak.results(more)] == ["yes", "yes", "yes", "NO"]
    assert soak.growth(grown, lambda it: it.resident) == pytest.approx(30, abs=1)
