"""Reads ledgers, directory and outboxes once, with the fan-out's login: what a report of withdrawals is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import DirectoryUnreadable, LedgerUnreadable
from tocsin.consumers.fanout import GROUP
from tocsin.consumers.kafka import KafkaReader
from tocsin.consumers.outbox_watch import OutboxWatcher
from tocsin.consumers.watch import TopicWatcher
from tocsin.consumers.withdrawals import Retractions, Withdrawal
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord, ReadFailed
from tocsin.schemas.directory import VersionFloor
from tocsin.schemas.names import ledger_topic

ASK_S: Final = 10.0
STILL_MAX_S: Final = 20.0
"""How long a ledger may bring nothing before it is given up."""


def lanes(bundle: Bundle) -> list[str]:
    """The lanes whose ledgers there are.

    Raises:
        LedgerUnreadable: no broker answers.
    """
    prefix = ledger_topic("")
    try:
        topics = AdminClient(dict(bundle.kafka_config())).list_topics(timeout=ASK_S).topics
    except KafkaException as failure:
        raise LedgerUnreadable(f"the topics cannot be listed: {failure.args[0]}") from failure
    return sorted(name.removeprefix(prefix) for name in topics if name.startswith(prefix))


def read_withdrawals(bundle: Bundle, of_lanes: Iterable[str]) -> list[Withdrawal]:
    """What the exchange knows now of every retracted lineage of `of_lanes`; `bundle` is the fan-out's.

    Raises:
        LedgerUnreadable, DirectoryUnreadable, OutboxesUnreadable: it cannot be told now.
    """
    config = bundle.kafka_config()
    retractions = [Retractions(lane) for lane in of_lanes]
    for one in retractions:
        read_ledger(bundle, one.lane, one.apply)
    topics = TopicWatcher(config)
    floor = VersionFloor(bundle.path / "directory-version")
    directory = DirectoryWatcher(config, bundle.coalition, bundle.roots, floor, group=GROUP)
    outboxes = OutboxWatcher(config, topics, directory, {}, group=GROUP, acknowledgements=True)
    try:
        topics.look()
        directory.look()
        outboxes.look()
        found = directory.directory
        if found is None:
            raise DirectoryUnreadable("directory: no document that verifies")
        return [row for one in retractions for row in one.report(found.members, partial(outboxes.acknowledged, found))]
    except KafkaException as failure:
        raise LedgerUnreadable(f"the topics cannot be listed: {failure.args[0]}") from failure
    finally:
        outboxes.close()
        directory.close()


def read_ledger(bundle: Bundle, lane: str, apply: Callable[[BusRecord], None]) -> None:
    """Give `apply` every record that the ledger of `lane` holds now, in order; `bundle` is the fan-out's.

    Raises:
        LedgerUnreadable: it cannot be read to its end.
    """
    topic = ledger_topic(lane)
    reader = KafkaReader(bundle.kafka_config(), topic, None)
    try:
        end = reader.end(ASK_S)
        moved_at, position = time.monotonic(), reader.position
        while (reader.position or 0) < end:
            record = reader.poll(0.2)
            if record is not None:
                apply(record)
            if reader.position != position:
                moved_at, position = time.monotonic(), reader.position
            elif time.monotonic() - moved_at > STILL_MAX_S:
                raise LedgerUnreadable(f"{topic}: brought nothing for {STILL_MAX_S:.0f} s")
    except ReadFailed as failure:
        raise LedgerUnreadable(f"{topic}: {failure.detail}") from failure
    finally:
        reader.close()
