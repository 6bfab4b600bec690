"""Reads the alert topics of one lane from the positions that its ledger holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tocsin.consumers.client_statistics import ClientSettings, silent
from tocsin.consumers.errors import LaneStopped
from tocsin.consumers.kafka import STANDING_MS
from tocsin.consumers.lane_transaction import Source
from tocsin.consumers.ledger import Position
from tocsin.consumers.watch import Topics
from tocsin.schemas.bundle import KafkaConfig


class Record(NamedTuple):
    """One record of an alert topic. Its source has the time of the broker (LogAppendTime): no client can set it."""

    source: Source
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None


class AlertReader:
    """A consumer without a group membership: the lane is held through the transactional ids, not through it."""

    def __init__(self, config: KafkaConfig, jurisdiction: str, tell: ClientSettings = silent) -> None:
        self._prefix = f"alerts.{jurisdiction}."
        self._assigned: dict[str, str] = {}
        self._seen: Topics | None = None
        self._consumer = Consumer(
            {
                **config,
                "group.id": f"fanout.{jurisdiction}",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                # loss by retention is an error that stops the lane, never a silent skip
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.wait.max.ms": STANDING_MS,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 65_536,
                **tell(f"{jurisdiction}.reader"),
            }
        )

    def follow(self, topics: Topics, positions: Mapping[str, Position]) -> None:
        """Start reading the alert topics that are new in `topics`, each from its position, else from offset 0.

        Raises:
            LaneStopped: a topic was deleted and made again, so that its position means nothing.
        """
        if topics is self._seen:
            return
        for topic, topic_id in topics.ids.items():
            if topic.startswith(self._prefix) and topic not in self._assigned:
                self._start(topic, topic_id, positions.get(topic))
            elif self._assigned.get(topic, topic_id) != topic_id:
                raise _recreated(topic)
        self._seen = topics

    def _start(self, topic: str, topic_id: str, position: Position | None) -> None:
        if position is not None and position.topic_id != topic_id:
            raise _recreated(topic)
        self._consumer.incremental_assign([TopicPartition(topic, 0, position.next_offset if position else 0)])
        self._assigned[topic] = topic_id

    def read(self, records_max: int, timeout_s: float) -> list[Record]:
        """What has come, in order per topic: waits for the first record only.

        Raises:
            LaneStopped: records that were never decided are gone (retention), or may not be read.
        """
        messages = self._consumer.consume(1, timeout_s)
        if messages:
            messages += self._consumer.consume(records_max, 0)
        return [self._record(message) for message in messages if not _is_passing(message)]

    def _record(self, message: Message) -> Record:
        topic = cast("str", message.topic())
        source = Source(topic, self._assigned[topic], 0, cast("int", message.offset()), message.timestamp()[1])
        return Record(source, message.key(), message.value(), message.headers())  # type: ignore[arg-type]

    def report(self, positions: Mapping[str, Position]) -> None:
        """Commit group offsets, only so that stock lag tools work; nothing depends on them."""
        offsets = [TopicPartition(p.topic, 0, p.next_offset) for p in positions.values() if p.topic in self._assigned]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    @property
    def topics(self) -> Collection[str]:
        """The alert topics that are read."""
        return self._assigned.keys()

    def ends(self) -> dict[str, int]:
        """The end of each alert topic, as the broker told when it was last fetched from: nobody is asked."""
        found: dict[str, int] = {}
        for topic in self._assigned:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(topic, 0), cached=True)
            # not told yet
            found[topic] = max(0, int(bounds[1])) if bounds else 0
        return found

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()


def _recreated(topic: str) -> LaneStopped:
    return LaneStopped(
        f"{topic} was deleted and made again: what it held before may never have been decided. "
        f"Compare it with audit.{topic.split('.')[1]}, then delete its position from the ledger to start at offset 0."
    )


def _is_passing(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001  # librdkafka's name
        raise LaneStopped(
            f"{message.topic()}: the next offset to decide is out of range; records never decided are gone: "
            f"{error.str()}"
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise LaneStopped(f"{message.topic()}: the fan-out may not READ it; run `tocsin policy apply` again")
    return True
