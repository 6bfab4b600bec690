"""An Inbox on a real exchange keeps to its contract."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Message, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.contract.inbox import InboxContract, RecordHeaders
from tests.world import World, wait_until
from tocsin.consumers.fanout import notary
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.receipts_reader import ReceiptsReader
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import inbox_topic
from tocsin.schemas.signing import SigningKey

WAIT_S = 20
KNOWN_S = 0.5


class WorldStage:
    """The session's exchange as a stage."""

    quiet_s = 3.0

    def __init__(self, world: World) -> None:
        self._world = world
        self._admin = world.admin()
        self._producer = Producer({**world.cluster.admin_config()})

    def member(self, name: str) -> Bundle:
        """A member's bundle."""
        return self._world.member(name)

    def publish(self, bundle: Bundle, *alerts: SiteTakenDown) -> None:
        """Publish, and wait for the fan-out."""
        with Publisher(bundle) as publisher:
            for alert in alerts:
                publisher.publish(alert)
            assert publisher.flush(WAIT_S) == 0
        wanted = {alert.to_avro() for alert in alerts}
        wait_until(lambda: wanted <= {one.value for one in self.copies("reader-00")}, WAIT_S, "the copies")

    def inbox(self, bundle: Bundle, *, follow: bool = False, **options: Any) -> Inbox:
        """An Inbox."""
        return Inbox(bundle, follow=follow, **options)

    def copies(self, member: str) -> Sequence[BusRecord]:
        """Everything in an inbox, read by a plain consumer."""
        return [_record(message) for message in self._world.inbox(member)]

    def place(self, member: str, group: str) -> int | None:
        """A group's place, as the broker knows it."""
        name = f"{member}.{group}"
        future = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name]
        found: list[Any] = future.result(WAIT_S).topic_partitions
        return next((int(place.offset) for place in found if place.topic == inbox_topic(member)), None)

    def receipts(self) -> Sequence[Receipt]:
        """Read by the auditor."""
        with ReceiptsReader(self._world.service("auditor")) as reader:
            return reader.read()[1]

    def test_line(self, member: str, checkpoint: str | None) -> None:
        """With the fan-out's key."""
        record = dict.fromkeys(("topic", "offset", "sha256", "lineage_id", "publisher", "reason", "detail"), None)
        said = {"kind": "LINE_TEST", "member": member, "jurisdiction": "se", "issued_at": time.time_ns() // 1_000_000}
        sign = notary(self._world.service("fanout").signing_key(), "test")
        value, headers = sign("notice", {**record, **said, "checkpoint": checkpoint})
        self.plant(member, b"line-test/se", value, headers)

    def sealer(self) -> SigningKey:
        """The service's."""
        return self._world.service("sealer").signing_key()

    def plant(self, member: str, key: bytes, value: bytes | None, headers: RecordHeaders) -> None:
        """Append as the administrator."""
        content: Any = list(headers)
        self._producer.produce(inbox_topic(member), value, key, 0, headers=content)
        assert self._producer.flush(WAIT_S) == 0

    @contextmanager
    def forbidden(self, member: str) -> Generator[None]:
        """A DENY for a while."""
        pattern = (ResourceType.TOPIC, inbox_topic(member), ResourcePatternType.LITERAL, f"User:{member}", "*")
        words = (AclOperation.READ, AclPermissionType.DENY)
        _wait(self._admin.create_acls([AclBinding(*pattern, *words)]))
        time.sleep(KNOWN_S)
        yield
        _wait(self._admin.delete_acls([AclBindingFilter(*pattern, *words)]))
        time.sleep(KNOWN_S)


def _wait(futures: Any) -> None:
    for future in futures.values():
        future.result(WAIT_S)


def _record(message: Message) -> BusRecord:
    headers: Any = message.headers() or []
    offset = message.offset() or 0
    return BusRecord(
        message.topic() or "", offset, message.key(), message.value(), tuple(headers), message.timestamp()[1]
    )


@pytest.fixture(scope="module")
def stage(world: World) -> WorldStage:
    """The session's exchange."""
    return WorldStage(world)


class TestWorldInbox(InboxContract):
    """The contract, on Kafka."""
