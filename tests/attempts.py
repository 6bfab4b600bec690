"""What one login can do on a real broker: everything is tried with its own credentials, the refusals are collected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tocsin.schemas.bundle import KafkaConfig

ANSWER_S: Final = 20.0

# the client library prints what is fatal to it, which refusals are; they are what is looked for here
SILENT: Final = logging.getLogger("tests.attempts.silent")
SILENT.propagate = False
SILENT.addHandler(logging.NullHandler())


class Attempts:
    """The clients of one login. `groups` is a group that it may use."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        self.config = config
        self.group = group
        self.admin = AdminClient(config)

    def told(self, topics: Collection[str]) -> dict[str, frozenset[str]]:
        """The topics that the broker shows, each with the operations that it says are allowed."""
        asked: dict[str, Any] = self.admin.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=ANSWER_S
        )
        found: dict[str, frozenset[str]] = {}
        for name, future in asked.items():
            if refusal(partial(future.result, ANSWER_S)) is None:
                found[name] = frozenset(operation.name for operation in future.result().authorized_operations)
        return found

    def read(self, topics: Collection[str]) -> set[str]:
        """The topics of which a consumer got records, or an empty end; all others were refused by name."""
        answers: dict[str, bool] = {}
        consumer = Consumer(
            {
                **self.config,
                "group.id": self.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        try:
            consumer.subscribe(list(topics))
            deadline = time.monotonic() + ANSWER_S
            while answers.keys() != set(topics):
                assert time.monotonic() < deadline, f"no answer about {set(topics) - answers.keys()}"
                for message in consumer.consume(1_000, 0.05):
                    answers[message.topic() or "?"] = _granted(message.error(), KafkaError._PARTITION_EOF)
        finally:
            consumer.close()
        return {topic for topic, granted in answers.items() if granted}

    def committed(self, topics: Iterable[str]) -> set[str]:
        """The topics whose offset could be committed in its group: it takes READ, and no metadata come first."""
        places = ConsumerGroupTopicPartitions(self.group, [TopicPartition(topic, 0, 0) for topic in topics])
        [future] = self.admin.alter_consumer_group_offsets([places]).values()
        partitions: list[TopicPartition] = future.result(ANSWER_S).topic_partitions
        return {one.topic for one in partitions if _granted(one.error)}

    def written(self, topics: Iterable[str]) -> set[str]:
        """The topics to which a record could be appended."""
        answers: dict[str, bool] = {}

        def note(error: KafkaError | None, message: Message) -> None:
            answers[message.topic() or "?"] = _granted(error)

        producer = Producer({**self.config, "acks": "all"})
        for topic in topics:
            producer.produce(topic, b"a record", b"a key", on_delivery=note)
        assert producer.flush(ANSWER_S) == 0
        return {topic for topic, granted in answers.items() if granted}

    def groups(self, names: Iterable[str], topic: str) -> set[str]:
        """The groups among `names` in which an offset of `topic`, which it may read, could be committed and read."""
        return {name for name in names if self._uses(name, topic)}

    def _uses(self, name: str, topic: str) -> bool:
        commit = refusal(lambda: self.commit(name, topic))
        ask = [ConsumerGroupTopicPartitions(name, [TopicPartition(topic, 0)])]
        read = refusal(lambda: self.admin.list_consumer_group_offsets(ask)[name].result(ANSWER_S))
        assert commit == read, f"{name}: commit {commit}, read {read}"
        assert commit in (None, "GROUP_AUTHORIZATION_FAILED"), f"{name}: {commit}"
        return commit is None

    def commit(self, group: str, topic: str) -> None:
        """Commit an offset. Raises KafkaException."""
        wanted = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 7)])]
        [place] = self.admin.alter_consumer_group_offsets(wanted)[group].result(ANSWER_S).topic_partitions
        if place.error is not None:
            raise KafkaException(place.error)

    def begins(self, transactional_id: str) -> bool:
        """Whether it may use `transactional_id`."""
        producer = Producer({**self.config, "transactional.id": transactional_id}, logger=SILENT)
        answer = refusal(lambda: producer.init_transactions(ANSWER_S))
        assert answer in (None, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"), f"{transactional_id}: {answer}"
        return answer is None


def refusal(attempt: Callable[[], object]) -> str | None:
    """The name of the error with which Kafka refused; None if it did not."""
    try:
        attempt()
    except KafkaException as failure:
        return str(failure.args[0].name())
    return None


def _granted(error: KafkaError | None, *fine: int) -> bool:
    assert error is None or error.code() in (*fine, KafkaError.TOPIC_AUTHORIZATION_FAILED), error
    return error is None or error.code() in fine
