"""Reads many topics of one partition each, to the end of what is committed: outboxes, ledgers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from tocsin.consumers.errors import TocsinConsumerError, TopicsUnreadable
from tocsin.consumers.kafka import TO_THE_END_MS
from tocsin.consumers.watch import ADMIN
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import BusRecord

STILL_MAX_S: Final = 10.0
"""How long nothing may come while something is there."""
LIST_S: Final = 10.0
_ASK_S: Final = 5.0


def topic_names(admin: AdminClient) -> list[str]:
    """The topics that a login may know of, in order.

    Raises:
        TopicsUnreadable: no broker answers.
    """
    try:
        return sorted(admin.list_topics(timeout=LIST_S).topics)
    except KafkaException as failure:
        raise TopicsUnreadable(f"the topics cannot be listed: {failure.args[0]}") from failure


def topic_ids(admin: AdminClient, names: Sequence[str]) -> dict[str, str]:
    """The id of each topic, by its name.

    Raises:
        TopicsUnreadable: no broker answers, or one of them is not there.
    """
    if not names:
        return {}
    try:
        answers: dict[str, Any] = admin.describe_topics(TopicCollection([*names]), request_timeout=LIST_S)
        return {name: str(future.result().topic_id) for name, future in answers.items()}
    except KafkaException as failure:
        raise TopicsUnreadable(f"the topics cannot be described: {failure.args[0]}") from failure


class TopicsReader:
    """What it has read it does not read again. `group` is a name that the client library asks for; it is not used.

    `fetch_wait_ms` is `TO_THE_END_MS` or `STANDING_MS`.
    """

    def __init__(self, config: KafkaConfig, *, group: str, fetch_wait_ms: int = TO_THE_END_MS) -> None:
        self._next: dict[str, int] = {}
        self._heard_of: set[str] = set()
        self._known_ends: Mapping[str, int] = {}
        self._admin = AdminClient({**config, **ADMIN})
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "check.crcs": True,
                "fetch.wait.max.ms": fetch_wait_ms,
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 5,  # by default, fetching rests for a second whenever that much waits
            }
        )

    def follow(self, topics: Iterable[str], anew: Iterable[str] = ()) -> None:
        """From now on read `topics` and no others; new ones, and those that are `anew`, from their first record."""
        before = {topic: offset for topic, offset in self._next.items() if topic not in set(anew)}
        self._next = {topic: before.get(topic, 0) for topic in topics}
        self._assign()

    def follow_from(self, places: Mapping[str, int]) -> None:
        """From now on read these topics and no others, each from its offset."""
        self._next = {**places}
        self._assign()

    def positions(self) -> Mapping[str, int]:
        """The offset of each topic from which reading goes on."""
        return {**self._next}

    def ends(self) -> Mapping[str, int]:
        """The end of each topic, as it was found when reading was last begun."""
        return self._known_ends

    def bounds(self, topics: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Of each topic the offset of its oldest record, and the one after the newest that is committed.

        Raises:
            TopicsUnreadable: the broker does not say.
        """
        places = [TopicPartition(topic, 0) for topic in topics]
        if not places:
            return {}, {}
        return (
            self._offsets(dict.fromkeys(places, OffsetSpec.earliest())),
            self._offsets(dict.fromkeys(places, OffsetSpec.latest())),
        )

    def follow_since(self, topic: str, at_ms: int) -> None:
        """From now on read `topic` and no other, from the first record that is stamped `at_ms` or later.

        Raises:
            TopicsUnreadable: the broker does not say where that is.
        """
        place = TopicPartition(topic, 0)
        found = self._offsets({place: OffsetSpec.for_timestamp(at_ms)})[topic]
        # none is so late: whatever comes
        self._next = {topic: self._offsets({place: OffsetSpec.latest()})[topic] if found < 0 else found}
        self._assign()

    def _assign(self) -> None:
        """Begin; the client looks for leaders of topics new to it once a second only, and asked for all, has them."""
        if not self._heard_of.issuperset(self._next):
            with suppress(KafkaException):  # what cannot be read is said when it is read
                self._heard_of |= self._consumer.list_topics(timeout=_ASK_S).topics.keys()
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._next.items()])

    def read_to_end(self, take: Callable[[BusRecord], None]) -> None:
        """Give `take` every record that has come since; of one topic in order.

        Raises:
            TopicsUnreadable: they cannot be read now. What was not taken is read the next time.
        """
        try:
            self._read_to_end(take)
        except TocsinConsumerError:
            # what was fetched and not taken is fetched again
            self._assign()
            raise

    def _read_to_end(self, take: Callable[[BusRecord], None]) -> None:
        self._known_ends = self._ends()
        behind = {topic: end for topic, end in self._known_ends.items() if self._next[topic] < end}
        moved_at = time.monotonic()
        while behind:
            messages = self._consumer.consume(500, 0.1)
            for message in messages:
                if not _is_about_group(message):
                    self._take(message, take)
            if messages:
                moved_at = time.monotonic()
                behind = {topic: end for topic, end in behind.items() if self._next[topic] < end}
            elif time.monotonic() - moved_at > STILL_MAX_S:
                raise TopicsUnreadable(f"{', '.join(sorted(behind)[:5])}: nothing came for {STILL_MAX_S:.0f} s")

    def _ends(self) -> dict[str, int]:
        """Asked of all at once: a question for each would take a second for a thousand."""
        if not self._next:
            return {}
        return self._offsets({TopicPartition(topic, 0): OffsetSpec.latest() for topic in self._next})

    def _offsets(self, asked: dict[TopicPartition, Any]) -> dict[str, int]:
        try:
            answers: dict[Any, Any] = self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_ASK_S
            )
            return {place.topic: int(future.result().offset) for place, future in answers.items()}
        except KafkaException as failure:
            raise TopicsUnreadable(f"the offsets of the topics: {failure.args[0]}") from failure

    def _take(self, message: Message, take: Callable[[BusRecord], None]) -> None:
        topic, offset, error = cast("str", message.topic()), cast("int", message.offset()), message.error()
        if error is None:
            headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
            take(BusRecord(topic, offset, message.key(), message.value(), tuple(headers), message.timestamp()[1]))
            self._next[topic] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
            self._next[topic] = max(self._next.get(topic, 0), offset)
        else:
            raise TopicsUnreadable(f"{topic}: {error.str()}")

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def _is_about_group(message: Message) -> bool:
    """Whether it only says that the group may not be used: none is, but the client asks for its coordinator."""
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
