"""The one place where the publisher touches Kafka's client library."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import Failure, Headers, Kind, OnDone

_PURGE_S: Final = 5.0

_SETTINGS: Final[Mapping[str, str | int | bool]] = {
    "acks": "all",
    "enable.idempotence": True,
    # bounds how old a signature can get in the client library's queue; the spool goes on for ever
    "message.timeout.ms": 30_000,
    "socket.timeout.ms": 10_000,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.propagation.max.ms": 5_000,
    # the publisher's batches are enough
    "linger.ms": 1,
}

_UNKNOWN_TOPIC: Final = -188  # KafkaError._UNKNOWN_TOPIC, librdkafka's own
_UNKNOWN_PARTITION: Final = -190
_KINDS: Final[Mapping[int, Kind]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Kind.DENIED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Kind.DENIED,
    KafkaError.UNKNOWN_TOPIC_OR_PART: Kind.NO_TOPIC,
    _UNKNOWN_TOPIC: Kind.NO_TOPIC,
    _UNKNOWN_PARTITION: Kind.NO_TOPIC,
    KafkaError.MSG_SIZE_TOO_LARGE: Kind.TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: Kind.TOO_LARGE,
}


class KafkaWriter:
    """A `Writer` on Kafka: acks=all, idempotent. A fatal error of the client library makes it a new client.

    `connection` are librdkafka settings, `Bundle.kafka_config()`.
    """

    def __init__(self, connection: KafkaConfig) -> None:
        self._config: dict[str, Any] = {**connection, **_SETTINGS, "error_cb": self._on_error}
        self._trouble: str | None = None
        self._fatal: Failure | None = None
        self._producer = Producer(self._config)

    @property
    def trouble(self) -> str | None:
        """What the client library said last about the connection; None since a record has arrived."""
        return self._trouble

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error.str()
        if error.fatal():
            self._fatal = _failure(error)

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Headers, on_done: OnDone) -> None:
        """Hand a record to the client library; what it refuses at once is done at once."""

        def delivered(error: KafkaError | None, _message: Message) -> None:
            on_done(self._outcome(error))

        try:
            self._producer.produce(topic, value, key, 0, headers=cast("Any", headers), on_delivery=delivered)
        except BufferError:
            on_done(Failure(Kind.UNREACHABLE, "the client library's queue is full"))
        except KafkaException as refused:
            on_done(self._outcome(refused.args[0]))

    def _outcome(self, error: KafkaError | None) -> Failure | None:
        if error is None:
            self._trouble = None
            return None
        return self._fatal or _failure(error)

    def poll(self, timeout_s: float) -> None:
        """Report what is done, waiting up to `timeout_s` for the first."""
        self._served(lambda: self._producer.poll(timeout_s))
        if self._fatal is not None:
            self._purge()
            self._producer = Producer(self._config)
            self._fatal = None

    def flush(self, timeout_s: float) -> int:
        """Wait until the brokers have answered for everything."""
        return self._served(lambda: self._producer.flush(timeout_s))

    def close(self) -> None:
        """Report everything as not done, forget it, and end the client's threads.

        Some of it may have been written all the same.
        """
        with suppress(RuntimeError):  # closed before
            self._purge()
            self._served(lambda: int(self._producer.close()))

    def _purge(self) -> None:
        self._producer.purge()
        deadline = time.monotonic() + _PURGE_S
        # what is fatal may be told here again, before the rest is reported
        while self._served(lambda: self._producer.flush(_PURGE_S)) and time.monotonic() < deadline:
            pass

    def _served(self, call: Callable[[], int]) -> int:
        """What a call says that reports to call-backs. What is fatal is raised there, with or without an `error_cb`."""
        try:
            return call()
        except (KafkaException, SystemError) as failure:
            cause = failure if isinstance(failure, KafkaException) else failure.__cause__
            if not isinstance(cause, KafkaException) or not cause.args[0].fatal():
                raise
            self._fatal = _failure(cause.args[0])
            return len(self._producer)


def _failure(error: KafkaError) -> Failure:
    kind = _KINDS.get(error.code())
    if kind is None:
        kind = Kind.UNREACHABLE if error.code() < 0 or error.retriable() else Kind.OTHER
    return Failure(kind, error.str())
