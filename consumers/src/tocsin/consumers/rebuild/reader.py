"""Reads all that a lane's ledger is compared with, by a login that may read ledger, record, alerts and inboxes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Self, cast

from confluent_kafka.admin import AdminClient

from tocsin.consumers.contents import FileContents
from tocsin.consumers.ledger import Ledger
from tocsin.consumers.rebuild.copies import Copies
from tocsin.consumers.rebuild.fold import Fold
from tocsin.consumers.rebuild.ledgers import Comparison, Kept
from tocsin.consumers.topics_reader import TopicsReader, topic_ids, topic_names
from tocsin.consumers.watch import ADMIN, INBOX
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.codec import decode
from tocsin.schemas.names import audit_topic, ledger_topic
from tocsin.schemas.records import Decision

CATCH_UP_S: Final = 5.0
"""How long the record may be behind the ledger: one transaction writes both, and a broker shows each when it can."""

EVERYTHING: Final = 2**63 - 1
"""No decision has a higher number."""

Said = Callable[[str], None]
"""Is told what is being read."""


class LaneReader:
    """`bundle` is the administrator's. A context manager."""

    def __init__(self, bundle: Bundle) -> None:
        config = bundle.kafka_config()
        self._admin = AdminClient({**config, **ADMIN})
        self._reader = TopicsReader(config, group=f"{bundle.config.login}.none")
        self._contents: list[FileContents] = []

    def read(self, lane: str, said: Said) -> Comparison:
        """The ledger of `lane` as it is now, and the record and all copies as they are a moment later.

        In this order: what the record says beyond the ledger's mark is known to be of a later one.

        Raises:
            TopicsUnreadable: one of them cannot be read now.
        """
        kept = Kept(Ledger(self._scratch()))
        said(f"the ledger of {lane}")
        self._read([ledger_topic(lane)], lambda record: kept.apply(record.key or b"", record.value))
        fold, copies, inboxes = self.sources(lane, said, kept.ledger.mark.seq)
        return Comparison(kept, fold, copies, inboxes, time.time_ns() // 1_000_000)

    def is_empty(self, lane: str) -> bool:
        """Whether the ledger of `lane` has no record. Raises TopicsUnreadable."""
        found: list[BusRecord] = []
        self._read([ledger_topic(lane)], found.append)
        return not found

    def sources(self, lane: str, said: Said, until: int = EVERYTHING) -> tuple[Fold, Copies, dict[str, str]]:
        """What the record says up to the number `until`, all copies, and the topic ids of the inboxes by member.

        Raises:
            TopicsUnreadable: one of them cannot be read now.
        """
        names = [name for name in topic_names(self._admin) if name.startswith(("alerts.", INBOX))]
        topics, fold, copies = topic_ids(self._admin, names), Fold(until), Copies(lane, self._scratch())
        said(f"the record of {lane}")
        self._read_record(lane, fold)
        alerts = sorted(name for name in topics if name.startswith(f"alerts.{lane}."))
        said(f"the alerts of {lane}")
        self._read(alerts, lambda one: copies.take_alert(f"{one.topic}/0/{one.offset}", one.value, one.headers))
        inboxes = sorted(name for name in topics if name.startswith(INBOX))
        said(f"{len(inboxes)} inboxes")
        self._read(
            inboxes, lambda one: copies.take_copy(one.topic.removeprefix(INBOX), one.key, one.value, one.headers)
        )
        return fold, copies, {name.removeprefix(INBOX): topics[name] for name in inboxes}

    def _scratch(self) -> FileContents:
        self._contents.append(FileContents())
        return self._contents[-1]

    def _read_record(self, lane: str, fold: Fold) -> None:
        self._reader.follow([audit_topic(lane)], anew=[audit_topic(lane)])
        deadline = time.monotonic() + CATCH_UP_S
        while True:
            self._reader.read_to_end(lambda record: fold.take(cast("Decision", decode(record.value or b"")[1])))
            if fold.seq >= fold.until or fold.until == EVERYTHING or time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def _read(self, topics: list[str], take: Callable[[BusRecord], None]) -> None:
        self._reader.follow(topics, anew=topics)
        self._reader.read_to_end(take)

    def close(self) -> None:
        """Let go of the connection and of all that was read."""
        self._reader.close()
        for contents in self._contents:
            contents.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
