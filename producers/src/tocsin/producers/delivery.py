"""Delivery from the spool to the bus, in a thread of its own, for as long as the publisher is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tocsin.producers.errors import SpoolFull
from tocsin.producers.signer import Signer
from tocsin.producers.spool import Spool
from tocsin.producers.spool_rows import Row, Settled, State
from tocsin.schemas.bus import Failure, Kind, Writer
from tocsin.schemas.errors import BundleInvalid

BATCH: Final = 500
OUT_MAX: Final = 2_000
# between two batches: one alert goes at once, many go together
PACE_S: Final = 0.005
QUIET_POLL_S: Final = 0.05
REST_S: Final = 1.0
RETRY_S: Final = 1.0
# between two erasures of what has been delivered: each waits for the disk
ERASE_S: Final = 1.0
RETRY_S_MAX: Final = 30.0

_REASONS: Final[Mapping[Kind, str]] = {
    Kind.UNREACHABLE: "no broker has taken it yet ({detail}); it is sent again",
    Kind.DENIED: "this login may not WRITE to {topic}; ask the secretariat for the right",
    Kind.NO_TOPIC: "{topic} does not exist; is the jurisdiction in the coalition's policy?",
    Kind.TOO_LARGE: "larger than {topic} takes; publish a shorter one",
    Kind.OTHER: "the broker refused it: {detail}",
}
EXPIRED: Final = "it expired before it could be delivered"


@dataclass(slots=True)
class _Hold:
    """A topic that refuses: not tried again before `until` (monotonic seconds)."""

    reason: str
    wait_s: float
    until: float


class Delivery:
    """Takes alerts from the spool, sends them, and records what became of them.

    A topic that refuses is tried again after 1, 2, 4 ... 30 seconds, and holds up no other topic. A writer that reaches
    nobody is given everything again after a second. What has been delivered is out of the spool's files two seconds
    later.
    """

    def __init__(self, spool: Spool, writer: Writer, signer: Signer, now: Callable[[], int]) -> None:
        self._spool = spool
        self._writer = writer
        self._signer = signer
        self._now = now
        self._settled: list[Settled] = []
        self._out = 0
        self._holds: dict[str, _Hold] = {}
        self._pause_until = 0.0
        self._sent_at = 0.0
        self._erased_at = 0.0
        self._asked = 0  # calls of wake()
        self._answered = -1  # the call after which nothing could be sent
        self._change = threading.Condition()
        self._stopping = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="tocsin-delivery", daemon=True)
        self._thread.start()

    # -- for other threads -------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something new in the spool."""
        with self._change:
            self._asked += 1
            self._change.notify_all()

    def flush(self, timeout_s: float | None) -> int:
        """Wait until nothing waits, or only what the bus refuses. Returns how many alerts wait.

        Raises:
            SpoolError: delivery has ended because the spool failed.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while waiting := self._spool.waiting():
            left = REST_S if deadline is None else deadline - time.monotonic()
            with self._change:
                if self.failure is not None:
                    raise self.failure
                if left <= 0 or self._stopping or self._answered == self._asked:
                    break
                self._change.wait(min(left, REST_S))
        return waiting

    def held(self) -> dict[str, str]:
        """Topics that refuse, each with the reason."""
        return {topic: hold.reason for topic, hold in self._holds.copy().items()}

    def stop(self) -> None:
        """End the thread; what is on its way is given up and stays in the spool."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        self._thread.join()
        self._writer.close()
        if self.failure is None:
            # with no room to mark what has arrived, it is sent again some day
            with suppress(SpoolFull):
                self._settle()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._step()
        except Exception as failure:  # noqa: BLE001  # raised again in the caller's threads
            with self._change:
                self.failure = failure
                self._change.notify_all()

    def _step(self) -> None:
        try:
            self._erase()
            asked, now = self._asked, time.monotonic()
            sent = self._send_some()
            self._poll()
            settled = self._settle()
        except SpoolFull:
            # somebody else filled the disk: what was sent is still known here, and marked when there is room again
            self._rest(REST_S)
            return
        if not (sent or settled or self._out):
            self._idle(asked, now)

    def _send_some(self) -> int:
        now = time.monotonic()
        if self._out >= OUT_MAX or now < max(self._pause_until, self._sent_at + PACE_S):
            return 0
        rows = self._spool.take(BATCH, but_topics=[t for t, hold in self._holds.items() if now < hold.until])
        self._out += len(rows)
        for number, row in enumerate(rows):
            try:
                self._send(row)
            except SpoolFull:
                for left in rows[number:]:  # nobody has them, so they wait again
                    self._done(Settled(left, State.NEW))
                raise
        if rows:
            self._sent_at = now
        return len(rows)

    def _send(self, row: Row) -> None:
        if row.expires_at <= self._now():
            self._done(Settled(row, State.DEAD, EXPIRED))
            return
        try:
            again = self._signer.signed_again(row)
        except BundleInvalid as error:
            self._pause_until = time.monotonic() + RETRY_S
            self._done(Settled(row, State.NEW, str(error)))
            return
        if again is not None:
            self._spool.resign(again)
        ready = again or row
        self._writer.send(
            ready.topic,
            ready.lineage_id.encode(),
            ready.value,
            ready.headers,
            lambda failure: self._done(self._outcome(ready, failure)),
        )

    def _done(self, settled: Settled) -> None:
        self._out -= 1
        self._settled.append(settled)

    def _outcome(self, row: Row, failure: Failure | None) -> Settled:
        if failure is None:
            self._holds.pop(row.topic, None)
            return Settled(row, State.ACKED)
        reason = _REASONS[failure.kind].format(topic=row.topic, detail=failure.detail)
        if failure.kind is Kind.TOO_LARGE:
            return Settled(row, State.DEAD, reason)
        if failure.kind is Kind.UNREACHABLE:
            self._pause_until = time.monotonic() + RETRY_S
        else:
            self._hold(row.topic, reason)
        return Settled(row, State.NEW, reason)

    def _hold(self, topic: str, reason: str) -> None:
        now, before = time.monotonic(), self._holds.get(topic)
        if before is not None and now < before.until:
            return
        wait_s = RETRY_S if before is None else min(2 * before.wait_s, RETRY_S_MAX)
        self._holds[topic] = _Hold(reason, wait_s, now + wait_s)

    def _poll(self) -> None:
        """Let the writer report. While something is on its way, not long: new alerts are not to wait for old ones."""
        since_s = time.monotonic() - self._sent_at
        self._writer.poll(0 if not self._out else PACE_S if since_s < REST_S else QUIET_POLL_S)

    def _settle(self) -> int:
        count = len(self._settled)
        if count:
            self._spool.settle(self._settled[:count])
            del self._settled[:count]
            with self._change:
                self._change.notify_all()
        return count

    def _erase(self) -> None:
        now = time.monotonic()
        if self._spool.to_erase and now >= self._erased_at + ERASE_S:
            self._erased_at = now
            self._spool.erase()

    def _idle(self, asked: int, now: float) -> None:
        """Nothing could be sent at `now`: wait for a new alert or for a hold's end, and let the writer report."""
        ends = [hold.until - now for hold in self._holds.values()]
        ends += [self._pause_until - now, self._sent_at + PACE_S - now]
        with self._change:
            if self._asked != asked:
                return
            if now >= max(self._pause_until, self._sent_at + PACE_S):
                self._answered = asked
                self._change.notify_all()
        self._rest(min([REST_S, *(end for end in ends if end > 0)]), asked)

    def _rest(self, timeout_s: float, asked: int | None = None) -> None:
        with self._change:
            if not self._stopping and asked in (None, self._asked):
                self._change.wait(timeout_s)
