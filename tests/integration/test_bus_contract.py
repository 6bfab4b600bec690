"""Kafka keeps to the contract of every bus, read and written through our edges."""

from __future__ import annotations

import secrets
import time
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.contract.bus import BusContract, read
from tests.world import World, wait_until
from tocsin.consumers.kafka import KafkaReader
from tocsin.producers.kafka import KafkaWriter
from tocsin.schemas.bus import Headers, ReadFailed

WAIT_S = 20
# brokers learn of ACL changes one after another, 0.2 s apart at most
KNOWN_S = 0.5


class KafkaStage:
    """A real broker as a stage. The administrator is a super user."""

    def __init__(self, world: World) -> None:
        self._connection: dict[str, Any] = dict(world.cluster.admin_config())
        self._admin = world.admin()
        self._producer = Producer(self._connection)
        self._passwords: dict[str, str] = {}
        self._numbers = count()
        self._prefix = f"contract-{secrets.token_hex(4)}"

    def topic(self) -> str:
        """A new topic with broker time, ready for use."""
        name = f"{self._prefix}-{next(self._numbers)}"
        new = NewTopic(name, num_partitions=1, replication_factor=1, config={"message.timestamp.type": "LogAppendTime"})
        _wait(self._admin.create_topics([new]))
        wait_until(lambda: name in self._admin.list_topics(timeout=WAIT_S).topics, WAIT_S, name)
        return name

    def login(self) -> str:
        """A new user with a group prefix."""
        name = f"{self._prefix}-{next(self._numbers)}"
        self._passwords[name] = password = secrets.token_hex(8)
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        changes: list[Any] = [UserScramCredentialUpsertion(name, info, password.encode())]
        _wait(self._admin.alter_user_scram_credentials(changes))
        self._add(ResourceType.GROUP, f"{name}.", ResourcePatternType.PREFIXED, name, "READ", "ALLOW")
        # as every member has its outbox: who may write nowhere is refused as an idempotent producer already
        self.allow(name, "WRITE", f"outbox.{name}")
        return name

    def allow(self, login: str, operation: str, topic: str) -> None:
        """Add an ACL."""
        self._add(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, login, operation, "ALLOW")

    def deny(self, login: str, operation: str, topic: str) -> None:
        """Add a DENY."""
        self._add(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, login, operation, "DENY")

    def remove(self, login: str, operation: str, topic: str) -> None:
        """Remove both."""
        words: Any = (None, AclOperation[operation], AclPermissionType.ANY)
        found = AclBindingFilter(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{login}", *words)
        _wait(self._admin.delete_acls([found]))
        time.sleep(KNOWN_S)

    def _add(
        self, kind: ResourceType, name: str, pattern: ResourcePatternType, login: str, operation: str, permission: str
    ) -> None:
        words = (AclOperation[operation], AclPermissionType[permission])
        _wait(self._admin.create_acls([AclBinding(kind, name, pattern, f"User:{login}", "*", *words)]))
        time.sleep(KNOWN_S)

    def _login_config(self, login: str) -> dict[str, Any]:
        return {**self._connection, "sasl.username": login, "sasl.password": self._passwords[login]}

    def writer(self, login: str) -> KafkaWriter:
        """A writer of that user."""
        return KafkaWriter(self._login_config(login))

    def reader(self, login: str, topic: str, group: str | None) -> KafkaReader:
        """A reader of that user."""
        return KafkaReader(self._login_config(login), topic, group)

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Append as the administrator."""
        content: Any = headers
        self._producer.produce(topic, value, key, 0, headers=content)
        assert self._producer.flush(WAIT_S) == 0


def _wait(futures: Any) -> None:
    for future in futures.values():
        future.result(WAIT_S)


@pytest.fixture(scope="module")
def stage(world: World) -> KafkaStage:
    """The session's broker."""
    return KafkaStage(world)


class TestKafka(BusContract):
    """The contract, on Kafka."""


def test_a_wrong_password_is_told_as_such(world: World) -> None:
    """A login whose password is not accepted gets a readable failure, from reading and from asking for the end."""
    stage = KafkaStage(world)
    topic, login = stage.topic(), stage.login()
    wrong = {**world.cluster.admin_config(), "sasl.username": login, "sasl.password": "wrong"}
    for group in (f"{login}.inbox", None):
        reader = KafkaReader(wrong, topic, group)
        with pytest.raises(ReadFailed, match=r"denied.*SASL"):
            reader.end(5)
        with pytest.raises(ReadFailed, match=r"denied.*SASL"):
            read(reader, 1)
        reader.close()
