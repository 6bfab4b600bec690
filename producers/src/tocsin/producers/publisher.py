"""Publishing: validate, sign, store durably, return; a thread delivers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tocsin.producers.errors import AlertRefused
from tocsin.producers.spool import Row, Spool, State
from tocsin.schemas.bundle import Bundle, KafkaConfig
from tocsin.schemas.catalog import schema
from tocsin.schemas.errors import Rejection
from tocsin.schemas.models import Alert
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import sign_headers

BATCH = 500
IDLE_S = 0.05
RETRY_S = 1.0
# leaving the with block gives the broker this long; what it does not have by then waits in the spool
LEAVE_WAIT_S = 10.0

# errors that no later attempt cures by itself, each with what to do
_DEAD = {KafkaError.MSG_SIZE_TOO_LARGE: "larger than the topic takes"}
_HELP = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this login may not WRITE to {topic}; ask the secretariat for the right",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "{topic} does not exist; is the jurisdiction right?",
    KafkaError._UNKNOWN_TOPIC: "{topic} does not exist; is the jurisdiction right?",  # noqa: SLF001  # librdkafka's name
}


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` stored. `repeated` when the idempotency key was known: then nothing new was stored."""

    alert_id: str
    topic: str
    repeated: bool = False


ProducerFactory = Callable[[dict[str, Any]], Producer]


class Publisher:
    """Publishes a member's alerts.

    `publish` returns once the alert is on this machine's disk; delivery goes on in the background, through crashes and
    restarts, until the broker has it. The spool is one file, used by one process at a time.
    """

    def __init__(self, bundle: Bundle, *, spool: Path | None = None, rows_max: int | None = None) -> None:
        self._bundle = bundle
        self._key = bundle.signing_key()
        path = spool or bundle.path / "spool" / "spool.db"
        self._spool = Spool(path) if rows_max is None else Spool(path, rows_max=rows_max)
        self._producer = Producer(cast("dict[str, Any]", self._config(bundle.kafka_config())))
        self._settled: list[tuple[int, State, str | None]] = []
        self._stop_asked = threading.Event()
        self._wake = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._deliver, name="publisher", daemon=True)
        self._thread.start()

    @staticmethod
    def _config(connection: KafkaConfig) -> KafkaConfig:
        return {
            **connection,
            "acks": "all",
            "enable.idempotence": True,
            # the spool retries for ever; the client library's own attempt may end
            "message.timeout.ms": 30_000,
            "topic.metadata.propagation.max.ms": 5_000,
            "linger.ms": 5,
        }

    def publish(self, alert: Alert, idempotency_key: str | None = None) -> Published:
        """Check, sign and store `alert`.

        `idempotency_key` is the caller's own name for this publication: repeating a call with the same key stores
        nothing and returns the first alert's id.

        Raises:
            AlertRefused: it breaks a rule; the message names field and rule.
            SpoolError: it could not be stored (full, damaged); the caller still has it.
        """
        topic = self._check(alert)
        known = self._spool.known(idempotency_key) if idempotency_key else None
        if known is not None:
            return Published(known, topic.name, repeated=True)
        value = alert.to_avro()
        header = alert.header
        headers = sign_headers(self._key, self._bundle.coalition, schema(alert.subject.value), value)
        row = Row(0, header.alert_id, header.lineage_id, header.revision, topic.name, value, headers, self._key.key_id)
        self._spool.add(row, idempotency_key)
        self._wake.set()
        return Published(header.alert_id, topic.name)

    def _check(self, alert: Alert) -> AlertTopic:
        """The content guard, and that the alert is this member's. The models have checked the rest."""
        header, config = alert.header, self._bundle.config
        if header.publisher != config.member and config.role != "secretariat":
            raise AlertRefused("header.publisher: not this bundle's member")
        if header.publisher == config.member and header.jurisdiction != config.jurisdiction:
            raise AlertRefused(f"header.jurisdiction: this member's is {config.jurisdiction}")
        try:
            alert.check_content()
        except Rejection as refusal:
            raise AlertRefused(refusal.detail) from refusal
        return alert.topic

    # -- delivery ----------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        try:
            while not self._stop_asked.is_set():
                sent = self._send_some()
                self._producer.poll(0 if sent else IDLE_S)
                self._settle()
                if not sent and not len(self._producer):
                    self._wake.wait(IDLE_S)
                self._wake.clear()
        except BaseException as failure:  # noqa: BLE001  # raised again by the caller's next flush
            self._failure = failure

    def _send_some(self) -> int:
        if len(self._producer) >= BATCH:
            return 0
        rows = self._spool.take(BATCH)
        for row in rows:
            self._send(self._with_current_key(row))
        return len(rows)

    def _with_current_key(self, row: Row) -> Row:
        """Sign again what was signed with a key that has been replaced since: its end may have come meanwhile."""
        if row.key_id == self._key.key_id:
            return row
        topic = AlertTopic.parse(row.topic)
        headers = sign_headers(self._key, self._bundle.coalition, schema(topic.type.value), row.value)
        self._spool.resign(row.row_id, row.value, headers, self._key.key_id)
        return Row(
            row.row_id, row.alert_id, row.lineage_id, row.revision, row.topic, row.value, headers, self._key.key_id
        )

    def _send(self, row: Row) -> None:
        def done(error: KafkaError | None, _message: Message) -> None:
            self._settled.append((row.row_id, *_outcome(error, row.topic)))

        while True:
            try:
                self._producer.produce(
                    row.topic, row.value, row.lineage_id.encode(), 0, headers=[*row.headers], on_delivery=done
                )
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as failure:
                self._settled.append((row.row_id, *_outcome(failure.args[0], row.topic)))
                return
            else:
                return

    def _settle(self) -> None:
        settled, self._settled = self._settled, []
        if not settled:
            return
        self._spool.mark(settled)
        if any(state is State.NEW for _, state, _ in settled):
            # the broker refused or did not answer: not at once again
            self._stop_asked.wait(RETRY_S)

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until everything stored is on the broker. Returns how many are not: those stay in the spool.

        Raises:
            SpoolError: delivery ended because the spool failed.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while remaining := self.waiting():
            if self._failure is not None:
                raise self._failure
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(IDLE_S / 5)
        return remaining

    def waiting(self) -> int:
        """How many stored alerts the broker does not have yet."""
        counts = self._spool.counts()
        return counts[State.NEW] + counts[State.SENT]

    def troubles(self) -> list[tuple[str, str, str]]:
        """Alert id, state and reason of everything that the broker refused or did not answer for."""
        return self._spool.troubles()

    def close(self) -> None:
        """Stop delivering; what is not on the broker stays in the spool for the next time."""
        self._stop_asked.set()
        self._wake.set()
        self._thread.join()
        self._producer.flush(1)
        self._settle_last()
        self._spool.close()

    def _settle_last(self) -> None:
        if self._settled and self._failure is None:
            self._spool.mark(self._settled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush(LEAVE_WAIT_S)
        self.close()


def _outcome(error: KafkaError | None, topic: str) -> tuple[State, str | None]:
    if error is None:
        return State.ACKED, None
    if error.code() in _DEAD:
        return State.DEAD, _DEAD[error.code()]
    return State.NEW, _HELP.get(error.code(), error.str()).format(topic=topic)
