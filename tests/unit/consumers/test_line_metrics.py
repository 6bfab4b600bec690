"""Since when a member's line is silent, as Prometheus is told."""

from __future__ import annotations

from tocsin.consumers.fanout_metrics import FanoutMetrics


def _told(metrics: FanoutMetrics) -> dict[str, float]:
    samples = [one for family in metrics.registry.collect() for one in family.samples]
    return {one.labels["member"]: one.value for one in samples if one.name == "tocsin_line_timestamp_seconds"}


def test_a_line_that_is_not_tested_stays_where_it_was() -> None:
    """Who was never tested counts from the first time; who has left is not told of any more."""
    metrics = FanoutMetrics()
    metrics.lines("se", {"bank": True, "isp": False}, 100)
    assert _told(metrics) == {"bank": 100, "isp": 100}
    metrics.lines("se", {"bank": True, "isp": False}, 200)
    assert _told(metrics) == {"bank": 200, "isp": 100}
    metrics.lines("se", {"bank": False, "isp": True}, 300)
    assert _told(metrics) == {"bank": 200, "isp": 300}
    metrics.lines("se", {"isp": True}, 400)
    assert _told(metrics) == {"isp": 400}
