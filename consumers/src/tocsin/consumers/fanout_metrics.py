"""What the fan-out tells Prometheus. Counters rise after the commit that made them true, once a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tocsin.consumers.client_statistics import METRICS, ClientStatistics
from tocsin.consumers.histogram import BatchHistogram
from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import TABLE, Service
from tocsin.schemas.names import AlertTopic

if TYPE_CHECKING:
    from tocsin.consumers.lane_transaction import Transaction
    from tocsin.consumers.watch import Look

_DELIVERY = next(metric for metric in TABLE if metric.name == "tocsin_delivery_seconds")
# what a lane's next owner says from now on
_OF_STATE = (
    "tocsin_lag_records",
    "tocsin_lag_timestamp_seconds",
    "tocsin_ledger_lineages",
    "tocsin_expiring_lineages",
    "tocsin_held_revisions",
    "tocsin_owed_seqs",
    "tocsin_behind_members",
    "tocsin_gains_held_members",
    "tocsin_deliveries_stopped",
)


class Place(NamedTuple):
    """How far an alert topic is decided, and where it ends."""

    topic: str
    next_offset: int
    end: int

    @property
    def lag(self) -> int:
        """Records that are not decided yet."""
        return max(0, self.end - self.next_offset)


class FanoutMetrics(Metrics):
    """The metrics of one process of the fan-out."""

    def __init__(self) -> None:
        super().__init__(Service.FANOUT, others=frozenset({_DELIVERY.name, *METRICS}))
        self._delivery = BatchHistogram(_DELIVERY)
        self.clients = ClientStatistics()
        self.registry.register(self._delivery)
        self.registry.register(self.clients)
        self._owed: dict[str, dict[str, float]] = {}
        self._lines: dict[str, dict[str, float]] = {}
        self._places: set[tuple[str, str, str]] = set()

    # -- a lane's life -----------------------------------------------------------------------------------------------

    def lane_taken(self, lane: str, worker: str, took_s: float, lineages: int) -> None:
        """Note that this process, named `worker`, works `lane` from now on."""
        self.gauge("tocsin_lane_up").labels(lane).set(1)
        self.gauge("tocsin_lane_owner").labels(lane, worker).set(1)
        self.gauge("tocsin_lane_hangs").labels(lane).set(0)
        self.gauge("tocsin_lane_takeover_seconds").labels(lane).set(took_s)
        self.counter("tocsin_lane_takeovers_total").labels(lane).inc()
        self.gauge("tocsin_ledger_lineages").labels(lane).set(lineages)
        for name in ("tocsin_deliveries_stopped", "tocsin_gains_held_members"):
            self.gauge(name).labels(lane)  # 0 until something else is said

    def lane_rests(self, lane: str) -> None:
        """Note that the loop of `lane` does not turn, and is not meant to."""
        self._forget("tocsin_loop_timestamp_seconds", f"lane.{lane}")

    def lane_hangs(self, lane: str) -> None:
        """Note that a transaction stays open on the ledger of `lane`."""
        self.gauge("tocsin_lane_hangs").labels(lane).set(1)

    def lane_left(self, lane: str) -> None:
        """Note that the group has given `lane` to somebody else, who says from now on whether it hangs."""
        self._forget("tocsin_lane_hangs", lane)

    def lane_ended(self, lane: str, worker: str, ending: str) -> None:
        """Note that this process does not work `lane` any more: what is said of its state is another's to say."""
        self.counter("tocsin_lane_endings_total").labels(lane, ending).inc()
        self.gauge("tocsin_lane_up").labels(lane).set(0)
        self._forget("tocsin_lane_owner", lane, worker)
        for name in _OF_STATE:
            self._forget(name, lane)
        for member in self._owed.pop(lane, {}):
            self._forget_owed(lane, member)
        for member in self._lines.pop(lane, {}):
            self._forget("tocsin_line_timestamp_seconds", lane, member)
        self.lane_rests(lane)
        # other lanes' threads add theirs meanwhile
        for labels in [one for one in [*self._places] if one[0] == _group(lane)]:
            self._forget("kafka_consumergroup_current_offset", *labels)
            self._forget("kafka_consumergroup_lag", *labels)
            self._places.discard(labels)
        self.clients.forget(lane)

    # -- transactions ------------------------------------------------------------------------------------------------

    def line_tested(self, lane: str, *, with_head: bool) -> None:
        """Note that a lane's members are told that their line is alive, with the head of its log or without."""
        self.counter("tocsin_line_tests_total").labels(lane, "yes" if with_head else "no").inc()

    def committed(self, lane: str, tx: Transaction, times: Mapping[tuple[str, int], int], owed: int) -> None:
        """Count what `tx` wrote, after which `owed` decisions are owed.

        `times` has how many records were paid, by topic and milliseconds since the alert.
        """
        self.counter("tocsin_copies_total").labels(lane).inc(len(tx.copies))
        for (kind, outcome, reason), count in tx.tally.decisions.items():
            self.counter("tocsin_decisions_total").labels(lane, kind, outcome, reason).inc(count)
        for reason, count in tx.tally.refused.items():
            self.counter("tocsin_refusals_total").labels(lane, reason).inc(count)
        for (topic, ms), records in times.items():
            self._delivery.observe((lane, _type(topic)), ms / 1_000, records)
        for member, skew_ms in tx.tally.skew_ms.items():
            self.gauge("tocsin_clock_skew_seconds").labels(member).set(skew_ms / 1_000)
        self.gauge("tocsin_owed_seqs").labels(lane).set(owed)
        self.gauge("tocsin_behind_members").labels(lane).set(len(tx.mark.behind))
        if tx.lines:
            self.lines(lane, tx.lines, tx.mark.tested_at / 1_000)

    def lines(self, lane: str, tested: Mapping[str, bool], now_s: float) -> None:
        """Note which members' lines were tested: who was not, has waited since it last was, or was first seen."""
        before = self._lines.get(lane, {})
        since = {member: now_s if done else before.get(member, now_s) for member, done in tested.items()}
        for member, at_s in since.items():
            self.gauge("tocsin_line_timestamp_seconds").labels(lane, member).set(at_s)
        for member in before.keys() - since.keys():
            self._forget("tocsin_line_timestamp_seconds", lane, member)
        self._lines[lane] = since

    def wrote(self, lane: str, took_s: float, outcome: str) -> None:
        """Count a transaction; only of one that was committed is it said how long it took."""
        self.counter("tocsin_transactions_total").labels(lane, outcome).inc()
        if outcome != "aborted":
            self.histogram("tocsin_transaction_seconds").labels(lane).observe(took_s)

    # -- now and then ------------------------------------------------------------------------------------------------

    def places(self, lane: str, places: Iterable[Place], oldest_s: float) -> None:
        """Note how far each alert topic of `lane` is decided; the oldest record that is not came at `oldest_s`."""
        total = 0
        for place in places:
            labels = (_group(lane), place.topic, "0")
            self.gauge("kafka_consumergroup_current_offset").labels(*labels).set(place.next_offset)
            self.gauge("kafka_consumergroup_lag").labels(*labels).set(place.lag)
            self._places.add(labels)
            total += place.lag
        self.gauge("tocsin_lag_records").labels(lane).set(total)
        self.gauge("tocsin_lag_timestamp_seconds").labels(lane).set(oldest_s)

    def state(self, lane: str, *, lineages: int, expiring: int, held: int) -> None:
        """Note what the ledger of `lane` holds."""
        self.gauge("tocsin_ledger_lineages").labels(lane).set(lineages)
        self.gauge("tocsin_expiring_lineages").labels(lane).set(expiring)
        self.gauge("tocsin_held_revisions").labels(lane).set(held)

    def owed(self, lane: str, debts: Mapping[str, int], now_s: float) -> None:
        """Note what is owed to the members whose inbox refuses: all of them, by how many copies."""
        before = self._owed.get(lane, {})
        since = {member: before.get(member, now_s) for member in debts}
        for member, count in debts.items():
            self.gauge("tocsin_owed_copies").labels(lane, member).set(count)
            self.gauge("tocsin_owed_timestamp_seconds").labels(lane, member).set(since[member])
        for member in before.keys() - since.keys():
            self._forget_owed(lane, member)
        self._owed[lane] = since

    def gains_held(self, lane: str, members: int) -> None:
        """Note how many members wait for a release before they are given what they have gained."""
        self.gauge("tocsin_gains_held_members").labels(lane).set(members)

    def stopped(self, lane: str, *, stopped: bool) -> None:
        """Note whether deliveries of `lane` are stopped because of a snapshot that is missing or too old."""
        self.gauge("tocsin_deliveries_stopped").labels(lane).set(stopped)

    def sight_changed(self, lane: str, changes: Mapping[str, int]) -> None:
        """Count sight that was gained and lost."""
        for change, count in changes.items():
            self.counter("tocsin_sight_changes_total").labels(lane, change).inc(count)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def looked(self, look: Look) -> None:
        """Take in what a watcher has just done."""
        if look.failure is not None:
            self.counter("tocsin_snapshot_failures_total").labels(look.watch, look.failure).inc()
            return
        self.gauge("tocsin_snapshot_timestamp_seconds").labels(look.watch).set(look.began_s)
        self.gauge("tocsin_snapshot_read_seconds").labels(look.watch).set(look.took_s)
        self.gauge("tocsin_snapshot_size").labels(look.watch).set(look.size)

    def _forget_owed(self, lane: str, member: str) -> None:
        self._forget("tocsin_owed_copies", lane, member)
        self._forget("tocsin_owed_timestamp_seconds", lane, member)

    def _forget(self, name: str, *labels: str) -> None:
        with suppress(KeyError):  # nothing was ever said of it
            self.gauge(name).remove(*labels)


@cache
def _type(topic: str) -> str:
    return AlertTopic.parse(topic).type.value


def _group(lane: str) -> str:
    return f"fanout.{lane}"
