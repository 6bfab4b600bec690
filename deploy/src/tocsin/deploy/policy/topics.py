"""Topics through the administrator's client: made when missing, their settings put right, never deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.acls import ANSWERED_S, WAIT_S
from tocsin.deploy.policy.compile import RETENTION, Topic, replication
from tocsin.deploy.policy.retention import DAY_MS

MIN_ISR: Final = "min.insync.replicas"
# Kafka carries out no request of more than 10,000 records; each setting of a topic is one
BATCH: Final = 500

_Item = TypeVar("_Item")


class Topics:
    """The topics that the cluster has, and what was done to them."""

    def __init__(self, admin: AdminClient) -> None:
        cluster = admin.list_topics(timeout=WAIT_S)
        self._admin = admin
        self._copies, self._min_isr = replication(len(cluster.brokers))
        self._there: Mapping[str, TopicMetadata] = cluster.topics
        self._settings: dict[str, Any] = {}
        self._wrong: list[ConfigResource] = []
        self._missing: list[Topic] = []
        self.created: list[str] = []
        self.configured: list[str] = []
        self.warnings: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._there

    def ask(self, wanted: Sequence[Topic]) -> None:
        """Ask for the settings of those of `wanted` that are there, which `plan` needs: the answer takes a while."""
        asked = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in wanted if topic.name in self]
        if asked:
            answers = self._admin.describe_configs(asked)
            self._settings.update({resource.name: future for resource, future in answers.items()})

    def plan(self, wanted: Sequence[Topic]) -> None:
        """Find out what is missing or has other settings.

        Raises:
            PolicyNotApplied: a topic has more than one partition, which cannot be taken back.
            KafkaException: refused.
        """
        self._check([topic.name for topic in wanted if topic.name in self])
        self._wrong = self._settings_to_change(wanted)
        self._warn_of_shorter(wanted)
        self._missing = [topic for topic in wanted if topic.name not in self]
        self.configured = [change.name for change in self._wrong]
        self.created = [topic.name for topic in self._missing]

    def apply(self) -> None:
        """Do what was planned. Raises KafkaException."""
        for part in _batches(self._wrong):
            for future in self._admin.incremental_alter_configs(part).values():
                future.result(ANSWERED_S)
        self.create(self._missing)

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            partitions = self._there[name].partitions.values()
            if len(partitions) != 1:
                raise PolicyNotApplied(f"topic {name} has {len(partitions)} partitions, not 1; move it away by hand")
            copies = min(len(one.replicas) for one in partitions)
            if copies < self._copies:
                self.warnings.append(
                    f"topic {name} has {copies} replicas, {self._copies} are wanted; run kafka-reassign-partitions"
                )

    def _warn_of_shorter(self, wanted: Sequence[Topic]) -> None:
        """What is older goes for good; nobody can bring it back, whatever the policy says next."""
        found: dict[tuple[int, int], list[str]] = {}
        for topic in wanted:
            if topic.name in self and RETENTION in topic.config:
                now_ms = int(self._settings[topic.name].result(ANSWERED_S)[RETENTION].value)
                wanted_ms = int(topic.config[RETENTION])
                if now_ms < 0 or now_ms > wanted_ms:
                    found.setdefault((now_ms, wanted_ms), []).append(topic.name)
        self.warnings += [
            f"{', '.join(names)}: kept for {wanted_ms // DAY_MS} days, until now {_days(now_ms)}; what is older goes"
            " for good: see `tocsin holds list`, and run `tocsin audit archive` first"
            for (now_ms, wanted_ms), names in found.items()
        ]

    def create(self, missing: Sequence[Topic]) -> None:
        """Create `missing`; what is there by now is left as it is. Raises KafkaException."""
        for part in _batches(missing):
            new = [
                NewTopic(topic.name, num_partitions=1, replication_factor=self._copies, config=self._config(topic))
                for topic in part
            ]
            futures: dict[str, Any] = self._admin.create_topics(new, operation_timeout=WAIT_S)
            for future in futures.values():
                try:
                    future.result(ANSWERED_S)
                except KafkaException as failure:
                    # a request that was sent twice, or another administrator at the same moment
                    if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise

    def _settings_to_change(self, wanted: Sequence[Topic]) -> list[ConfigResource]:
        topics = [topic for topic in wanted if topic.name in self]
        self.ask([topic for topic in topics if topic.name not in self._settings])
        changes: list[ConfigResource] = []
        for topic in topics:
            now: dict[str, Any] = self._settings[topic.name].result(ANSWERED_S)
            wrong = {key: value for key, value in self._config(topic).items() if now[key].value != value}
            if wrong:
                changes.append(_settings(topic.name, wrong))
        return changes

    def _config(self, topic: Topic) -> dict[str, str]:
        return {**topic.config, MIN_ISR: str(self._min_isr)}


def _days(millis: int) -> str:
    return "for ever" if millis < 0 else f"{millis // DAY_MS}"


def _batches(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    return ([*items[at : at + BATCH]] for at in range(0, len(items), BATCH))


def _settings(topic: str, values: Mapping[str, str]) -> ConfigResource:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()]
    return ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
