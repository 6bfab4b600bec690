"""A histogram that takes many equal values at once: the library's own is told of each copy, which costs too much."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tocsin.consumers.metric_table import Metric


class BatchHistogram(Collector):
    """Collects one metric of the table. Safe to use from several threads."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, labels: tuple[str, ...], value: float, times: int = 1) -> None:
        """Count `value` so many times."""
        bounds = self._metric.buckets
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(bounds) + 1))
            counts[bisect_left(bounds, value)] += times
            self._sums[labels] = self._sums.get(labels, 0.0) + value * times

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was counted, as Prometheus takes it: each bucket has those below it, too."""
        found = HistogramMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        bounds = [*map(floatToGoString, self._metric.buckets), "+Inf"]
        with self._lock:
            counted = {labels: (list(counts), self._sums[labels]) for labels, counts in self._counts.items()}
        for labels, (counts, total) in counted.items():
            below = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip(bounds, counts, strict=True):
                below += count
                buckets.append((bound, below))
            found.add_metric(labels, buckets, total)
        yield found
