"""Two plain transactional loops, as one would write them without Tocsin: what our figures are compared with.

`copy` writes what it reads to ten inboxes; `verify` also checks each signature and decodes each alert. Neither knows
who may be told, keeps a ledger or an audit log, or notices a duplicate.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.bench.backlog import TOPICS, inboxes_of
from tocsin.consumers.directory_reader import DirectoryReader, wall_clock_ms
from tocsin.consumers.kafka import KafkaReader
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.codec import decode_strict
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.verify import Verifier

BATCH = 2_000

Check = Callable[[Message], None]


def main(kind: str, home: Path, count: int) -> None:
    """Copy `count` alerts, then wait to be ended."""
    bundle = Bundle.load(home / "services" / "fanout")
    config = dict(bundle.kafka_config())
    check = _verify(bundle) if kind == "verify" else _accept
    group = {"group.id": "fanout.bench", "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer({**config, **group})
    consumer.assign([TopicPartition(topic.name, 0, 0) for topic in TOPICS])
    producer = Producer(
        {**config, "transactional.id": "fanout.bench", "linger.ms": 5, "queue.buffering.max.messages": 400_000}
    )
    producer.init_transactions(30)
    inboxes = {topic.name: inboxes_of(topic) for topic in TOPICS}
    left = count
    while left:
        messages = consumer.consume(BATCH, 0.5)
        if messages:
            _copy(consumer, producer, messages, inboxes, check)
            left -= len(messages)
    consumer.close()
    signal.pause()  # so that its CPU time can still be read; the one who started it ends it


def _copy(
    consumer: Consumer, producer: Producer, messages: list[Message], inboxes: dict[str, tuple[str, ...]], check: Check
) -> None:
    producer.begin_transaction()
    for message in messages:
        check(message)
        value, key, headers = message.value(), message.key(), cast("Any", message.headers())
        for inbox in inboxes[cast("str", message.topic())]:
            producer.produce(inbox, value, key, 0, headers=headers)
    places = {message.topic(): cast("int", message.offset()) + 1 for message in messages}
    offsets = [TopicPartition(cast("str", topic), 0, offset) for topic, offset in places.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
    producer.commit_transaction()


def _accept(_message: Message) -> None:
    """Check nothing."""


def _verify(bundle: Bundle) -> Check:
    topic = KafkaReader(bundle.kafka_config(), DIRECTORY_TOPIC, None)
    reader = DirectoryReader(topic, bundle.coalition, bundle.roots, VersionFloor(bundle.path / "floor"), wall_clock_ms)
    reader.read_to_end()
    topic.close()
    assert reader.directory is not None
    verifier = Verifier(bundle.coalition, reader.directory)

    def check(message: Message) -> None:
        topic, offset = cast("str", message.topic()), cast("int", message.offset())
        headers = cast("Any", message.headers())
        verifier.check_signature(topic, offset, message.value(), headers, message.timestamp()[1])
        decode_strict(message.value() or b"")

    return check


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
