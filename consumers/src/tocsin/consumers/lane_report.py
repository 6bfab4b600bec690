"""What one lane tells of itself: metrics, and the sign of life of its loop. Nothing of it is done for each copy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from typing import Final

from tocsin.consumers.alert_reader import AlertReader
from tocsin.consumers.fanout_metrics import FanoutMetrics, Place
from tocsin.consumers.health import Pulse
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_transaction import Context, Transaction
from tocsin.consumers.sight import Sight
from tocsin.consumers.tally import Arrivals

STATE_EVERY_S: Final = 1.0


class LaneReport:
    """Kept through the take-overs of one lane by one process, `worker`."""

    def __init__(self, lane: str, worker: str, metrics: FanoutMetrics, pulse: Pulse) -> None:
        self._lane = lane
        self._worker = worker
        self._metrics = metrics
        self._pulse = pulse
        self._arrivals = Arrivals()
        self._told_at = float("-inf")
        self._sight: Sight | None = None
        self.up = False

    def taking(self) -> None:
        """The lane is about to be taken over, which takes as long as its ledger is large."""
        self._pulse.rest()
        self._metrics.lane_rests(self._lane)
        self.up = False

    def taken(self, took_s: float, lineages: int) -> None:
        """The lane was taken over."""
        self._metrics.lane_taken(self._lane, self._worker, took_s, lineages)
        self._told_at, self._sight = float("-inf"), None
        self.up = True

    def hangs(self) -> None:
        """A transaction stays open on its ledger."""
        self._metrics.lane_hangs(self._lane)

    def ended(self, ending: str) -> None:
        """This process does not work the lane any more."""
        self._pulse.rest()
        self.up = False
        self._metrics.lane_ended(self._lane, self._worker, ending)

    def turned(self) -> None:
        """The loop has turned, whatever came of it."""
        self._pulse.beat()
        self._metrics.turned(f"lane.{self._lane}", time.time())

    def wrote(self, took_s: float, outcome: str) -> None:
        """A transaction has ended."""
        self._metrics.wrote(self._lane, took_s, outcome)

    def committed(self, lane: Lane, tx: Transaction) -> None:
        """The lane has taken in what was committed."""
        times = self._arrivals.settle(tx.tally, time.time_ns() // 1_000_000)
        self._metrics.committed(self._lane, tx, times, len(lane.due))

    def line_tested(self, *, with_head: bool) -> None:
        """Members are told that their line is alive, with the head of the lane's log or without."""
        self._metrics.line_tested(self._lane, with_head=with_head)

    def stopped(self, *, stopped: bool) -> None:
        """Deliveries have been stopped, or go on."""
        self._metrics.stopped(self._lane, stopped=stopped)

    def gains_held(self, members: int) -> None:
        """So many members have gained too much at once to be given it."""
        self._metrics.gains_held(self._lane, members)

    def state(self, lane: Lane, reader: AlertReader, oldest_ms: int | None) -> None:
        """Once a second: how far the lane is. `oldest_ms` is when the oldest record came that is not decided yet."""
        now = time.monotonic()
        if now - self._told_at < STATE_EVERY_S:
            return
        self._told_at = now
        self._places(lane, reader, oldest_ms)
        debts = {member: len(keys) for member, keys in lane.behind.items() if member in lane.ledger.mark.behind}
        self._metrics.owed(self._lane, debts, time.time())
        self._metrics.state(
            self._lane,
            lineages=len(lane.ledger.entries),
            expiring=lane.expiring(time.time_ns() // 1_000_000),
            held=len(lane.ledger.held),
        )

    def _places(self, lane: Lane, reader: AlertReader, oldest_ms: int | None) -> None:
        positions = lane.ledger.positions
        places = [
            Place(topic, positions[topic].next_offset if topic in positions else 0, end)
            for topic, end in reader.ends().items()
        ]
        self._metrics.places(self._lane, places, time.time() if oldest_ms is None else oldest_ms / 1_000)

    def sight(self, context: Context, topics: Collection[str]) -> None:
        """The lane goes by the sight of `context` on its `topics`."""
        before, now = self._sight, context.sight
        self._sight = now
        if before is None or before.state == now.state:
            return
        changes = Counter[str]()
        for topic in topics:
            had, has = before.readers(topic, context.directory).keys(), now.readers(topic, context.directory).keys()
            changes["gained"] += len(has - had)
            changes["lost"] += len(had - has)
        self._metrics.sight_changed(self._lane, changes)
