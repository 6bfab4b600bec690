"""What services count, for Prometheus. Labels are bounded: lanes, members, outcomes and reasons, never an alert id."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

if TYPE_CHECKING:
    from tocsin.consumers.lane_transaction import Transaction
    from tocsin.consumers.withdrawals import Withdrawal


class FanoutMetrics:
    """The fan-out's metrics in one registry. Counters rise after the commit that made them true."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()
        self.registry = registry or CollectorRegistry()
        lane = ["lane"]
        self._copies = Counter("tocsin_copies", "Copies committed to inboxes.", lane, registry=self.registry)
        self._decisions = Counter("tocsin_decisions", "Decisions committed.", lane, registry=self.registry)
        self._transactions = Counter("tocsin_transactions", "Transactions committed.", lane, registry=self.registry)
        self._owed = Gauge(
            "tocsin_owed_seqs", "Decisions whose copies are not written yet.", lane, registry=self.registry
        )
        self._behind = Gauge(
            "tocsin_behind_members", "Members whose inbox refuses copies.", lane, registry=self.registry
        )
        self._gains_held = Gauge(
            "tocsin_gains_held_members", "Members who gained more at once than the bound.", lane, registry=self.registry
        )
        self._held = Gauge(
            "tocsin_held_revisions", "Revisions kept because of legal holds.", lane, registry=self.registry
        )
        self._tests = Counter(
            "tocsin_line_tests",
            "Tests of the line begun, by whether they carry the head of the lane's log.",
            ["lane", "head"],
            registry=self.registry,
        )
        self._up = Gauge("tocsin_lane_up", "1 while this process works the lane.", lane, registry=self.registry)

    def lane_up(self, lane: str, *, up: bool) -> None:
        """Note whether this process works `lane`."""
        self._up.labels(lane).set(up)

    def line_tested(self, lane: str, *, with_head: bool) -> None:
        """Note that a lane's members are told that their line is alive, with the head of its log or without."""
        self._tests.labels(lane, "yes" if with_head else "no").inc()

    def gains_held(self, lane: str, members: int) -> None:
        """Note how many members wait for a release before they are given what they have gained."""
        self._gains_held.labels(lane).set(members)

    def committed(self, lane: str, tx: Transaction, *, held: int) -> None:
        """Count what `tx` wrote; `held` revisions are kept because of legal holds."""
        self._transactions.labels(lane).inc()
        self._copies.labels(lane).inc(len(tx.copies))
        self._decisions.labels(lane).inc(len(tx.decisions))
        self._owed.labels(lane).set(tx.seq - tx.mark.paid)
        self._behind.labels(lane).set(len(tx.mark.behind))
        self._held.labels(lane).set(held)


class SealerMetrics:
    """How far the record is sealed, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._records = Gauge("tocsin_sealed_records", "Records sealed.", ("topic",), registry=self.registry)
        self._refused = Gauge(
            "tocsin_sealer_refused_logs", "Topics whose log cannot be gone on with.", registry=self.registry
        )
        self._sealed_at = Gauge(
            "tocsin_sealed_timestamp_seconds", "When all that was on record was last sealed.", registry=self.registry
        )

    def sealed(self, records: Mapping[str, int], refused: int, now_s: float) -> None:
        """Note that all that was on record at `now_s` is sealed but for `refused` topics; how many records of each."""
        for topic, count in records.items():
            self._records.labels(topic).set(count)
        self._refused.set(refused)
        self._sealed_at.set(now_s)


class WitnessMetrics:
    """What a witness has compared and cosigned, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._entries = Gauge(
            "tocsin_witness_entries", "Entries of the newest cosigned head.", ("topic",), registry=self.registry
        )
        self._forks = Gauge(
            "tocsin_witness_forks", "Heads kept as evidence that a log contradicts itself.", registry=self.registry
        )
        self._waiting = Gauge(
            "tocsin_witness_waiting_heads", "Heads that cannot be compared yet.", registry=self.registry
        )
        self._looked_at = Gauge(
            "tocsin_witness_timestamp_seconds", "When the newest heads were last looked at.", registry=self.registry
        )

    def looked(self, entries: Mapping[str, int | None], forks: int, waiting: int, now_s: float) -> None:
        """Note what there is after a look at `now_s`: entries by topic, None where nothing is cosigned yet."""
        for topic, count in entries.items():
            self._entries.labels(topic).set(count or 0)
        self._forks.set(forks)
        self._waiting.set(waiting)
        self._looked_at.set(now_s)


class WithdrawalsMetrics:
    """Who is overdue with acknowledging what was withdrawn, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._overdue = Gauge(
            "tocsin_withdrawals_overdue",
            "Retracted lineages that a member should have acknowledged by now.",
            ("lane", "member"),
            registry=self.registry,
        )
        self._oldest = Gauge(
            "tocsin_withdrawals_oldest_seconds",
            "Age of the oldest retraction that somebody has not acknowledged.",
            ("lane",),
            registry=self.registry,
        )
        self._read_at = Gauge(
            "tocsin_withdrawals_read_timestamp_seconds", "When this was last read.", registry=self.registry
        )

    def read(self, found: Collection[Withdrawal], lanes: Collection[str], now_ms: int, after_ms: int) -> None:
        """Take in what was read at `now_ms`: all that there is of `lanes`."""
        self._overdue.clear()
        for lane in lanes:
            self._oldest.labels(lane).set(0)
        late = Counts((one.lane, one.member) for one in found if one.overdue(now_ms, after_ms))
        oldest: dict[str, int] = {}
        for one in found:
            if one.overdue(now_ms, 0):
                oldest[one.lane] = min(one.withdrawn_ms, oldest.get(one.lane, now_ms))
        for (lane, member), count in late.items():
            self._overdue.labels(lane, member).set(count)
        for lane, withdrawn_ms in oldest.items():
            self._oldest.labels(lane).set((now_ms - withdrawn_ms) / 1_000)
        self._read_at.set(now_ms / 1_000)
