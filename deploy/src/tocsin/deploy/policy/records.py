"""Reads and appends the records of the administrator's own topics: the directory, the journal of the policy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.acls import WAIT_S
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.signing import Headers


@dataclass(frozen=True, slots=True)
class Published:
    """A record of a topic."""

    value: bytes
    headers: Headers


def read_all(admin_bundle: Bundle, topic: str) -> list[Published]:
    """All records of `topic`, oldest first; none while it has just been made.

    Raises:
        PolicyNotApplied: not read to its end in time.
        KafkaException: refused.
    """
    consumer = Consumer(
        {
            **admin_bundle.kafka_config(),
            "group.id": "admin.reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        # not 0: the oldest may have gone, and a place that is not there is the end for the client library
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return _to_end(consumer, topic)
    finally:
        consumer.close()


def _to_end(consumer: Consumer, topic: str) -> list[Published]:
    found: list[Published] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        error = message.error() if message else None
        if message is None or (error and error.code() in _NO_LEADER_YET):
            continue
        if error and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
            return found
        if error:
            raise KafkaException(error)
        pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        headers = [(name, content) for name, content in pairs if content is not None]
        found.append(Published(message.value() or b"", headers))
    raise PolicyNotApplied(f"{topic} could not be read to its end in {WAIT_S:.0f} s; run the command again")


def append_all(admin_bundle: Bundle, topic: str, key: str, records: Iterable[Published]) -> None:
    """Append `records` to `topic`, in order.

    Raises:
        PolicyNotApplied: not all of them were acknowledged.
    """
    producer = Producer({**admin_bundle.kafka_config(), "enable.idempotence": True, "message.max.bytes": 2_200_000})
    failures: list[KafkaError] = []
    for record in records:
        producer.produce(
            topic,
            record.value,
            key.encode(),
            headers=cast("Any", record.headers),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    if producer.flush(WAIT_S) or failures:
        raise PolicyNotApplied(f"{topic} was not written: {failures or 'no answer in time'}; run the command again")


_NO_LEADER_YET: Final[Sequence[int]] = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # librdkafka's name
)
