"""Reads and appends the records of the administrator's own topics: the directory, the journal of the policy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

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
            # a group is asked for, though none is joined
            "group.id": f"{admin_bundle.config.login}.reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # the end is told by an answer that waited so long for more
            "fetch.wait.max.ms": 10,
            # should the oldest go after its place was asked for
            "auto.offset.reset": "earliest",
        }
    )
    try:
        deadline = time.monotonic() + WAIT_S
        consumer.assign([_oldest(consumer, topic, deadline)])
        return _to_end(consumer, topic, deadline)
    finally:
        consumer.close()


def _oldest(consumer: Consumer, topic: str, deadline: float) -> TopicPartition:
    """The place of the oldest record. A consumer that is told "the beginning" takes half a second to ask for it."""
    place = TopicPartition(topic, 0)
    while time.monotonic() < deadline:
        try:
            place.offset, _ = consumer.get_watermark_offsets(place, WAIT_S)
        except KafkaException as failure:
            if failure.args[0].code() not in _NO_LEADER_YET:
                raise
            time.sleep(0.1)
        else:
            return place
    raise _not_read(topic)


def _to_end(consumer: Consumer, topic: str, deadline: float) -> list[Published]:
    found: list[Published] = []
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
    raise _not_read(topic)


def _not_read(topic: str) -> PolicyNotApplied:
    return PolicyNotApplied(f"{topic} could not be read to its end in {WAIT_S:.0f} s; run the command again")


def append_all(admin_bundle: Bundle, topic: str, key: str, records: Iterable[Published]) -> None:
    """Append `records` to `topic`, in order.

    Raises:
        PolicyNotApplied: not all of them were acknowledged.
    """
    # one request at a time keeps the order; what comes twice does no harm, and an idempotent producer starts slowly
    settings = {"max.in.flight.requests.per.connection": 1, "message.max.bytes": 2_200_000}
    producer = Producer({**admin_bundle.kafka_config(), **settings})
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
