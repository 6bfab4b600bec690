"""What the fan-out counts, for Prometheus. Labels are bounded: lanes, outcomes and reasons, never an alert id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

if TYPE_CHECKING:
    from tocsin.consumers.lane_transaction import Transaction


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
        self._up = Gauge("tocsin_lane_up", "1 while this process works the lane.", lane, registry=self.registry)

    def lane_up(self, lane: str, *, up: bool) -> None:
        """Note whether this process works `lane`."""
        self._up.labels(lane).set(up)

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
