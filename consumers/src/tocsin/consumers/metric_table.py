"""The one table of all metrics: collectors, the manual (docs/metrics.md) and tests are made from it. Pure.

Labels are bounded: lanes, members, topics, outcomes and reasons, never an alert's or a lineage's id. What says when
something was is a time, not an age: it stays true when whoever set it stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What Prometheus takes it for."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Service(StrEnum):
    """Who serves it."""

    FANOUT = "fan-out"
    SEALER = "sealer"
    WITNESS = "witness"
    SHIPPER = "shipper"
    WITHDRAWALS = "withdrawals"
    DRIFT = "drift"
    TICK = "tick"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric under the name by which it is asked for: that of a counter ends in `_total`, of an info in `_info`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str
    services: tuple[Service, ...]
    buckets: tuple[float, ...] = ()


EVERY: Final = tuple(Service)
_FANOUT: Final = (Service.FANOUT,)
_SEALER: Final = (Service.SEALER,)
_WITNESS: Final = (Service.WITNESS,)
_SHIPPER: Final = (Service.SHIPPER,)
_WITHDRAWALS: Final = (Service.WITHDRAWALS,)
_DRIFT: Final = (Service.DRIFT,)
_TICK: Final = (Service.TICK,)
_POLICY: Final = (*_DRIFT, *_TICK)

_DELIVERY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)
_TRANSACTION_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)


def _counter(name: str, services: tuple[Service, ...], labels: tuple[str, ...], unit: str, text: str) -> Metric:
    return Metric(name, Kind.COUNTER, labels, unit, text, services)


def _gauge(name: str, services: tuple[Service, ...], labels: tuple[str, ...], unit: str, text: str) -> Metric:
    return Metric(name, Kind.GAUGE, labels, unit, text, services)


def _histogram(name: str, labels: tuple[str, ...], text: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Kind.HISTOGRAM, labels, "seconds", text, _FANOUT, buckets)


_EVERY_SERVICE: Final = (
    Metric("tocsin_build_info", Kind.INFO, ("service", "version"), "1", "Which release this is, and of what.", EVERY),
    _gauge("tocsin_loop_timestamp_seconds", EVERY, ("loop",), "time", "When a loop of the service last turned."),
)

_LANES: Final = (
    _gauge("tocsin_lane_up", _FANOUT, ("lane",), "0 or 1", "1 while this process works the lane."),
    _gauge("tocsin_lane_owner", _FANOUT, ("lane", "worker"), "1", "The name of the process that works the lane."),
    _counter("tocsin_lane_takeovers_total", _FANOUT, ("lane",), "take-overs", "How often this process took it over."),
    _gauge("tocsin_lane_takeover_seconds", _FANOUT, ("lane",), "seconds", "How long the last take-over took."),
    _counter(
        "tocsin_lane_endings_total",
        _FANOUT,
        ("lane", "ending"),
        "lanes",
        "How often the lane ended here: asked, fenced, failed, or stopped, which waits for help.",
    ),
    _gauge(
        "tocsin_lane_hangs",
        _FANOUT,
        ("lane",),
        "0 or 1",
        "1 while a transaction stays open on the lane's ledger though both of its ids are fenced.",
    ),
    _gauge("tocsin_lag_records", _FANOUT, ("lane",), "records", "Records of the lane that are not decided yet."),
    _gauge(
        "tocsin_lag_timestamp_seconds",
        _FANOUT,
        ("lane",),
        "time",
        "When the oldest record came that is not decided yet; the present while there is none.",
    ),
    _gauge(
        "kafka_consumergroup_current_offset",
        _FANOUT,
        ("consumergroup", "topic", "partition"),
        "offset",
        "The next offset to decide of an alert topic.",
    ),
    _gauge(
        "kafka_consumergroup_lag",
        _FANOUT,
        ("consumergroup", "topic", "partition"),
        "records",
        "Records of an alert topic that are not decided yet.",
    ),
    _gauge("tocsin_ledger_lineages", _FANOUT, ("lane",), "lineages", "Lineages that the ledger remembers."),
    _gauge(
        "tocsin_expiring_lineages",
        _FANOUT,
        ("lane",),
        "lineages",
        "Lineages that end by themselves within a day, or a few more: later revisions may have put it off.",
    ),
    _gauge("tocsin_held_revisions", _FANOUT, ("lane",), "revisions", "Revisions kept because of legal holds."),
)

_DELIVERING: Final = (
    _histogram(
        "tocsin_delivery_seconds",
        ("lane", "type"),
        "From the broker's time of an alert to the commit of each of its copies.",
        _DELIVERY_S,
    ),
    _counter("tocsin_copies_total", _FANOUT, ("lane",), "copies", "Records committed to inboxes, notices included."),
    _counter(
        "tocsin_decisions_total",
        _FANOUT,
        ("lane", "kind", "outcome", "reason"),
        "decisions",
        "Decisions committed; the reason is empty unless a record is rejected or a duplicate.",
    ),
    _counter(
        "tocsin_refusals_total",
        _FANOUT,
        ("lane", "reason"),
        "members",
        "Members refused an alert by decisions committed.",
    ),
    _counter(
        "tocsin_line_tests_total",
        _FANOUT,
        ("lane", "head"),
        "tests",
        "Tests of the line begun, by whether they carry the head of the lane's log (yes, no).",
    ),
    _gauge("tocsin_owed_seqs", _FANOUT, ("lane",), "decisions", "Decisions whose copies are not written yet."),
    _gauge("tocsin_behind_members", _FANOUT, ("lane",), "members", "Members whose inbox refuses copies."),
    _gauge(
        "tocsin_owed_copies",
        _FANOUT,
        ("lane", "member"),
        "copies",
        "What is owed to a member whose inbox refuses; a member whose inbox takes copies has no sample.",
    ),
    _gauge(
        "tocsin_owed_timestamp_seconds",
        _FANOUT,
        ("lane", "member"),
        "time",
        "Since when that member is owed something, as far as this process has seen.",
    ),
    _gauge(
        "tocsin_line_timestamp_seconds",
        _FANOUT,
        ("lane", "member"),
        "time",
        "When a member's line was last tested; of one that was never tested, when that was first to be done.",
    ),
    _gauge("tocsin_line_test_seconds", _FANOUT, (), "seconds", "How often this process tests lines."),
    _gauge(
        "tocsin_gains_held_members", _FANOUT, ("lane",), "members", "Members who gained more at once than the bound."
    ),
    _counter(
        "tocsin_transactions_total",
        _FANOUT,
        ("lane", "outcome"),
        "transactions",
        "Transactions committed, aborted, or doubtful: committed, perhaps twice, so the lane is taken over again.",
    ),
    _histogram(
        "tocsin_transaction_seconds",
        ("lane",),
        "From the beginning of a transaction to its commit.",
        _TRANSACTION_S,
    ),
    _gauge(
        "tocsin_clock_skew_seconds",
        _FANOUT,
        ("member",),
        "seconds",
        "The broker's time of a publisher's newest alert, less the time in it: below 0 its clock is ahead; above, it"
        " is behind or the alert has waited in the spool.",
    ),
)

_SNAPSHOTS: Final = (
    _gauge(
        "tocsin_snapshot_timestamp_seconds",
        _FANOUT,
        ("snapshot",),
        "time",
        "When sight (the ACLs), topics, directory, outboxes, by which it decides, and heads were last read whole.",
    ),
    _gauge(
        "tocsin_snapshot_read_seconds", _FANOUT, ("snapshot",), "seconds", "How long reading them took the last time."
    ),
    _gauge(
        "tocsin_snapshot_size",
        _FANOUT,
        ("snapshot",),
        "rows",
        "How much there was: ACL rows, topics, members of the directory, subscriptions, logs whose head is known.",
    ),
    _counter(
        "tocsin_snapshot_failures_total",
        _FANOUT,
        ("snapshot", "reason"),
        "looks",
        "Looks that failed, by the name of the error: AclsNotUnderstood is a row of a kind that has no name.",
    ),
    _gauge("tocsin_deliveries_stopped", _FANOUT, ("lane",), "0 or 1", "1 while a snapshot is missing or too old."),
    _counter(
        "tocsin_sight_changes_total",
        _FANOUT,
        ("lane", "change"),
        "members x topics",
        "Sight gained and lost since the lane was taken over.",
    ),
)

_CLIENT: Final = (
    _gauge(
        "tocsin_client_broker_rtt_seconds",
        _FANOUT,
        ("client", "broker"),
        "seconds",
        "Average time of a broker's answer, by the client library's last statistics.",
    ),
    _counter(
        "tocsin_client_broker_errors_total",
        _FANOUT,
        ("client", "broker"),
        "requests",
        "Requests that could not be sent, answers that could not be read, and time-outs.",
    ),
    _gauge("tocsin_client_queue_records", _FANOUT, ("client",), "records", "Records that the client holds to send."),
    _gauge("tocsin_client_queue_bytes", _FANOUT, ("client",), "bytes", "Bytes of those records."),
    _counter("tocsin_client_sent_bytes_total", _FANOUT, ("client",), "bytes", "Bytes sent to brokers."),
    _counter("tocsin_client_received_bytes_total", _FANOUT, ("client",), "bytes", "Bytes received from brokers."),
    _gauge("tocsin_client_lag_records", _FANOUT, ("client",), "records", "Records that a reader has not fetched yet."),
)

_RECORD: Final = (
    _gauge("tocsin_sealed_records", _SEALER, ("topic",), "records", "Records sealed."),
    _gauge("tocsin_seal_lag_records", _SEALER, ("topic",), "offsets", "Offsets on record that are not sealed yet."),
    _gauge("tocsin_sealer_refused_logs", _SEALER, (), "logs", "Topics whose log cannot be gone on with."),
    _gauge(
        "tocsin_sealed_timestamp_seconds",
        _SEALER,
        (),
        "time",
        "When all that was on record was last sealed; the seal's lag in seconds is the time since.",
    ),
    _gauge("tocsin_witness_entries", _WITNESS, ("topic",), "entries", "Entries of the newest cosigned head."),
    _gauge("tocsin_witness_forks", _WITNESS, (), "heads", "Heads kept as evidence that a log contradicts itself."),
    _gauge("tocsin_witness_waiting_heads", _WITNESS, (), "heads", "Heads that cannot be compared yet."),
    _gauge("tocsin_witness_timestamp_seconds", _WITNESS, (), "time", "When the newest heads were last looked at."),
    _gauge(
        "tocsin_withdrawals_overdue",
        _WITHDRAWALS,
        ("lane", "member"),
        "lineages",
        "Retracted lineages that a member should have acknowledged by now.",
    ),
    _gauge(
        "tocsin_withdrawals_oldest_seconds",
        _WITHDRAWALS,
        ("lane",),
        "seconds",
        "Age of the oldest retraction that somebody has not acknowledged.",
    ),
    _gauge("tocsin_withdrawals_read_timestamp_seconds", _WITHDRAWALS, (), "time", "When this was last read."),
)

_ACCESS: Final = (
    _gauge(
        "tocsin_access_lag_bytes",
        _SHIPPER,
        ("source",),
        "bytes",
        "What a broker's own log says of who touched the topics, and is not on record.",
    ),
    _gauge("tocsin_access_records", _SHIPPER, (), "records", "Records shipped since the start."),
    _gauge("tocsin_access_lines", _SHIPPER, (), "lines", "Lines of the brokers' logs in them."),
    _gauge("tocsin_access_unread_lines", _SHIPPER, (), "lines", "Lines among them that were not understood."),
    _gauge("tocsin_access_lost_parts", _SHIPPER, (), "parts", "How often a log was gone before it was read."),
    _gauge(
        "tocsin_access_shipped_timestamp_seconds",
        _SHIPPER,
        (),
        "time",
        "When all that the logs said was last on record.",
    ),
)

_OF_POLICY: Final = (
    _gauge(
        "tocsin_policy_differences",
        _DRIFT,
        ("kind",),
        "differences",
        "Things that are not as the policy has them, emergencies included.",
    ),
    _gauge(
        "tocsin_policy_ends_timestamp_seconds",
        _TICK,
        ("what", "name"),
        "time",
        "When an agreement, transfer, prohibition, key, directory, break-glass or certificate ends by itself.",
    ),
    _gauge("tocsin_policy_looked_timestamp_seconds", _POLICY, ("task",), "time", "When this was last looked at."),
)

TABLE: Final = (
    *_EVERY_SERVICE,
    *_LANES,
    *_DELIVERING,
    *_SNAPSHOTS,
    *_CLIENT,
    *_RECORD,
    *_ACCESS,
    *_OF_POLICY,
)


def metrics_of(service: Service) -> tuple[Metric, ...]:
    """The metrics that a service has."""
    return tuple(one for one in TABLE if service in one.services)
