"""A running fan-out tells what it does: every metric of the table, its health, and logs without content."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.world import World, small_policy, takedown, wait_until
from tocsin.consumers.metric_table import Kind, Service, metrics_of
from tocsin.producers.publisher import Publisher

ALERTS = 20
HOSTILE = "hostile-word-of-nobody"
# what there is only once something unusual has happened
UNUSUAL = {
    "tocsin_owed_copies",
    "tocsin_owed_timestamp_seconds",
    "tocsin_lane_endings_total",
    "tocsin_snapshot_failures_total",
    "tocsin_sight_changes_total",
    "tocsin_deliveries_stopped",
}
# a client tells of itself every 15 or 60 seconds
LATER = {metric.name for metric in metrics_of(Service.FANOUT) if metric.name.startswith("tocsin_client_")}


class Served(NamedTuple):
    """A world with the port of its fan-out."""

    world: World
    process: subprocess.Popen[bytes]
    port: int

    def samples(self) -> list[Sample]:
        """What is scraped now."""
        _, text = asked(self.port, "metrics")
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(s.value for s in self.samples() if s.name == name and labels.items() <= s.labels.items())


def asked(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A world of its own, whose fan-out serves its metrics, and is not awaited: what it says before is a test's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = World(tmp_path_factory.mktemp("observed") / "home", small_policy())
    try:
        world.up()
        yield Served(world, world.start_fanout(words=["--metrics-port", str(port)]), port)
    finally:
        world.down()


def test_it_is_alive_before_it_is_ready(served: Served) -> None:
    """/readyz names what is missing until all lanes are taken and everything is fresh; /livez is well all the while."""
    seen: list[tuple[int, dict[str, str]]] = []

    def ready() -> bool:
        status, body = asked(served.port, "readyz")
        if status:
            seen.append((status, json.loads(body)["checks"]))
            assert asked(served.port, "livez")[0] == 200
        return status == 200

    wait_until(ready, 40, lambda: f"ready; last {seen[-1:]}\n{served.world.log()[-2000:]}")
    assert seen[0][0] == 503
    assert "not said yet" in seen[0][1]["lanes"]
    assert seen[-1][1] == dict.fromkeys(("lanes", "sight", "directory", "subscriptions"), "ok")
    status, body = asked(served.port, "livez")
    assert (status, {*json.loads(body)["checks"]}) == (
        200,
        {"group", "sight", "topics", "directory", "outboxes", "lane.de", "lane.se"},
    )
    assert asked(served.port, "elsewhere")[0] == 404


def test_every_metric_of_the_table_is_served_and_copies_are_counted(served: Served) -> None:
    """After some alerts and a forged one, all of the manual's names are there, and the figures are the inboxes'."""
    world, bundle = served.world, served.world.member("hotline-se")
    world.wait_lanes(2)
    with Publisher(bundle) as publisher:
        for number in range(ALERTS):
            publisher.publish(takedown(bundle, number))
        assert publisher.flush(30) == 0
    _forge(served)
    world.wait_decided(ALERTS + 1)
    readers = ("reader-00", "reader-01", "reader-02")
    for reader in readers:
        world.wait_inbox(reader, ALERTS)
    wait_until(lambda: served.value("tocsin_lag_records", lane="se") == 0, 10, "nothing undecided")
    wait_until(lambda: served.value("tocsin_owed_seqs", lane="se") == 0, 10, "nothing owed")
    names = {sample.name for sample in served.samples()}
    expected = {
        f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
        for metric in metrics_of(Service.FANOUT)
    }
    assert expected - names <= UNUSUAL | LATER
    assert served.value("tocsin_delivery_seconds_count", lane="se", type="site-taken-down") == ALERTS * len(readers)
    accepted = {"lane": "se", "kind": "ALERT", "outcome": "ACCEPTED"}
    assert served.value("tocsin_decisions_total", **accepted) == ALERTS
    assert served.value("tocsin_decisions_total", lane="se", outcome="REJECTED", reason="unsigned") == 1
    assert served.value("tocsin_refusals_total", lane="se", reason="no-sight") == ALERTS
    offset = served.value("kafka_consumergroup_current_offset", consumergroup="fanout.se")
    assert offset == ALERTS + 1
    assert served.value("tocsin_lane_up") == 2
    assert served.value("tocsin_snapshot_size", snapshot="directory") == len(world.policy_names()) + 1


def _forge(served: Served) -> None:
    """Write a record that no rule lets pass, with a word in each of its fields."""
    topic = "alerts.se.site-taken-down.green"
    producer = Producer({**served.world.member("hotline-se").kafka_config(), "enable.idempotence": True})
    producer.produce(topic, HOSTILE.encode(), HOSTILE.encode(), 0, headers=[(HOSTILE, HOSTILE.encode())])
    assert producer.flush(20) == 0


def test_logs_are_json_and_name_no_content(served: Served) -> None:
    """Each line is one object with time, level and event; what was written to an alert topic is in none of them."""
    lines = [line for line in served.world.log().splitlines() if not line.startswith("fan-out ")]
    events = [json.loads(line) for line in lines]
    assert {"timestamp", "level", "event"} <= set.intersection(*({*one} for one in events))
    assert {one["event"] for one in events} >= {"lane_taken", "directory_read"}
    assert HOSTILE not in served.world.log()
    assert HOSTILE not in asked(served.port, "metrics")[1]
    assert "example/x" not in served.world.log()


def test_it_ends_cleanly_when_told_to(served: Served) -> None:
    """SIGTERM ends it with exit code 0 well within the stated time, and without a take-over lost."""
    began = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert time.monotonic() - began < 60
    assert not {"lane_failed", "lane_not_stopped"} & {json.loads(one)["event"] for one in _lines(served.world)}


def _lines(world: World) -> list[str]:
    return [line for line in world.log().splitlines() if line.startswith("{")]
