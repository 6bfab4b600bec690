"""The two clusters of a move, each through its administrator's clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, OffsetSpec, ResourceType

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import acl_client
from tocsin.consumers.errors import TopicsUnreadable
from tocsin.consumers.fanout import GROUP
from tocsin.consumers.topics_reader import TopicsReader, topic_ids, topic_names
from tocsin.deploy.errors import MoveRefused
from tocsin.deploy.moving.carried import INBOXES, Put, There, Way, way_of
from tocsin.deploy.policy.acls import ANSWERED_S, WAIT_S, create_acls, read_acls
from tocsin.deploy.policy.compile import Topic
from tocsin.deploy.policy.topics import Topics
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord

CLOSED: Final = AclRow("TOPIC", "*", "LITERAL", "User:*", "*", "WRITE", "DENY")
"""By this nobody but super users writes to the old cluster any more."""
STAMPS: Final = "message.timestamp.type"
LEFT_S: Final = 20.0
"""The group misses a fan-out that was killed some seconds later."""
STILL_S: Final = 20.0
"""Not all brokers know at the same time that nobody may write any more, and a transaction may just be ended."""
LOOK_S: Final = 0.5
RECORD_BYTES_MAX: Final = 2_200_000
TAIL: Final = 10_000
"""So many offsets at the end of a record are looked through first, for its last decision."""


class Cluster:
    """What is asked of either. Raises KafkaException when it does not answer."""

    def __init__(self, bundle: Bundle) -> None:
        self._config = bundle.kafka_config()
        self._admin = AdminClient(self._config)
        self._reader = TopicsReader(self._config, group="admin.mover")

    def cluster_id(self) -> str:
        """Its id."""
        return str(self._admin.describe_cluster().result(ANSWERED_S).cluster_id)

    def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The ids of `topics`, by name."""
        return topic_ids(self._admin, [*topics])

    def ways(self) -> dict[str, Way]:
        """The exchange's topics, and how each is carried."""
        return {topic: way for topic in topic_names(self._admin) if (way := way_of(topic)) is not None}

    def bounds(self, topics: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Of each topic the offset of the oldest record, and the one after the newest."""
        return self._reader.bounds(topics)

    def read(self, places: Mapping[str, int], take: Callable[[BusRecord], None]) -> None:
        """Give `take` each committed record of these topics, from these places on. Raises TopicsUnreadable."""
        self._reader.follow_from(places)
        self._reader.read_to_end(take)

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()


class Old(Cluster):
    """The cluster that is left. Nothing there is changed but that nobody may write."""

    def close_to_writers(self) -> None:
        """Let nobody write to it any more. Raises PolicyNotApplied."""
        admin = acl_client(self._config)
        if CLOSED not in read_acls(admin):
            create_acls(admin, [CLOSED])

    def check_no_fanout(self) -> None:
        """Make sure that no fan-out runs. Raises MoveRefused."""
        deadline = time.monotonic() + LEFT_S
        while self._fanouts():
            if time.monotonic() > deadline:
                raise MoveRefused("a fan-out runs on the old cluster: stop it, and try again")
            time.sleep(LOOK_S)

    def check_still(self, topics: Iterable[str]) -> None:
        """Wait until nothing more comes, and nothing is half written. Raises MoveRefused."""
        places = [TopicPartition(topic, 0) for topic in topics]
        deadline = time.monotonic() + STILL_S
        before = self._ends(places, IsolationLevel.READ_UNCOMMITTED)
        while True:
            time.sleep(LOOK_S)
            committed = self._ends(places, IsolationLevel.READ_COMMITTED)
            ends = self._ends(places, IsolationLevel.READ_UNCOMMITTED)
            moving = sorted(topic for topic, end in ends.items() if end != before[topic])
            half = sorted(topic for topic, end in ends.items() if end != committed[topic])
            if not moving and not half:
                return
            if time.monotonic() > deadline:
                what = f"{moving[0]}: somebody writes" if moving else f"{half[0]}: a transaction is open"
                raise MoveRefused(f"{what} on the old cluster; try again in half a minute")
            before = ends

    def _fanouts(self) -> int:
        try:
            found: Any = self._admin.describe_consumer_groups([GROUP])[GROUP].result(ANSWERED_S)
        except KafkaException as failure:
            if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise
        return len(found.members)

    def _ends(self, places: Iterable[TopicPartition], level: IsolationLevel) -> dict[str, int]:
        asked = {place: cast("OffsetSpec", OffsetSpec.latest()) for place in places}
        answers: dict[Any, Any] = self._admin.list_offsets(asked, isolation_level=level, request_timeout=WAIT_S)
        return {place.topic: int(future.result().offset) for place, future in answers.items()}

    def settings(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """What was set of each topic."""
        answers = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics])
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {
            str(resource.name): {
                name: str(entry.value) for name, entry in future.result(ANSWERED_S).items() if entry.source == own
            }
            for resource, future in cast("dict[Any, Any]", answers).items()
        }

    def after_last(self, topic: str, first: int, end: int) -> int:
        """The offset after the last committed record of `topic`; `end`, if there is none."""
        found: list[int] = []
        for begin in (max(first, end - TAIL), first):
            self.read({topic: begin}, lambda record: found.append(record.offset))
            if found:
                return found[-1] + 1
        return end

    def inbox_places(self) -> dict[str, dict[str, int]]:
        """Where each group stands in inboxes: group -> topic -> offset."""
        listed: Any = self._admin.list_consumer_groups(request_timeout=WAIT_S).result()
        if listed.errors:
            raise MoveRefused(
                f"not every broker of the old cluster says which groups it has: {listed.errors[0]}; try again"
            )
        found: dict[str, dict[str, int]] = {}
        for group in [one.group_id for one in listed.valid if one.group_id != GROUP]:
            answer: Any = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
            stands = {
                one.topic: int(one.offset)
                for one in answer.result(ANSWERED_S).topic_partitions
                if one.topic.startswith(INBOXES) and one.offset >= 0
            }
            if stands:
                found[group] = stands
        return found


class New(Cluster):
    """The cluster that the exchange moves to. It has no login yet but the administrator's, so nobody comes between."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self._failed: KafkaError | None = None
        self._producer = Producer(
            {
                **self._config,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.num.messages": 50_000,
                "message.max.bytes": RECORD_BYTES_MAX,
                "delivery.report.only.error": True,
                "on_delivery": self._note_failure,
            }
        )

    def _note_failure(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error

    def make(self, settings: Mapping[str, Mapping[str, str]], ways: Mapping[str, Way]) -> None:
        """Make the topics that are missing, with these settings; what lies at old offsets keeps its time."""
        topics = Topics(self._admin)
        missing = [
            Topic(name, own if ways[name] is Way.PACKED else {**own, STAMPS: "CreateTime"})
            for name, own in sorted(settings.items())
            if name not in topics
        ]
        topics.create(missing)
        self._wait_for_leaders([topic.name for topic in missing])

    def _wait_for_leaders(self, topics: Sequence[str]) -> None:
        """Of a new topic a broker knows that it leads it a moment later than that it is there."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self.bounds(topics)
            except TopicsUnreadable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def there(self, ways: Mapping[str, Way]) -> dict[str, There]:
        """What each topic holds already."""
        firsts, ends = self.bounds(ways)
        found = {topic: There(firsts[topic], ends[topic]) for topic in ways}
        self.read(firsts, lambda record: found[record.topic].note(record, ways[record.topic]))
        return found

    def write(self, topic: str, records: Iterable[Put]) -> int:
        """Append `records`, in order; returns how many. They are there after `flush`."""
        count = 0
        for count, one in enumerate(records, 1):  # noqa: B007  # how many there were
            while True:
                try:
                    self._producer.produce(
                        topic, one.value, one.key, 0, headers=cast("Any", [*one.headers]), timestamp=one.at_ms
                    )
                except BufferError:
                    self._producer.poll(0.05)
                else:
                    break
        self._producer.poll(0)
        self._refuse_failed()
        return count

    def flush(self) -> None:
        """Wait until all is written. Raises MoveRefused."""
        left = self._producer.flush(WAIT_S)
        self._refuse_failed()
        if left:
            raise MoveRefused(f"the new cluster has not taken {left} records in {WAIT_S:.0f} s; try again")

    def _refuse_failed(self) -> None:
        if self._failed is not None:
            raise MoveRefused(f"the new cluster does not take what is written: {self._failed.str()}; try again")

    def begin_at(self, firsts: Mapping[str, int]) -> None:
        """Let each of these topics begin at its offset."""
        places = [TopicPartition(topic, 0, first) for topic, first in firsts.items() if first]
        for future in self._admin.delete_records(places, request_timeout=WAIT_S).values() if places else ():
            future.result(ANSWERED_S)

    def stand(self, places: Mapping[str, Mapping[str, int]]) -> None:
        """Let each group stand at these places: group -> topic -> offset."""
        for group, stands in places.items():
            partitions = [TopicPartition(topic, 0, offset) for topic, offset in stands.items()]
            asked = [ConsumerGroupTopicPartitions(group, partitions)]
            answers: dict[Any, Any] = self._admin.alter_consumer_group_offsets(asked, request_timeout=WAIT_S)
            answers[group].result(ANSWERED_S)
