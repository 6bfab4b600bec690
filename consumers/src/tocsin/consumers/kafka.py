"""The one place where inbox and outbox touch Kafka's client library."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tocsin.schemas.bus import BusRecord, Failure, Headers, Kind, OnDone, ReadFailed

STORED_EVERY_MS: Final = 1_000
TO_THE_END_MS: Final = 100
"""`fetch.wait.max.ms` of who reads to the end and no further: of a topic with transactions it is told so late."""
STANDING_MS: Final = 500
"""`fetch.wait.max.ms` of who reads on: each record comes at once, and each idle reader costs the broker that seldom."""
_SESSION_MS: Final = 10_000
_PROBE_EVERY_S: Final = 2.0
_PROBE_S: Final = 1.0

_SETTINGS: Final[Mapping[str, str | int | bool]] = {
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "check.crcs": True,
    # how long a standby waits for a reader that was killed
    "session.timeout.ms": _SESSION_MS,
    "heartbeat.interval.ms": _SESSION_MS // 4,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 30_000,
}

_KINDS: Final[Mapping[int, Kind]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Kind.DENIED,
    KafkaError.GROUP_AUTHORIZATION_FAILED: Kind.DENIED,
    KafkaError.SASL_AUTHENTICATION_FAILED: Kind.DENIED,
    KafkaError._AUTHENTICATION: Kind.DENIED,  # noqa: SLF001  # librdkafka's name
    KafkaError.UNKNOWN_TOPIC_OR_PART: Kind.NO_TOPIC,
    KafkaError._UNKNOWN_TOPIC: Kind.NO_TOPIC,  # noqa: SLF001  # librdkafka's name
    KafkaError._UNKNOWN_PARTITION: Kind.NO_TOPIC,  # noqa: SLF001  # librdkafka's name
    KafkaError._FATAL: Kind.OTHER,  # noqa: SLF001  # librdkafka's name
}

# of one connection among several; when all are down, the library says that, too
_ONE_BROKER: Final = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001  # librdkafka's name
        KafkaError._TIMED_OUT,  # noqa: SLF001  # librdkafka's name
        KafkaError._RESOLVE,  # noqa: SLF001  # librdkafka's name
        KafkaError._SSL,  # noqa: SLF001  # librdkafka's name
    }
)

log = structlog.get_logger()


class KafkaReader:
    """A `Reader` on Kafka: read_committed, by group membership; without a group it reads the topic and keeps no place.

    `connection` are librdkafka settings, `Bundle.kafka_config()`. Without a group it begins at `begin`, by default
    at the first record. `fetch_wait_ms` is `TO_THE_END_MS` or `STANDING_MS`.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int | float | bool],
        topic: str,
        group: str | None,
        *,
        begin: int = OFFSET_BEGINNING,
        fetch_wait_ms: int = TO_THE_END_MS,
    ) -> None:
        self._topic = topic
        self._grouped = group is not None
        self._position: int | None = None
        self._generation = 0
        self._trouble: str | None = None
        self._last = ""
        self._probed_at = 0.0
        self._failed: ReadFailed | None = None
        self._ahead: Message | None = None
        self._consumer = Consumer({**self._config(connection, group), "fetch.wait.max.ms": fetch_wait_ms})
        if group is None:
            self._consumer.assign([TopicPartition(topic, 0, begin)])
        else:
            self._consumer.subscribe([topic], on_assign=self._reset, on_revoke=self._reset, on_lost=self._reset)

    def _config(self, connection: Mapping[str, Any], group: str | None) -> dict[str, Any]:
        keeping = {"enable.auto.commit": group is not None, "auto.commit.interval.ms": STORED_EVERY_MS}
        return {
            **connection,
            **_SETTINGS,
            **keeping,
            # the client wants a name even where no group is used
            "group.id": group or f"{connection['sasl.username']}.none",
            "error_cb": self._on_error,
            "on_commit": _on_commit,
        }

    def _reset(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._position = None
        self._generation += 1

    @property
    def generation(self) -> int:
        """Rises whenever the group gives the topic to this reader, or takes it away."""
        return self._generation

    @property
    def position(self) -> int | None:
        """Where reading goes on; None until the broker has said, and while another reader has the topic."""
        return self._position

    @property
    def trouble(self) -> str | None:
        """What the client library said last about the connection; None since something was read."""
        return self._trouble

    def poll(self, timeout_s: float) -> BusRecord | None:
        """The next record. Raises ReadFailed."""
        message, self._ahead = self._ahead or self._poll(timeout_s), None
        record = self._take(message) if message is not None else None
        self._raise_failed()
        if message is None and time.monotonic() - self._probed_at > _PROBE_EVERY_S:
            self._probe()
        return record

    def _poll(self, timeout_s: float) -> Message | None:
        try:
            return self._consumer.poll(timeout_s)
        except KafkaException as fatal:  # confluent-kafka raises what is fatal instead of calling `error_cb`
            raise ReadFailed(Kind.OTHER, str(fatal.args[0])) from fatal

    def _take(self, message: Message) -> BusRecord | None:
        error = message.error()
        if error is None:
            return self._record(message)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
            self._position, self._trouble = cast("int", message.offset()), None
        else:
            self._on_error(error)
        return None

    def _record(self, message: Message) -> BusRecord:
        offset = cast("int", message.offset())
        self._position, self._trouble = offset + 1, None
        headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        return BusRecord(self._topic, offset, message.key(), message.value(), tuple(headers), message.timestamp()[1])

    def _on_error(self, error: KafkaError) -> None:
        """Note an error, whether the client library hands it out as a message or through its callback."""
        if not self._grouped and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return  # the client looks for the coordinator of a group that is only named, and is refused
        kind = _KINDS.get(error.code())
        if kind is not None:
            self._failed = ReadFailed(kind, error.str())
        elif error.code() in _ONE_BROKER:
            self._last = error.str()
        else:
            self._trouble = f"{error.str()} {self._last}".strip()

    def _raise_failed(self) -> None:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    def _probe(self) -> None:
        """Ask what the client library does not tell.

        A fetch that brings nothing says nothing, so after a disturbance it is not known whether somebody answers again;
        and a partition that is assigned, of a topic that is not there or may not be read, is waited for in silence.
        """
        self._probed_at = time.monotonic()
        try:
            if self._trouble:
                self._watermark(_PROBE_S)
                self._trouble, self._last = None, ""
            elif self._position is None and not self._grouped:
                self._check_topic(_PROBE_S)
        except KafkaException:
            return

    def _check_topic(self, timeout_s: float) -> None:
        """Raise ReadFailed when the topic is not there or may not be read."""
        error = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic].error
        if error is not None:
            self._on_error(error)
        self._raise_failed()

    def end(self, timeout_s: float) -> int:
        """The end of what is committed. Raises ReadFailed."""
        try:
            return self._watermark(timeout_s)
        except KafkaException as failure:
            # the reason (a password) may have been handed to the callback, which only polling calls
            self._ahead = self._ahead or self._poll(0)
            self._raise_failed()
            error = cast("KafkaError", failure.args[0])
            if _KINDS.get(error.code()) is Kind.NO_TOPIC:
                with suppress(KafkaException):
                    self._check_topic(timeout_s)
            detail = f"{error.str()} {self._last}".strip()
            raise ReadFailed(_KINDS.get(error.code(), Kind.UNREACHABLE), detail) from failure

    def _watermark(self, timeout_s: float) -> int:
        return int(self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=timeout_s)[1])

    def store(self, next_offset: int) -> None:
        """Let the client library commit `next_offset` within a second, at the latest when the group moves on."""
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(self._topic, 0, next_offset)])
        except KafkaException as failure:
            # another reader of the group has the topic by now, and is given the record again
            log.warning("place_not_kept", topic=self._topic, reason=str(failure.args[0]))

    def commit(self, next_offset: int) -> bool:
        """Commit now; False when the broker did not take it."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self._topic, 0, next_offset)], asynchronous=False)
        except KafkaException as failure:
            log.warning("place_not_kept", topic=self._topic, reason=str(failure.args[0]))
            return False
        return True

    def close(self) -> None:
        """Commit what was stored and leave."""
        self._consumer.close()


def _on_commit(error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
    if error is not None and error.code() != KafkaError._NO_OFFSET:  # noqa: SLF001  # librdkafka's name
        log.warning("place_not_kept", reason=error.str())


_PURGE_S: Final = 5.0
_WRITING: Final[Mapping[str, str | int | bool]] = {
    "acks": "all",
    "message.timeout.ms": 20_000,
    "socket.timeout.ms": 10_000,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.propagation.max.ms": 5_000,
}
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class KafkaWriter:
    """A `Writer` on Kafka for an outbox: acks=all, a few records, of which only the newest under a key counts.

    So it is not idempotent, and a record that comes twice does no harm; an alert's writer is the publisher's.
    `connection` are librdkafka settings, `Bundle.kafka_config()`.
    """

    def __init__(self, connection: Mapping[str, str | int | float | bool]) -> None:
        self._trouble: str | None = None
        self._producer = Producer({**connection, **_WRITING, "error_cb": self._on_error})

    @property
    def trouble(self) -> str | None:
        """What the client library said last about the connection; None since a record has arrived."""
        return self._trouble

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error.str()

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_done: OnDone) -> None:
        """Hand a record to the client library; what it refuses at once is done at once."""

        def delivered(error: KafkaError | None, _message: Message) -> None:
            on_done(self._outcome(error))

        try:
            self._producer.produce(topic, value, key, 0, headers=cast("Any", headers), on_delivery=delivered)
        except KafkaException as refused:
            on_done(self._outcome(cast("KafkaError", refused.args[0])))

    def _outcome(self, error: KafkaError | None) -> Failure | None:
        if error is None:
            self._trouble = None
            return None
        if error.code() in _TOO_LARGE:
            return Failure(Kind.TOO_LARGE, error.str())
        return Failure(_KINDS.get(error.code(), Kind.UNREACHABLE), f"{error.str()} {self._trouble or ''}".strip())

    def poll(self, timeout_s: float) -> None:
        """Report what is done, waiting up to `timeout_s` for the first."""
        self._producer.poll(timeout_s)

    def flush(self, timeout_s: float) -> int:
        """Wait until the brokers have answered for everything."""
        return self._producer.flush(timeout_s)

    def close(self) -> None:
        """Report everything as not done, forget it, and end the client's threads."""
        with suppress(RuntimeError):  # closed before
            self._producer.purge()
            self._producer.flush(_PURGE_S)
            self._producer.close()
