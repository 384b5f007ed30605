"""Histograms that one thread writes and a scrape reads.

Those of `prometheus_client` take locks and search their buckets in Python: the dozen of a request
would cost more than the rest of its monitoring.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from mien.observability.metrics import Metric


class HistogramSeries:
    """The buckets of one combination of label values."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add a value."""
        self._counts[bisect_left(self._edges, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """The upper edge of each bucket with the count up to it; the sum of all values."""
        buckets, count = [], 0
        for edge, own in zip((*self._edges, float("inf")), self._counts, strict=True):
            count += own
            name = floatToGoString(edge)  # type: ignore[no-untyped-call]
            buckets.append((name, float(count)))
        return buckets, self._sum


class Histogram(Collector):
    """All series of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        if not metric.labels:
            self.labels()

    def labels(self, *values: str) -> HistogramSeries:
        """The series with these label values, which begins empty."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = HistogramSeries(self._metric.buckets)
        return series

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the series for a scrape."""
        metric = self._metric
        family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for values, series in list(self._series.items()):
            family.add_metric(values, *series.read())
        yield family
