"""What the fan-out tells Prometheus. Counters rise after the commit that made them true, once a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import Service

if TYPE_CHECKING:
    from tocsin.consumers.lane_transaction import Transaction


class FanoutMetrics(Metrics):
    """The metrics of one process of the fan-out."""

    def __init__(self) -> None:
        super().__init__(Service.FANOUT)
        self._lines: dict[str, dict[str, float]] = {}

    def lane_up(self, lane: str, *, up: bool) -> None:
        """Note whether this process works `lane`."""
        self.gauge("tocsin_lane_up").labels(lane).set(up)

    def gains_held(self, lane: str, members: int) -> None:
        """Note how many members wait for a release before they are given what they have gained."""
        self.gauge("tocsin_gains_held_members").labels(lane).set(members)

    def committed(self, lane: str, tx: Transaction, *, held: int) -> None:
        """Count what `tx` wrote; `held` revisions are kept because of legal holds."""
        self.counter("tocsin_transactions_total").labels(lane, "committed").inc()
        self.counter("tocsin_copies_total").labels(lane).inc(len(tx.copies))
        self.gauge("tocsin_owed_seqs").labels(lane).set(tx.seq - tx.mark.paid)
        self.gauge("tocsin_behind_members").labels(lane).set(len(tx.mark.behind))
        self.gauge("tocsin_held_revisions").labels(lane).set(held)
        if tx.lines:
            self.lines(lane, tx.lines, tx.mark.tested_at / 1_000)

    def lines(self, lane: str, tested: Mapping[str, bool], now_s: float) -> None:
        """Note which members' lines were tested: who was not, has waited since it last was, or was first seen."""
        before = self._lines.get(lane, {})
        since = {member: now_s if done else before.get(member, now_s) for member, done in tested.items()}
        for member, at_s in since.items():
            self.gauge("tocsin_line_timestamp_seconds").labels(lane, member).set(at_s)
        for member in before.keys() - since.keys():
            self.gauge("tocsin_line_timestamp_seconds").remove(lane, member)
        self._lines[lane] = since
