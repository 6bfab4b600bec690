"""A small part of what the Kafka client library tells of itself, for Prometheus.

The library hands out a text now and then; it is looked into only when somebody scrapes, never on the way of an alert.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tocsin.consumers.metric_table import TABLE, Kind, Metric

READER_EVERY_MS: Final = 15_000
WRITER_EVERY_MS: Final = 60_000
"""A writer's text has every inbox: for a thousand of them, more than a megabyte."""

_PREFIX: Final = "tocsin_client_"
METRICS: Final = {metric.name: metric for metric in TABLE if metric.name.startswith(_PREFIX)}

Sample: TypeAlias = tuple[str, tuple[str, ...], float]
"""Name, labels and value."""

ClientSettings: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Settings by which the client of this name tells of itself."""


def silent(_client: str) -> Mapping[str, Any]:
    """The settings of a client that tells nothing."""
    return {}


class ClientStatistics(Collector):
    """The last text of each client, by a name that stays: `<lane>.reader`, `<lane>.writer.0`."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def settings(self, client: str) -> Mapping[str, Any]:
        """Settings by which the client of this name tells of itself."""
        every_ms = WRITER_EVERY_MS if ".writer" in client else READER_EVERY_MS
        return {"statistics.interval.ms": every_ms, "stats_cb": lambda text: self.take(client, text)}

    def take(self, client: str, text: str) -> None:
        """Keep what a client says."""
        self._texts[client] = text

    def forget(self, lane: str) -> None:
        """Drop what the clients of a lane said that is another's now."""
        for client in [one for one in [*self._texts] if one.startswith(f"{lane}.")]:
            self._texts.pop(client, None)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All clients' samples, by metric."""
        families = {name: _family(metric) for name, metric in METRICS.items()}
        for client, text in [*self._texts.items()]:
            for name, labels, value in samples(client, json.loads(text)):
                families[name].add_metric(labels, value)
        yield from families.values()


def _family(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    made = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return made(metric.name, metric.help, labels=metric.labels)


def samples(client: str, told: Mapping[str, Any]) -> Iterator[Sample]:
    """What a client's statistics (librdkafka's STATISTICS.md) come to."""
    yield f"{_PREFIX}queue_records", (client,), told["msg_cnt"]
    yield f"{_PREFIX}queue_bytes", (client,), told["msg_size"]
    yield f"{_PREFIX}sent_bytes_total", (client,), told["tx_bytes"]
    yield f"{_PREFIX}received_bytes_total", (client,), told["rx_bytes"]
    if told["type"] == "consumer":
        yield f"{_PREFIX}lag_records", (client,), sum(_lags(told["topics"].values()))
    for broker in told["brokers"].values():
        # -1 is an address that was only asked who the brokers are
        if broker["nodeid"] >= 0:
            labels = (client, str(broker["nodeid"]))
            yield f"{_PREFIX}broker_rtt_seconds", labels, broker["rtt"]["avg"] / 1_000_000
            failed = broker["txerrs"] + broker["rxerrs"] + broker["req_timeouts"]
            yield f"{_PREFIX}broker_errors_total", labels, failed


def _lags(topics: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    # -1 is a partition that is not read
    return (max(0, one["consumer_lag"]) for topic in topics for one in topic["partitions"].values())
