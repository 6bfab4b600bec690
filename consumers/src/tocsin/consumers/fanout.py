"""The fan-out process: takes the lanes that its consumer group assigns to it, and works each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tocsin.consumers.client_statistics import silent
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.entry import Headers
from tocsin.consumers.fanout_metrics import FanoutMetrics
from tocsin.consumers.fanout_watch import Watch
from tocsin.consumers.gains import GAINS_MAX
from tocsin.consumers.heads_watch import HeadsWatcher
from tocsin.consumers.health import Checks, Health
from tocsin.consumers.lane_report import LaneReport
from tocsin.consumers.lane_transaction import Notary
from tocsin.consumers.lane_worker import Ending, Exchange, LaneWorker
from tocsin.consumers.outbox_watch import OutboxWatcher
from tocsin.consumers.snapshot_log import SnapshotLog
from tocsin.consumers.subscriptions import Subscription
from tocsin.consumers.watch import Look, SightWatcher, TopicWatcher
from tocsin.schemas.bundle import Bundle, KafkaConfig
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.names import ledger_topic
from tocsin.schemas.signing import SigningKey, sign_headers
from tocsin.schemas.uuid7 import uuid7

GROUP = "fanout.lanes"
SESSION_TIMEOUT_MS = 6_000
# transactional calls cannot be interrupted, so the grace period exceeds their longest
STOP_MAX_S = 50.0
RESTART_S = 1.0
CONFIRM_MAX_S = 10.0
CONFIRM_POLL_S = 0.1

_LEDGER_PREFIX = ledger_topic("")

log = structlog.get_logger()


def notary(key: SigningKey, coalition: str) -> Notary:
    """Signs notices with the exchange's key."""

    def sign(subject: str, record: Mapping[str, Any]) -> tuple[bytes, Headers]:
        kind = schema(subject)
        value = encode(kind, {"notice_id": str(uuid7()), **record})
        return value, tuple(sign_headers(key, coalition, kind, value))

    return sign


@dataclass(frozen=True, slots=True)
class FanoutSettings:
    """`worker` is what the process is called in logs, metrics and decisions.

    Every `line_test_s` seconds each member is sent a test notice, upon which Kafka can erase what was withdrawn. A
    member that gains more than `gains_max` live alerts of one jurisdiction at once is given none of them. Each lane
    keeps its lineages' bytes in an unnamed file in the folder `scratch`, by default the system's for temporary files.
    With `statistics` the Kafka clients tell of themselves now and then, for the metrics.
    """

    worker: str
    line_test_s: float = 3_600
    gains_max: int = GAINS_MAX
    scratch: Path | None = None
    statistics: bool = False
    lane_worker: type[LaneWorker] = LaneWorker


class Fanout:
    """One process of the fan-out. `run` blocks until `stop` is called; everything it owns is released on return.

    `subscriptions` are for members that have set none in their outbox.
    """

    def __init__(
        self,
        bundle: Bundle,
        subscriptions: Mapping[str, Subscription],
        settings: FanoutSettings,
    ) -> None:
        config = bundle.kafka_config()
        self.metrics = FanoutMetrics()
        self.metrics.gauge("tocsin_line_test_seconds").set(settings.line_test_s)
        self._settings = settings
        self.health = Health()
        self._turn = self.health.pulse("group")
        self._pulses = {watch: self.health.pulse(watch) for watch in ("sight", "topics", "directory", "outboxes")}
        self._given: set[str] | None = None
        self._exchange = Exchange(
            config=config,
            coalition=bundle.coalition,
            worker=settings.worker,
            notary=notary(bundle.signing_key(), bundle.coalition),
            line_test_ms=round(settings.line_test_s * 1_000),
            gains_max=settings.gains_max,
            scratch=settings.scratch,
            tell=self.metrics.clients.settings if settings.statistics else silent,
        )
        floor = VersionFloor(bundle.path / "directory-version")
        topics = TopicWatcher(config)
        directory = DirectoryWatcher(config, bundle.coalition, bundle.roots, floor)
        outboxes = OutboxWatcher(config, topics, directory, subscriptions, group=GROUP)
        self._watch = Watch(
            SightWatcher(config, SnapshotLog(config, settings.worker).keep),
            topics,
            directory,
            outboxes,
            HeadsWatcher(config, directory, group=GROUP),
        )
        self._stop_asked = threading.Event()
        self._lanes: dict[str, LaneWorker] = {}
        self._restart_at: dict[str, float] = {}
        self._questions: SimpleQueue[tuple[str, Future[bool]]] = SimpleQueue()
        self._consumer = Consumer(self._group_config(config))
        self.health.needs(self._needs)

    def _group_config(self, config: KafkaConfig) -> dict[str, Any]:
        """A member of the group without `group.instance.id`.

        A static member that is killed while lanes are shared out, and started again within its session, is given what
        it had in the first of the two rounds, and no second one follows: the lane between two owners stays nobody's.
        """
        return {
            **config,
            "group.id": GROUP,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            # who holds a lane learns by a heartbeat that it is to be shared out, in each of two rounds
            "heartbeat.interval.ms": 500,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 2_000,
        }

    def stop(self) -> None:
        """Ask `run` to end: lanes finish their current transaction first."""
        self._stop_asked.set()

    def run(self) -> None:
        """Work until stopped."""
        self._watch.start(self._looked)
        self._consumer.subscribe(
            [f"^{_LEDGER_PREFIX.replace('.', '[.]')}"],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )
        try:
            while not self._stop_asked.is_set():
                self._poll()
        finally:
            # they end while the lanes do, which need nothing new for the transaction that is under way
            self._watch.stop()
            self._end_lanes(list(self._lanes))
            self._consumer.close()
            self._watch.close()

    def _looked(self, look: Look) -> None:
        # nothing waits for the heads of the record, so nobody starts it again because of them
        if look.watch in self._pulses:
            self._pulses[look.watch].beat()
        self.metrics.turned(look.watch, time.time())
        self.metrics.looked(look)

    def _needs(self) -> Checks:
        """What it takes to be ready: every lane that the group gives to this process, and all that is watched."""
        return {"lanes": self._lanes_missing(), **self._watch.checks()}

    def _lanes_missing(self) -> str | None:
        given = self._given
        if given is None:
            return "the group has not said yet which lanes this process is given"
        missing = sorted(lane for lane in given if (one := self._lanes.get(lane)) is None or not one.report.up)
        return f"not taken: {', '.join(missing)}" if missing else None

    def _poll(self) -> None:
        self._turn.beat()
        self.metrics.turned("group", time.time())
        self._consumer.poll(CONFIRM_POLL_S)
        self._answer()
        for lane, worker in list(self._lanes.items()):
            if worker.ending is not None:
                self._ended(lane, worker.ending)
        for lane, at in list(self._restart_at.items()):
            if time.monotonic() >= at:
                del self._restart_at[lane]
                self._start_lane(lane)

    def _ended(self, lane: str, ending: Ending) -> None:
        """Try a lane that was fenced or failed again, while the group gives it to us; a stopped one waits for help."""
        del self._lanes[lane]
        if ending in (Ending.FENCED, Ending.FAILED):
            self._restart_at[lane] = time.monotonic() + RESTART_S

    # -- what the group says -----------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # an assigned ledger partition is a lane; its records are read by the lane itself
        self._given = {*(self._given or ()), *map(_lane, partitions)}
        for partition in partitions:
            self._start_lane(_lane(partition))

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._end_lanes([_lane(partition) for partition in partitions])

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("lanes_lost", lanes=[_lane(partition) for partition in partitions])
        self._end_lanes([_lane(partition) for partition in partitions])

    def _start_lane(self, lane: str) -> None:
        report = LaneReport(lane, self._exchange.worker, self.metrics, self.health.pulse(f"lane.{lane}"))
        worker = self._settings.lane_worker(
            lane, self._exchange, self._watch, confirm=self._confirmer(lane), report=report
        )
        self._lanes[lane] = worker
        worker.start()

    def _end_lanes(self, lanes: list[str]) -> None:
        self._turn.rest()  # lanes have their time to end
        self._given = {*(self._given or ())}.difference(lanes)
        for lane in lanes:
            self._restart_at.pop(lane, None)
        workers = [self._lanes.pop(lane) for lane in lanes if lane in self._lanes]
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + STOP_MAX_S
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                log.error("lane_not_stopped", lane=worker.jurisdiction)
        for lane in lanes:
            self.metrics.lane_left(lane)

    def _confirmer(self, lane: str) -> Callable[[threading.Event], bool]:
        """Asks the broker, not local memory, whether this process is still a member that holds `lane`.

        A synchronous offset commit carries the member's generation, and fails once the group has moved on: so a process
        that was stopped and wakes up does not fence its successor.
        """

        def confirm(stop_asked: threading.Event) -> bool:
            answer: Future[bool] = Future()
            self._questions.put((lane, answer))
            deadline = time.monotonic() + CONFIRM_MAX_S
            while time.monotonic() < deadline and not stop_asked.is_set():
                with suppress(TimeoutError):
                    return answer.result(CONFIRM_POLL_S)
            answer.cancel()
            return False

        return confirm

    def _answer(self) -> None:
        """Answer the lanes' questions, on the one thread that uses the consumer: its calls wait for each other."""
        for _ in range(self._questions.qsize()):
            lane, answer = self._questions.get_nowait()
            if answer.cancelled():
                continue
            held = self._holds(lane)
            if held is None:
                self._questions.put((lane, answer))
            else:
                with suppress(InvalidStateError):  # given up meanwhile
                    answer.set_result(held)

    def _holds(self, lane: str) -> bool | None:
        """Whether the group gives us `lane`; None while it cannot say."""
        partition = TopicPartition(ledger_topic(lane), 0, 0)
        try:
            self._consumer.commit(offsets=[partition], asynchronous=False)
        except KafkaException as failure:
            return refused_commit(failure)
        return any(_lane(assigned) == lane for assigned in self._consumer.assignment())


def refused_commit(failure: KafkaException) -> bool | None:
    """What a commit that failed says of the lane: it is not ours (False), or that cannot be said now (None)."""
    error = cast("KafkaError", failure.args[0])
    return None if error.code() in _PASSING else False


_PASSING = (
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001  # librdkafka's name
    KafkaError._TIMED_OUT,  # noqa: SLF001  # librdkafka's name
    KafkaError._WAIT_COORD,  # noqa: SLF001  # librdkafka's name
)


def _lane(partition: TopicPartition) -> str:
    return partition.topic.removeprefix(_LEDGER_PREFIX)
