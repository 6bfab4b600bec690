"""Runs one lane on Kafka: takes it over, then reads, verifies, decides and delivers until told to stop, or fenced."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from tocsin.consumers.alert_reader import AlertReader, Record
from tocsin.consumers.client_statistics import ClientSettings, silent
from tocsin.consumers.errors import LaneFenced, LaneStopped, LedgerHangs, TransactionAborted, where
from tocsin.consumers.fanout_watch import Watch
from tocsin.consumers.lane import Lane
from tocsin.consumers.lane_report import LaneReport
from tocsin.consumers.lane_transaction import Context, Notary, Transaction
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.ledger_reader import LedgerReader
from tocsin.consumers.transactions import TransactionPair
from tocsin.consumers.verification import Judged, judge
from tocsin.consumers.watch import Topics
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.names import audit_topic, ledger_topic

RECORDS_MAX = 2_000
LINEAGES_BUSY, LINEAGES_IDLE = 200, 5_000
# a try that fails costs the lane a take-over, about a second
RETRY_FIRST_S, RETRY_MAX_S = 10.0, 60.0
IDLE_WAIT_S = 0.2


class Ending(StrEnum):
    """Why a lane's thread ended."""

    ASKED = "asked"
    FENCED = "fenced"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Who the fan-out is: its Kafka login, its coalition, its name, how it signs and how often it tests lines.

    `telling` is held by the one lane that has a word for many members: all lanes have when they begin, and after a
    change of the policy, and each inbox costs the broker as much as if it were given an alert. By `tell` the lanes'
    Kafka clients tell of themselves.
    """

    config: KafkaConfig
    coalition: str
    worker: str
    notary: Notary
    line_test_ms: int
    gains_max: int
    scratch: Path | None
    telling: threading.Lock = field(default_factory=threading.Lock)
    tell: ClientSettings = silent


@dataclass(slots=True)
class _Refusals:
    """Members whose inbox refused: when to try each again, and after how long the next time."""

    retry_at: dict[str, float] = field(default_factory=dict[str, float])
    wait_s: dict[str, float] = field(default_factory=dict[str, float])
    unnamed: int = 0

    def note(self, member: str) -> None:
        wait = self.wait_s.get(member, RETRY_FIRST_S / 2) * 2
        self.wait_s[member] = min(wait, RETRY_MAX_S)
        self.retry_at[member] = time.monotonic() + self.wait_s[member]

    def clear(self, member: str) -> None:
        self.retry_at.pop(member, None)
        self.wait_s.pop(member, None)


class LaneWorker(threading.Thread):
    """One lane, one thread. `confirm` asks the group whether this process is still given the lane."""

    def __init__(
        self,
        jurisdiction: str,
        exchange: Exchange,
        watch: Watch,
        *,
        confirm: Callable[[threading.Event], bool],
        report: LaneReport,
    ) -> None:
        super().__init__(name=f"lane-{jurisdiction}", daemon=True)
        self.jurisdiction = jurisdiction
        self.ending: Ending | None = None
        self._exchange = exchange
        self._watch = watch
        self._confirm = confirm
        self.report = report
        self._stop_asked = threading.Event()
        self._pending: deque[Judged] = deque()
        self._refusals = _Refusals()
        self._log = structlog.get_logger().bind(lane=jurisdiction, worker=exchange.worker)
        self._stale = ""
        self._headless = False
        self._held: Mapping[str, int] = {}

    def stop(self) -> None:
        """Ask the lane to end after its current transaction."""
        self._stop_asked.set()

    def run(self) -> None:
        """Work until stopped, fenced or failed; says which in `ending`."""
        try:
            with closing(LedgerReader(self._exchange.config, self.jurisdiction, self._exchange.scratch)) as ledger:
                while not self._stop_asked.is_set():
                    self._own(ledger)
            self.ending = Ending.ASKED
        except LaneFenced as fenced:
            if isinstance(fenced, LedgerHangs):
                self.report.hangs()
            self.ending = Ending.FENCED
            self._log.warning("lane_fenced", reason=str(fenced))
        except LaneStopped as stopped:
            self.ending = Ending.STOPPED
            self._log.error("lane_stopped", reason=str(stopped))
        except Exception as failure:  # noqa: BLE001  # the thread ends, says so, and is started again
            self.ending = Ending.FAILED
            # no traceback: structlog shows local variables with it, and these hold alerts
            self._log.error("lane_failed", failure=where(failure))
        finally:
            self.report.ended(self.ending or Ending.FAILED)

    # -- owning the lane ---------------------------------------------------------------------------------------------

    def _own(self, ledger: LedgerReader) -> None:
        """Take the lane over and work until something makes another take-over necessary."""
        if not self._confirm(self._stop_asked):
            raise LaneFenced("the group no longer gives this lane to this process")
        began = time.monotonic()
        self.report.taking()
        pair = self._new_pair()
        reader = AlertReader(self._exchange.config, self.jurisdiction, self._exchange.tell)
        try:
            pair.fence()
            lane = self._new_lane(ledger.read_to_end())
            lane.set_behind(self._refusals.retry_at)
            self._pending.clear()
            took_s = round(time.monotonic() - began, 3)
            self.report.taken(took_s, len(lane.ledger.entries))
            self._log.info("lane_taken", lineages=len(lane.ledger.entries), seconds=took_s)
            with ThreadPoolExecutor(2, thread_name_prefix=f"verify-{self.jurisdiction}") as pool:
                self._work(lane, pair, reader, pool)
        except TransactionAborted as aborted:
            self._log.warning("transaction_aborted", reason=str(aborted), topics=sorted(aborted.failed))
            self._stop_asked.wait(0.1)
        finally:
            reader.close()
            pair.close()

    def _new_pair(self) -> TransactionPair:
        return TransactionPair(self._exchange.config, self.jurisdiction, self._exchange.tell)

    def _new_lane(self, ledger: Ledger) -> Lane:
        return Lane(self.jurisdiction, ledger)

    def _work(self, lane: Lane, pair: TransactionPair, reader: AlertReader, pool: ThreadPoolExecutor) -> None:
        busy = False
        while not (self._stop_asked.is_set() or pair.doubtful):
            self.report.turned()
            pair.poll()
            topics = self._watch.topics.topics
            reader.follow(topics, lane.ledger.positions)
            self._read(reader, pool, wait=not busy)
            self.report.state(lane, reader, self._oldest_ms())
            context = self._context(topics)
            if context is None:
                self._stop_asked.wait(0.1)
                continue
            self._verify_again(context, pool)
            with self._turn_to_tell(lane, context) as tells:
                tx = self._fill(lane, context, tells=tells)
                self._write(pair, lane, tx)
            reader.report(tx.positions)
            if not pair.doubtful:
                self._pay_refusing(pair, lane, context)
            self._report_held(lane.gains.held(context.gains_max))
            self.report.sight(context, reader.topics)
            busy = bool(self._pending) or lane.has_work(context)

    @contextmanager
    def _turn_to_tell(self, lane: Lane, context: Context) -> Generator[bool]:
        """Whether this transaction is to hold tests of the line and words on sight: not while another lane's does."""
        telling = self._exchange.telling
        tells = lane.has_to_tell(context, self._exchange.line_test_ms) and telling.acquire(blocking=False)
        try:
            yield tells
        finally:
            if tells:
                telling.release()

    def _report_held(self, held: Mapping[str, int]) -> None:
        """Say who has gained too much at once to be given it, and what to do."""
        if held != self._held:
            self._held = held
            self.report.gains_held(len(held))
            remedy = (
                "if the rule is right, the secretariat releases them with `tocsin release`; if not, put the rule right"
            )
            self._log.warning("gains_held", live_alerts=dict(held), remedy=remedy)

    def _read(self, reader: AlertReader, pool: ThreadPoolExecutor, *, wait: bool) -> None:
        if len(self._pending) >= RECORDS_MAX or self._watch.directory.directory is None:
            return
        records: list[Record] = reader.read(RECORDS_MAX, IDLE_WAIT_S if wait else 0)
        if records:
            self._pending.extend(judge(records, self._watch.directory, pool))

    def _verify_again(self, context: Context, pool: ThreadPoolExecutor) -> None:
        """What waits is decided by the newest directory: a key may have been revoked while deliveries were stopped."""
        if self._pending and self._pending[0].directory is not context.directory:
            self._pending = deque(judge([one.record for one in self._pending], self._watch.directory, pool))

    def _context(self, topics: Topics) -> Context | None:
        """What the next transaction is decided on; None while any of it is missing or too old (fail closed)."""
        wrong = next(filter(None, self._watch.checks().values()), "")
        self._note_stale(wrong)
        sight, directory = self._watch.sight.sight, self._watch.directory.directory
        subscriptions = self._watch.outboxes.subscriptions
        if wrong or sight is None or directory is None or subscriptions is None:
            return None
        now_ms = time.time_ns() // 1_000_000
        return Context(
            sight=sight,
            directory=directory,
            subscriptions=subscriptions,
            disputes=self._watch.outboxes.disputes,
            holds=self._watch.outboxes.holds,
            inboxes=topics.inboxes,
            gains_max=self._watch.outboxes.releases.bound(self.jurisdiction, self._exchange.gains_max, now_ms),
            now_ms=now_ms,
            worker=self._exchange.worker,
            notary=self._exchange.notary,
            secret=secrets.token_bytes(),
            head=self._watch.heads.of(self.jurisdiction),
        )

    def _note_stale(self, reason: str) -> None:
        """Say once why deliveries stop, and that they go on."""
        if self._stale != reason:
            self.report.stopped(stopped=bool(reason))
            if reason:
                self._log.warning("deliveries_stopped", reason=reason)
            else:
                self._log.info("deliveries_resumed")
            self._stale = reason

    def _oldest_ms(self) -> int | None:
        return self._pending[0].record.source.appended_at if self._pending else None

    def _fill(self, lane: Lane, context: Context, *, tells: bool) -> Transaction:
        tx = lane.begin(context)
        decided = 0
        while self._pending and not lane.must_wait(tx, self._pending[0].outcome(context)):
            judged = self._pending.popleft()
            lane.decide(tx, context, judged.record.source, judged.outcome(context), judged.sha256)
            decided += 1
        lane.take_changes(tx, context, LINEAGES_BUSY if decided else LINEAGES_IDLE)
        if tells:
            lane.test_line(tx, context, self._exchange.line_test_ms)
            lane.tell_sight(tx, context)
        if tx.mark.tested_at != tx.mark_before.tested_at:
            self._report_head(context.head)
        return tx

    def _report_head(self, head: str | None) -> None:
        """Say when tests of the line begin to lack the head of the lane's log, and when they have it again."""
        self.report.line_tested(with_head=head is not None)
        if (head is None) is self._headless:
            return
        self._headless = head is None
        if self._headless:
            remedy = "run `tocsin audit seal`, and `tocsin policy apply` of this release for READ on audit.checkpoints"
            self._log.warning("line_tested_without_head", remedy=remedy)
        else:
            self._log.info("line_tested_with_head")

    def _write(self, pair: TransactionPair, lane: Lane, tx: Transaction) -> None:
        if not tx.empty:
            audit, ledger = audit_topic(self.jurisdiction), ledger_topic(self.jurisdiction)
            records = [(audit, None, decision) for decision in tx.decisions]
            began = time.monotonic()
            try:
                pair.write(
                    tx.copies,
                    [*records, *((ledger, key, value) for key, value in tx.ledger_records())],
                    self._inboxes_now,
                )
            except TransactionAborted as aborted:
                self.report.wrote(time.monotonic() - began, "aborted")
                self._suspect(tx, aborted)
                raise
            self.report.wrote(time.monotonic() - began, "doubtful" if pair.doubtful else "committed")
            self._refusals.unnamed = 0
        lane.commit(tx)
        self.report.committed(lane, tx)

    def _inboxes_now(self) -> frozenset[str]:
        self._watch.topics.hurry()
        return self._watch.topics.topics.inbox_names

    def _suspect(self, tx: Transaction, aborted: TransactionAborted) -> None:
        """Count the inboxes that refused as behind. When none is named twice running, each is paid apart once."""
        self._watch.topics.hurry()
        everyone = {copy.member for copy in tx.copies}
        named = {copy.member for copy in tx.copies if copy.topic in aborted.failed}
        for member in named or (everyone if len(everyone) == 1 else ()):
            self._refusals.note(member)
        if not named and len(everyone) > 1:
            self._refusals.unnamed += 1
            if self._refusals.unnamed > 1:
                self._refusals.retry_at.update(dict.fromkeys(everyone, 0.0))

    def _pay_refusing(self, pair: TransactionPair, lane: Lane, context: Context) -> None:
        now = time.monotonic()
        for member in list(lane.behind):
            if member not in context.inboxes or now < self._refusals.retry_at.get(member, 0):
                continue
            tx = lane.begin_behind(context, member)
            self._write(pair, lane, tx)
            self._refusals.clear(member)
            if pair.doubtful:
                return
