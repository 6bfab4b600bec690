"""Reads what the fan-out decides by, once and with its login: live ACLs, directory, outboxes, a record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, cast

from confluent_kafka import Consumer, TopicPartition

from tocsin.consumers.errors import AclsUnreadable, TopicsUnreadable
from tocsin.consumers.fanout import GROUP
from tocsin.consumers.holds import Holds
from tocsin.consumers.members_reader import MembersReader
from tocsin.consumers.sight import Sight
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.consumers.watch import SightWatcher
from tocsin.schemas.bundle import Bundle, KafkaConfig
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.verify import Verified, Verifier

ASK_S: Final = 10.0


class ExchangeReader(MembersReader):
    """All that the fan-out decides by."""

    def __init__(self, bundle: Bundle, defaults: Mapping[str, Subscription]) -> None:
        super().__init__(bundle, defaults)
        # nothing is decided by what is read here, so nothing is put on record
        self._sight = SightWatcher(self._config, lambda _: None)

    def read(self) -> None:
        """Read all of it as it is now.

        Raises:
            AclsUnreadable, TopicsUnreadable, DirectoryUnreadable: it cannot be told now.
        """
        self.look()
        for _ in range(2):  # a right counts when two successive snapshots agree on it
            self._sight.look()

    @property
    def sight(self) -> Sight:
        """Who may be given what, by the live ACLs. Raises AclsUnreadable."""
        if self._sight.sight is None:
            raise AclsUnreadable("the live ACLs have not been read yet")
        return self._sight.sight

    @property
    def holds(self) -> Holds:
        """What the secretariat has put on hold."""
        return self._outboxes.holds

    def asked(self, directory: Directory) -> Subscriptions:
        """What everybody asks for, if `directory` says who is a member."""
        return self._outboxes.asked(directory)

    def alert(self, topic: AlertTopic, offset: int) -> tuple[Verified, int]:
        """The alert at `offset` of `topic`, verified as the fan-out does, and when the broker took it in.

        Raises:
            TopicsUnreadable: there is none.
            Rejection: it does not verify.
        """
        record = read_record(self._config, topic.name, offset)
        verifier = cast("Verifier", self._directory.verifier())
        try:
            return _verified(verifier, topic, record), record.appended_ms
        except Rejection as refusal:
            if refusal.reason is not Reason.UNKNOWN_KEY:
                raise
        self._directory.read_to_end()
        return _verified(cast("Verifier", self._directory.verifier()), topic, record), record.appended_ms


def _verified(verifier: Verifier, topic: AlertTopic, record: BusRecord) -> Verified:
    signed = verifier.check_signature(record.topic, record.offset, record.value, record.headers, record.appended_ms)
    return verifier.check_record(
        signed, topic, record.key, appended_ms=record.appended_ms, now_ms=time.time_ns() // 1_000_000
    )


def read_record(config: KafkaConfig, topic: str, offset: int, *, group: str = GROUP) -> BusRecord:
    """The record at `offset` of `topic`. `group` is a name that the client library asks for; it is not used.

    Raises:
        TopicsUnreadable: there is none, or it cannot be read.
    """
    consumer = Consumer(
        {
            **config,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, offset)])
        message = consumer.poll(ASK_S)
    finally:
        consumer.close()
    error = message.error() if message is not None else None
    if message is None or error is not None or message.offset() != offset:
        why = "no answer" if message is None else error.str() if error is not None else "it is gone"
        raise TopicsUnreadable(f"{topic}/{offset}: no record can be read there ({why}); name another")
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return BusRecord(topic, offset, message.key(), message.value(), tuple(headers), message.timestamp()[1])
