"""The collectors of one service, made from the table of all metrics."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from tocsin.consumers.metric_table import Kind, Metric, Service, metrics_of

_COLLECTORS: dict[Kind, type[MetricWrapperBase]] = {
    Kind.COUNTER: Counter,
    Kind.GAUGE: Gauge,
    Kind.HISTOGRAM: Histogram,
    Kind.INFO: Info,
}
Made = TypeVar("Made")
# the library appends these itself
_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


class Metrics:
    """Every metric that the table has for `service`, in a registry of its own, but those that `others` collect.

    Raises:
        KeyError: (all methods) the table has no such metric of this service, or it is of another kind.
    """

    def __init__(self, service: Service, *, others: frozenset[str] = frozenset()) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._made = {one.name: self._collector(one) for one in metrics_of(service) if one.name not in others}
        self._made["tocsin_build_info"].info(  # type: ignore[attr-defined]
            {"service": service.value, "version": version("tocsin-consumers")}
        )

    def _collector(self, metric: Metric) -> MetricWrapperBase:
        name = metric.name.removesuffix(_SUFFIXES.get(metric.kind, ""))
        more: dict[str, Any] = {"buckets": metric.buckets} if metric.kind is Kind.HISTOGRAM else {}
        # the labels of an info come with its value
        labels = () if metric.kind is Kind.INFO else metric.labels
        return _COLLECTORS[metric.kind](name, metric.help, labels, registry=self.registry, **more)

    def counter(self, name: str) -> Counter:
        """The counter of this name, which ends in `_total`."""
        return self._of(name, Counter)

    def gauge(self, name: str) -> Gauge:
        """The gauge of this name."""
        return self._of(name, Gauge)

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name."""
        return self._of(name, Histogram)

    def _of(self, name: str, kind: type[Made]) -> Made:
        found = self._made[name]
        if not isinstance(found, kind):
            raise KeyError(f"{name} is no {kind.__name__}")
        return found

    def turned(self, loop: str, now_s: float) -> None:
        """Note that a loop of the service has turned."""
        self.gauge("tocsin_loop_timestamp_seconds").labels(loop).set(now_s)
