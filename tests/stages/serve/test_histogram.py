"""Histograms of one writing thread look like those of prometheus_client to a scrape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Expected

from mien.observability.metrics import METRICS, Metric
from mien.stages.serve.histogram import Histogram

TABLE = [metric for metric in METRICS if metric.kind == "histogram"]
ROW = next(metric for metric in TABLE if metric.labels)


def pages(metric: Metric, values: list[tuple[str, float]]) -> list[str]:
    """What a scrape reads of both histograms after the same observations."""
    registries = CollectorRegistry(), CollectorRegistry()
    own = Histogram(metric)
    registries[0].register(own)
    other = Expected(
        metric.name, metric.meaning, metric.labels, buckets=metric.buckets, registry=registries[1]
    )
    for label, value in values:
        labels = [label] * len(metric.labels)
        own.labels(*labels).observe(value)
        (other.labels(*labels) if labels else other).observe(value)
    texts = [generate_latest(registry).decode() for registry in registries]
    return [
        "\n".join(line for line in text.splitlines() if "_created" not in line) for text in texts
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e6)), max_size=20))
def test_a_scrape_reads_the_same(values: list[tuple[str, float]]) -> None:
    """Counts, sums and names, for any values."""
    own, expected = pages(ROW, values)
    assert own == expected


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_value_on_an_edge_is_in_its_bucket(metric: Metric) -> None:
    """Edges belong to the bucket below, for every metric of the table; empty ones too."""
    own, expected = pages(metric, [("a", edge) for edge in metric.buckets])
    assert own == expected
    own, expected = pages(metric, [])
    assert own == expected
