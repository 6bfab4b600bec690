"""The table of metrics keeps Prometheus's conventions, and collectors are made from it and nothing else."""

from __future__ import annotations

import re

import pytest

from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import TABLE, Kind, Metric, Service, metrics_of

ENDINGS = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
FORBIDDEN = {"alert", "alert_id", "lineage", "lineage_id", "le", "job", "instance"}


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_metric_keeps_the_conventions(metric: Metric) -> None:
    """Prefix, ending and unit are right, no label is unbounded, and what it says is a sentence."""
    assert re.fullmatch(r"(tocsin|kafka_consumergroup)_[a-z][a-z_]*[a-z]", metric.name)
    assert all(metric.name.endswith(end) == (metric.kind is kind) for kind, end in ENDINGS.items())
    assert ("_seconds" in metric.name) == (metric.unit in {"seconds", "time"})
    assert (metric.unit == "time") == metric.name.endswith("_timestamp_seconds")
    assert ("_bytes" in metric.name) == (metric.unit == "bytes")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert not FORBIDDEN & {*metric.labels}
    assert metric.help.endswith(".")
    assert metric.services


def test_names_are_unique() -> None:
    """One name is one metric."""
    assert len({metric.name for metric in TABLE}) == len(TABLE)


@pytest.mark.parametrize("service", Service)
def test_a_service_collects_exactly_its_metrics(service: Service) -> None:
    """What the manual promises is in the registry, under that name, kind and labels, and nothing else is."""
    made = {family.name: family.type for family in Metrics(service).registry.collect()}
    assert made == {
        metric.name.removesuffix(ENDINGS.get(metric.kind, "")): metric.kind.value for metric in metrics_of(service)
    }


def test_a_metric_of_another_service_or_kind_is_refused() -> None:
    """A slip of the pen in the code is an error at once, not a metric that nobody knows of."""
    metrics = Metrics(Service.SEALER)
    with pytest.raises(KeyError):
        metrics.gauge("tocsin_lane_up")
    with pytest.raises(KeyError):
        metrics.counter("tocsin_sealed_records")
