"""Receiving: a member's inbox, verified, its place kept once the caller is done with each record."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from tocsin.consumers.audit.heads_kept import HEADS, HeadsKept
from tocsin.consumers.copies import CopyVerifier, Notice, Received, ReceivedKind
from tocsin.consumers.directory_reader import DirectoryReader, wall_clock_ms
from tocsin.consumers.errors import DirectoryUnreadable, InboxError, OutboxError, RecordUnverified
from tocsin.consumers.inbox_heads import InboxHeads
from tocsin.consumers.kafka import STANDING_MS, TO_THE_END_MS, KafkaReader
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.receipting import ReadFrom, Receipting
from tocsin.consumers.receipts import Receipt
from tocsin.schemas.bundle import SIGNING_KEY, Bundle
from tocsin.schemas.bus import BusRecord, Kind, Reader, ReadFailed
from tocsin.schemas.directory import Directory, VersionFloor
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import DIRECTORY_TOPIC, inbox_topic

READY_S_MAX: Final = 30.0
"""How long a reader that does not follow waits for the brokers, or for another reader of its group."""
DIRECTORY_EVERY_S: Final = 30.0
UNVERIFIED_KEPT: Final = 100
FORKS_KEPT: Final = 100
_POLL_S: Final = 0.2
_END_S: Final = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unverified:
    """A record that failed verification. `detail` names field and rule; its content is kept nowhere."""

    offset: int
    reason: Reason
    detail: str


@dataclass(slots=True)
class Counts:
    """What has been found since the inbox was opened; `unverified` by reason, `tests` whether handed out or not.

    `heads` are those that tests of the line carry, by what was found of each.
    """

    alerts: int = 0
    notices: int = 0
    tests: int = 0
    erasures: int = 0
    unverified: Counter[str] = field(default_factory=Counter[str])
    heads: Counter[str] = field(default_factory=Counter[str])


class Inbox:
    """Iterates a member's inbox, oldest first.

    The place in it moves on only when the body of the loop is done: after an exception, a `break` or a crash the same
    record comes again, to this Inbox or to the next one of the same `group`. So a record can come twice, never not at
    all; `ack` says in the middle of the body that it is done.

    Every record is verified. What fails is never handed out: it is counted by reason (`unverified`), kept without its
    content (`last_unverified`), logged, and with `raise_unverified` ends the iteration. Test records are skipped unless
    `include_tests`, and are a sign of life all the same. A notice of the kind WITHDRAWN says that you must no longer
    rely on what you were given of its lineage. An alert past its expiry is handed out, since it may replace one that
    lasted longer. With `include_erasures` you are also told that the exchange has erased a lineage (`Received.kind`),
    withdrawn or expired, upon which you erase yours.

    Once the body is done with a WITHDRAWN notice, it is acknowledged through the member's outbox, signed: so the
    exchange knows who has been told. While nobody answers, the place waits before that notice and the acknowledgement
    is tried again with each record; one that the broker refuses is logged, and holds nothing up. Switch it off with
    `acknowledge` for a reader that does not act on alerts; `outbox` is the bundle's by default, when that has a
    signing key, and is closed with the Inbox.

    By itself it also tells the exchange, signed, what came into the inbox, so that it can be compared with what was
    decided: at most once a minute or every 500 copies, and on `close`. A receipt that cannot be sent is sent later, and
    holds nothing up. Switch it off with `receipts`; `read_from` reads a topic from an offset, from Kafka by default.

    Tests of the line carry the newest head of the sealed record. It is kept in `heads.json`, beside `state`, and
    compared with what was shown before of the same size. One that differs shows that the record was told in two ways:
    it is counted (`counts.heads`), logged as an error and kept as evidence (`last_forks` has the folders), and stops
    nothing. Heads of other sizes are not compared: that is a witness's work. `tocsin audit heads` compares with what
    others were shown.

    `follow` waits for more, for ever or until nothing has come for `timeout_s`; otherwise iteration ends where the
    inbox ends. Until it is closed, other readers of its group are given nothing: use `with`. `state` remembers the
    highest directory version seen; it is in the bundle by default. `reader` and `directory` read the inbox and the
    topic `directory`, from Kafka by default. Used by one thread, but for `stop`.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        include_tests: bool = False,
        include_erasures: bool = False,
        raise_unverified: bool = False,
        follow: bool = True,
        timeout_s: float | None = None,
        group: str = "inbox",
        acknowledge: bool = True,
        receipts: bool = True,
        state: Path | None = None,
        reader: Reader | None = None,
        directory: Reader | None = None,
        outbox: Outbox | None = None,
        read_from: ReadFrom | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.counts = Counts()
        self.last_unverified: deque[Unverified] = deque(maxlen=UNVERIFIED_KEPT)
        self.last_forks: deque[Path] = deque(maxlen=FORKS_KEPT)
        self.last_sign_of_life: datetime | None = None
        self.group = f"{bundle.member}.{group}"
        self._bundle = bundle
        self._include_tests = include_tests
        self._include_erasures = include_erasures
        self._raise_unverified = raise_unverified
        self._follow = follow
        self._timeout_s = timeout_s
        self._topic = inbox_topic(bundle.member)
        self._outbox = outbox
        # an injected reader is of a bus of its own, whose outbox is not Kafka's
        on_kafka = reader is None and (bundle.path / SIGNING_KEY).exists()
        self._acknowledges = acknowledge and (outbox is not None or on_kafka)
        self._unacknowledged: deque[Notice] = deque()
        if read_from is None and on_kafka:
            read_from = partial(_read_from, bundle)
        self._receipting: Receipting | None = None
        if receipts and read_from is not None and (outbox is not None or on_kafka):
            self._receipting = Receipting(bundle.member, self.group, self._receive, read_from, now_ms)
        wait_ms = STANDING_MS if follow else TO_THE_END_MS
        self._reader: Reader = reader or KafkaReader(
            bundle.kafka_config(), self._topic, self.group, fetch_wait_ms=wait_ms
        )
        directory = directory or KafkaReader(bundle.kafka_config(), DIRECTORY_TOPIC, None, fetch_wait_ms=STANDING_MS)
        state = state or bundle.path / "directory-version"
        floor = VersionFloor(state)
        self._directory = DirectoryReader(directory, bundle.coalition, bundle.roots, floor, now_ms)
        self._heads = InboxHeads(HeadsKept(state.with_name(HEADS)), self._directory)
        self._verifies: tuple[Directory, CopyVerifier] | None = None
        self._undone: BusRecord | None = None
        self._place = self._kept = 0
        self._stopped = False
        self._trouble = ""
        self._came_at = self._ready_at = time.monotonic()

    @property
    def unverified(self) -> Counter[str]:
        """How many records failed verification, by reason."""
        return self.counts.unverified

    @property
    def trouble(self) -> str | None:
        """What is wrong with the connection now; None when the inbox can be read."""
        return self._reader.trouble

    def stop(self) -> None:
        """End the iteration after the current record, for good. Any thread, and a signal handler, may call it."""
        self._stopped = True

    def __iter__(self) -> Iterator[Received]:
        """The records, as they come.

        Raises:
            InboxError: the inbox or the directory cannot be read; the message says what to do.
            RecordUnverified: with `raise_unverified`; iterating again meets the same record.
            SchemaTooNew: this release is too old for a record; after an upgrade reading goes on with it.
        """
        self._came_at = self._ready_at = time.monotonic()
        while not self._stopped:
            self._refresh()
            record = self._undone or self._poll()
            if record is None:
                if self._is_over():
                    break
                self._tell_if_due()
                continue
            self._undone, self._came_at = record, time.monotonic()
            self._kept = min(self._kept, record.offset)  # another reader went back, or the topic was made again
            received = self._judge(record)
            if received is not None and self._is_wanted(received):
                yield received
                self._note(received)
            self._done(record.offset)
        self._keep()

    def ack(self, received: Received) -> bool:
        """Keep the place after `received`, and everything before it, now instead of within a second of the body's end.

        False when the bus did not take it; then these records come again.
        """
        if received.offset < self._kept:
            return True
        self._note(received)
        if not self._acknowledge():
            return False
        kept = self._reader.commit(received.offset + 1)
        if kept:
            self._place = self._kept = received.offset + 1
            if self._undone is not None and self._undone.offset < self._place:
                self._undone = None
        return kept

    def _done(self, offset: int) -> None:
        self._undone, self._place = None, offset + 1
        if self._acknowledge():
            self._reader.store(self._place)
            self._tell_if_due()

    def _keep(self) -> None:
        """Keep the place at the end of an iteration, so that nothing depends on `close`."""
        if self._place > self._kept and self._acknowledge() and self._reader.commit(self._place):
            self._kept = self._place

    def _note(self, received: Received) -> None:
        """Owe the acknowledgement of a withdrawal that the body is done with."""
        notice = received.notice
        if not self._acknowledges or notice is None or notice["kind"] != "WITHDRAWN":
            return
        if received.offset >= self._kept and notice not in self._unacknowledged:
            self._unacknowledged.append(notice)

    def _acknowledge(self) -> bool:
        """Send what is owed, the oldest first. False while nobody answers: the place must wait before the first."""
        while self._unacknowledged:
            notice = self._unacknowledged[0]
            try:
                self._outbox = self._outbox or Outbox(self._bundle)
                self._outbox.acknowledge(notice)
            except OutboxError as failure:
                log.warning("withdrawal_not_acknowledged", lineage=notice["lineage_id"], reason=str(failure))
                if failure.passing:
                    return False
            self._unacknowledged.popleft()
        return True

    # -- receipts ----------------------------------------------------------------------------------------------------

    def _tell_if_due(self) -> None:
        if self._receipting is not None and self._receipting.due():
            self._tell(self._receipting)

    def _tell(self, receipting: Receipting) -> None:
        """Send a receipt for what the caller is done with, once its place is kept."""
        if self._place > self._kept:
            if self._reader.trouble or not (self._acknowledge() and self._reader.commit(self._place)):
                receipting.put_off()
                return
            self._kept = self._place
        if self._kept:
            receipting.tell(self._kept)

    def _receive(self, receipt: Receipt) -> None:
        self._outbox = self._outbox or Outbox(self._bundle)
        self._outbox.receive(receipt)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _poll(self) -> BusRecord | None:
        try:
            record = self._reader.poll(_POLL_S)
        except ReadFailed as failure:
            raise InboxError(f"{self._topic}: {self._remedy(failure)}") from failure
        self._report(self._reader.trouble or "")
        if record is not None and self._receipting is not None:
            self._receipting.note(record, self._reader.generation)
        return record

    def _remedy(self, failure: ReadFailed) -> str:
        config = self._bundle.config
        remedies = {
            Kind.DENIED: f"{config.login} may not read it as group {self.group}, or its password is no longer accepted",
            Kind.NO_TOPIC: "it does not exist",
        }
        remedy = remedies.get(failure.kind, "the client has failed; open the inbox again")
        ask = "; ask the secretariat" if failure.kind in (Kind.DENIED, Kind.NO_TOPIC) else ""
        return f"{remedy}{ask} ({failure.detail})"

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            if trouble:
                log.warning("inbox_unreachable", topic=self._topic, reason=trouble)
            else:
                log.info("inbox_reachable", topic=self._topic)
            self._trouble = trouble

    def _is_over(self) -> bool:
        now, position = time.monotonic(), self._reader.position
        if self._timeout_s is not None and now - self._came_at > self._timeout_s:
            return True
        if self._follow:
            return False
        if position is not None and position >= self._end(position):
            return True
        if position is not None and not self._trouble:
            self._ready_at = now
        if now - self._ready_at > READY_S_MAX:
            reason = self._trouble or f"another reader of group {self.group} has it; stop that or name another group"
            raise InboxError(f"{self._topic}: not read for {READY_S_MAX:.0f} s: {reason}")
        return False

    def _end(self, position: int) -> int:
        """The end of the inbox; something beyond `position` while nobody answers."""
        try:
            return self._reader.end(_END_S)
        except ReadFailed as failure:
            if failure.kind is not Kind.UNREACHABLE:
                raise InboxError(f"{self._topic}: {self._remedy(failure)}") from failure
            self._report(failure.detail)
            return position + 1

    # -- verifying ---------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read the directory again now and then: a key may have been revoked. An expired one must not be used."""
        if time.monotonic() - self._directory.read_at < DIRECTORY_EVERY_S and self._directory.in_force():
            return
        try:
            self._directory.read_to_end()
        except DirectoryUnreadable as failure:
            if not self._directory.in_force():
                raise InboxError(str(failure)) from failure
            self._directory.read_at = time.monotonic()
            log.warning("directory_not_refreshed", reason=str(failure))
        if not self._directory.in_force():
            expired = "the newest has expired" if self._directory.directory else "this bundle's root keys signed none"
            raise InboxError(f"no directory is in force ({self._directory.refusal or expired}); ask the secretariat")

    def _verifier(self) -> CopyVerifier:
        directory = self._directory.directory
        if self._verifies is None or self._verifies[0] is not directory:
            if directory is None:
                raise InboxError("no directory has been read")
            verifier = CopyVerifier(self._bundle.coalition, self._bundle.member, directory)
            self._verifies = (directory, verifier)
        return self._verifies[1]

    def _judge(self, record: BusRecord) -> Received | None:
        """`record` verified, or None once it is counted as unverified."""
        try:
            return self._check(record)
        except Rejection as refusal:
            found = Unverified(record.offset, refusal.reason, refusal.detail)
            log.warning("record_not_verified", topic=self._topic, offset=found.offset, reason=str(refusal))
            self.counts.unverified[found.reason.value] += 1
            self.last_unverified.append(found)
            if self._raise_unverified:
                raise RecordUnverified(f"{self._topic}/{found.offset}: {refusal}") from refusal
            return None

    def _check(self, record: BusRecord) -> Received:
        try:
            return self._verifier().check(record)
        except Rejection as refusal:
            if refusal.reason is not Reason.UNKNOWN_KEY:
                raise
        try:
            self._directory.read_to_end()
        except DirectoryUnreadable as failure:
            raise InboxError(f"{self._topic}/{record.offset} cannot be judged: {failure}") from failure
        return self._verifier().check(record)

    def _is_wanted(self, received: Received) -> bool:
        if received.kind is ReceivedKind.ERASURE:
            self.counts.erasures += 1
            return self._include_erasures
        self.last_sign_of_life = received.appended_at
        if received.kind is ReceivedKind.SIGHT:
            return False  # see `read_sight`
        if received.notice is not None:
            self._note_head(received.notice)
        self.counts.tests += received.test
        if received.kind is ReceivedKind.ALERT:
            self.counts.alerts += not received.test
        else:
            self.counts.notices += not received.test
        return self._include_tests or not received.test

    def _note_head(self, notice: Notice) -> None:
        taken = self._heads.take(notice)
        if taken is not None:
            self.counts.heads[taken.found.value] += 1
        if taken is not None and taken.evidence is not None:
            self.last_forks.append(taken.evidence)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Keep the place after what is done, and leave."""
        if self._receipting is not None and self._receipting.waiting and not self._reader.trouble:
            self._tell(self._receipting)
        self._reader.close()
        self._directory.close()
        if self._outbox is not None:
            self._outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_from(bundle: Bundle, topic: str, offset: int) -> Reader:
    return KafkaReader(bundle.kafka_config(), topic, None, begin=offset)
