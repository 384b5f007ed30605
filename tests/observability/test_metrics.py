"""The table of metrics keeps the rules that Prometheus has for names, units and labels."""

import re

import pytest
from project import ROOT

from mien.observability.metrics import BY_NAME, EXPOSED, METRICS, Metric

BY_ROW = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
OUTSIDE = {"instance", "job", "le", "quantile"}
"""Labels that Prometheus and its clients set themselves."""


def test_each_is_there_once() -> None:
    """Also by the names under which Prometheus stores it."""
    assert len(BY_NAME) == len(METRICS)
    assert len(EXPOSED) == sum(len(row.exposed) for row in METRICS)


@BY_ROW
def test_a_name_tells_kind_and_unit(row: Metric) -> None:
    """Counters end in `_total`, times in `_seconds`, sizes in `_bytes`; nothing else does."""
    assert re.fullmatch(r"(mien|process)_[a-z0-9_]+", row.name)
    assert (row.kind == "counter") == row.name.endswith("_total")
    bare = row.name.removesuffix("_total")
    assert (row.unit == "bytes") == bare.endswith("_bytes")
    assert (row.unit in ("seconds", "timestamp")) == bare.endswith("_seconds")
    assert (row.unit == "timestamp") == bare.endswith(("_timestamp_seconds", "start_time_seconds"))


@BY_ROW
def test_a_meaning_is_a_sentence(row: Metric) -> None:
    """It is read on dashboards and in the docs, in a line of its own."""
    assert re.fullmatch(r"[A-Z0-9].{10,170}\.", row.meaning), row.meaning
    assert "\n" not in row.meaning


@BY_ROW
def test_labels_are_lower_case_and_its_own(row: Metric) -> None:
    """None twice, and none that Prometheus would overwrite."""
    assert len(set(row.labels)) == len(row.labels)
    assert all(re.fullmatch("[a-z_]+", label) for label in row.labels)
    assert not OUTSIDE & set(row.labels)


@BY_ROW
def test_buckets_are_those_of_a_histogram_and_rise(row: Metric) -> None:
    """Others have none; shares end at 1."""
    assert bool(row.buckets) == (row.kind == "histogram")
    assert list(row.buckets) == sorted(set(row.buckets))
    assert all(edge > 0 for edge in row.buckets)
    if row.buckets and row.unit == "ratio":
        assert row.buckets[-1] == 1


def test_a_histogram_is_stored_under_three_names() -> None:
    """And everything else under its own."""
    parts = tuple(f"mien_confidence_{part}" for part in ("bucket", "sum", "count"))
    assert BY_NAME["mien_confidence"].exposed == parts
    assert BY_NAME["mien_drift_score"].exposed == ("mien_drift_score",)


def test_the_page_has_the_table() -> None:
    """Row for row, as docs/source/monitoring.md is what people read."""
    page = (ROOT / "docs/source/monitoring.md").read_text(encoding="utf-8")
    section = page.partition("## Metrics\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    shown = [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in lines]
    assert shown == [
        (row.name, row.kind, row.topic, row.unit, ", ".join(row.labels), row.meaning)
        for row in METRICS
    ]
