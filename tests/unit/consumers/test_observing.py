"""What a lane counts of its transactions, how long deliveries took, and when a loop counts as standing."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from prometheus_client import generate_latest

from tests.unit.consumers.lane_world import GREEN, LANE, READERS, LaneWorld, alert
from tocsin.consumers.client_statistics import ClientStatistics, samples
from tocsin.consumers.fanout_metrics import FanoutMetrics, Place
from tocsin.consumers.health import Health
from tocsin.consumers.histogram import BatchHistogram
from tocsin.consumers.lane_transaction import Transaction
from tocsin.consumers.metric_table import TABLE
from tocsin.consumers.subscriptions import Subscription
from tocsin.consumers.tally import Arrivals, Paid, Tally
from tocsin.consumers.watch import Look
from tocsin.schemas.errors import Reason, Rejection

DELIVERY = next(metric for metric in TABLE if metric.name == "tocsin_delivery_seconds")


def value(metrics: FanoutMetrics, name: str, **labels: str) -> float | None:
    """One sample."""
    return metrics.registry.get_sample_value(name, labels)


# -- what transactions count -----------------------------------------------------------------------------------------


def test_a_transaction_counts_what_it_decides_and_then_what_it_pays() -> None:
    """Decisions by kind, outcome and reason, and the copies of each debt in the transaction that writes them."""
    world = LaneWorld({(member, GREEN) for member in READERS})
    world.now_ms += 500
    first = alert("one")
    world.publish(GREEN, Rejection(Reason.UNSIGNED))
    world.publish(GREEN, first)
    world.read()
    _, decided = world.make()
    assert decided.tally == Tally(
        decisions=Counter({("ALERT", "ACCEPTED", ""): 1, ("ALERT", "REJECTED", "unsigned"): 1}),
        arrived={f"{first.member}/one": world.now_ms},
        skew_ms={first.member: 500},
    )
    world.append(world.context(), decided)
    world.lane.commit(decided)
    world.publish(GREEN, first)
    world.read()
    _, paying = world.make()
    assert Paid(f"{first.member}/one", GREEN, len(READERS)) in paying.tally.paid
    assert paying.tally.decisions == {("ALERT", "DUPLICATE", "replayed"): 1}
    assert paying.tally.arrived == {}


def test_refused_members_are_counted_by_reason() -> None:
    """A member that asks for what it may not see is refused, and counted."""
    asking = {"bank-de": Subscription("bank-de", everything=False)}
    world = LaneWorld({("bank-fr", GREEN)}, asking=asking)
    world.publish(GREEN, alert("one"))
    world.read()
    assert world.make()[1].tally.refused == {"no-sight": 1}


def test_copies_of_a_decision_are_timed_when_they_are_committed() -> None:
    """From the broker's time of the alert to the commit that holds the copies, by topic; the decision's is none."""
    arrivals = Arrivals()
    assert arrivals.settle(Tally(arrived={"a": 1_000, "b": 1_500}), 1_600) == {}
    paid = Tally(paid=[Paid("a", GREEN, 3), Paid("b", GREEN, 0), Paid("unknown", GREEN, 2)])
    assert arrivals.settle(paid, 2_000) == {(GREEN, 1_000): 3}
    assert arrivals.settle(paid, 3_000) == {}


def test_a_clock_that_is_set_back_makes_no_negative_time() -> None:
    """The broker's clock may be ahead of ours."""
    arrivals = Arrivals()
    arrivals.settle(Tally(arrived={"a": 5_000}), 5_000)
    assert arrivals.settle(Tally(paid=[Paid("a", GREEN, 1)]), 4_000) == {(GREEN, 0): 1}


# -- collectors ------------------------------------------------------------------------------------------------------


def test_a_batch_counts_as_the_librarys_own_histogram_would() -> None:
    """A value on a bound is in its bucket, buckets add up, and the sum is of all."""
    histogram = BatchHistogram(DELIVERY)
    histogram.observe((LANE, "x"), 0.05, 10)
    histogram.observe((LANE, "x"), 0.06)
    histogram.observe((LANE, "x"), 1e6)
    [family] = histogram.collect()
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert [buckets[bound] for bound in ("0.025", "0.05", "0.1", "3600.0", "+Inf")] == [0, 10, 11, 11, 12]
    assert [s.value for s in family.samples if s.name.endswith("_sum")] == [pytest.approx(0.5 + 0.06 + 1e6)]


def test_a_lane_that_is_anothers_leaves_no_figures_behind() -> None:
    """What its next owner says must not be said twice; what was counted stays."""
    metrics = FanoutMetrics()
    metrics.lane_taken(LANE, "worker-1", 0.5, 10)
    metrics.places(LANE, [Place(GREEN, 5, 8), Place(GREEN, 5, 3)], 7.0)
    metrics.owed(LANE, {"bank-de": 3}, 100.0)
    metrics.committed(LANE, Transaction(), {(GREEN, 40): 3}, 2)
    metrics.clients.take(f"{LANE}.reader", json.dumps(STATISTICS))
    assert value(metrics, "kafka_consumergroup_lag", consumergroup="fanout.de", topic=GREEN, partition="0") == 0
    assert value(metrics, "tocsin_lag_records", lane=LANE) == 3
    metrics.turned(f"lane.{LANE}", 7.0)
    metrics.lane_ended(LANE, "worker-1", "fenced")
    assert _about_lane(metrics) == {
        "tocsin_lane_up",
        "tocsin_lane_hangs",
        "tocsin_lane_takeovers_total",
        "tocsin_lane_takeover_seconds",
        "tocsin_lane_endings_total",
        "tocsin_copies_total",
        "tocsin_delivery_seconds",
        "tocsin_delivery_seconds_count",
        "tocsin_delivery_seconds_sum",
    }
    assert value(metrics, "tocsin_lane_up", lane=LANE) == 0
    metrics.lane_left(LANE)
    assert "tocsin_lane_hangs" not in _about_lane(metrics)


def _about_lane(metrics: FanoutMetrics) -> set[str]:
    left = {
        line.split("{")[0]
        for line in generate_latest(metrics.registry).decode().splitlines()
        if any(name in line for name in (f'"{LANE}"', f"lane.{LANE}", "fanout.de", f"{LANE}.reader"))
    }
    return {name.rpartition("_bucket")[0] or name for name in left}


def test_a_debt_is_as_old_as_when_it_was_first_seen() -> None:
    """Later looks do not make it younger, and a member whose inbox takes copies again has no sample."""
    metrics = FanoutMetrics()
    metrics.owed(LANE, {"bank-de": 3}, 100.0)
    metrics.owed(LANE, {"bank-de": 5, "bank-fr": 1}, 160.0)
    labels = {"lane": LANE, "member": "bank-de"}
    assert value(metrics, "tocsin_owed_copies", **labels) == 5
    assert value(metrics, "tocsin_owed_timestamp_seconds", **labels) == 100
    metrics.owed(LANE, {"bank-fr": 1}, 170.0)
    assert value(metrics, "tocsin_owed_copies", **labels) is None
    assert value(metrics, "tocsin_owed_timestamp_seconds", lane=LANE, member="bank-fr") == 160


def test_a_look_that_failed_does_not_make_a_snapshot_young() -> None:
    """It is counted by the name of its error, and the time stays that of the last one that succeeded."""
    metrics = FanoutMetrics()
    metrics.looked(Look("sight", 10.0, 0.1, 7, None))
    metrics.looked(Look("sight", 20.0, 0.1, 7, "AclsNotUnderstood"))
    assert value(metrics, "tocsin_snapshot_timestamp_seconds", snapshot="sight") == 10
    assert value(metrics, "tocsin_snapshot_failures_total", snapshot="sight", reason="AclsNotUnderstood") == 1


STATISTICS = {
    "type": "consumer",
    "msg_cnt": 0,
    "msg_size": 0,
    "tx_bytes": 100,
    "rx_bytes": 2_000,
    "brokers": {
        "bootstrap": {"nodeid": -1, "rtt": {"avg": 1}, "txerrs": 9, "rxerrs": 9, "req_timeouts": 9},
        "one": {"nodeid": 1, "rtt": {"avg": 2_500}, "txerrs": 1, "rxerrs": 2, "req_timeouts": 3},
    },
    "topics": {"t": {"partitions": {"0": {"consumer_lag": 4}, "-1": {"consumer_lag": -1}}}},
}


def test_a_clients_statistics_come_to_a_few_samples() -> None:
    """In base units, without what is no broker and no partition that is read."""
    client = ("de.reader",)
    assert {(name, labels): count for name, labels, count in samples("de.reader", STATISTICS)} == {
        ("tocsin_client_queue_records", client): 0,
        ("tocsin_client_queue_bytes", client): 0,
        ("tocsin_client_sent_bytes_total", client): 100,
        ("tocsin_client_received_bytes_total", client): 2_000,
        ("tocsin_client_lag_records", client): 4,
        ("tocsin_client_broker_rtt_seconds", (*client, "1")): 0.0025,
        ("tocsin_client_broker_errors_total", (*client, "1")): 6,
    }


def test_a_client_tells_under_the_same_name_after_a_take_over() -> None:
    """What it said last counts, and the text is looked into only when somebody asks."""
    statistics = ClientStatistics()
    settings = statistics.settings("de.reader")
    settings["stats_cb"]("no json: never looked into")
    settings["stats_cb"](json.dumps(STATISTICS))
    sent = next(family for family in statistics.collect() if family.name == "tocsin_client_sent_bytes")
    assert [(s.name, s.labels, s.value) for s in sent.samples] == [
        ("tocsin_client_sent_bytes_total", {"client": "de.reader"}, 100)
    ]


# -- health ----------------------------------------------------------------------------------------------------------


def test_a_loop_that_does_not_turn_stands() -> None:
    """After its time, not before; a turn brings it back, and one that rests is expected to do nothing."""
    now = 0.0
    health = Health(lambda: now)
    pulse = health.pulse("group", 60)
    now = 1_000
    assert health.live() == {"group": None}
    pulse.beat()
    now += 60
    assert health.live() == {"group": None}
    now += 1
    assert health.live() == {"group": "has not turned for 61 s"}
    pulse.beat()
    assert health.live() == {"group": None}
    pulse.rest()
    now += 1_000
    assert health.live() == {"group": None}
