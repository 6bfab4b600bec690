"""Follows every member's outbox and keeps what members have set there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog

from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.errors import TopicsUnreadable
from tocsin.consumers.gains import Releases
from tocsin.consumers.holds import Holds
from tocsin.consumers.kafka import STANDING_MS
from tocsin.consumers.outbox_records import Acknowledged, Outboxes
from tocsin.consumers.receipts import Receipt
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.consumers.topics_reader import TopicsReader
from tocsin.consumers.watch import OUTBOX, TopicWatcher, Watcher
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Directory
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.verify import Verifier

POLL_S: Final = 0.5
AGE_MAX_S: Final = 30.0
_STOP_MAX_S: Final = 10.0

log = structlog.get_logger()


class OutboxWatcher(Watcher):
    """`subscriptions` is None until all outboxes have been read; `defaults` are for members that have set none.

    A record that does not verify changes nothing, and its content is not logged. Acknowledgements are kept with
    `acknowledgements` only, receipts with `receipts`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: TopicWatcher,
        directory: DirectoryWatcher,
        defaults: Mapping[str, Subscription],
        *,
        group: str,
        acknowledgements: bool = False,
        receipts: bool = False,
    ) -> None:
        # of a thousand members' outboxes the broker is asked for every end
        super().__init__("outboxes", POLL_S, rest=3.0)
        self.subscriptions: Subscriptions | None = None
        self.disputes: tuple[Disputed, ...] = ()
        self.holds = Holds()
        self.releases = Releases()
        self._topics = topics
        self._directory = directory
        self._defaults = defaults
        self._outboxes = Outboxes(acknowledgements=acknowledgements, receipts=receipts)
        self._made_of: tuple[int, int] | None = None
        self._ids: Mapping[str, str] = {}
        self._read_at = float("-inf")
        self._asked_directory = False
        self._reader = TopicsReader(config, group=group, fetch_wait_ms=STANDING_MS)

    def look(self) -> None:
        """Read every outbox to its end.

        Raises:
            TopicsUnreadable: one of them cannot be read, or nothing is known yet by which to verify.
        """
        began = time.monotonic()
        if self._directory.directory is None or not self._topics.looked:
            raise TopicsUnreadable("topics or directory have not been read yet")
        self._asked_directory = False
        self._follow(self._topics.topics.outboxes)
        self._reader.read_to_end(self._consider)
        self._swap()
        self._read_at = began

    def size(self) -> int:
        """Members that ask for anything."""
        return len(self.subscriptions) if self.subscriptions is not None else 0

    def _follow(self, ids: Mapping[str, str]) -> None:
        """Begin with outboxes that are new, or were made anew, at their first record; forget those that are gone."""
        if ids == self._ids:
            return
        anew = [topic for topic, topic_id in self._ids.items() if ids.get(topic) != topic_id]
        for topic in anew:
            self._outboxes.forget(topic.removeprefix(OUTBOX))
        self._reader.follow(ids, anew)
        self._ids = ids

    def _consider(self, record: BusRecord) -> None:
        try:
            self._apply(record)
        except Rejection as refusal:
            log.warning("outbox_record_refused", topic=record.topic, offset=record.offset, reason=str(refusal))
        except ValueError:  # its text would show the bytes
            reason = "not UTF-8, or not a record"
            log.warning("outbox_record_refused", topic=record.topic, offset=record.offset, reason=reason)

    def _apply(self, record: BusRecord) -> None:
        """Take a record in; an unknown key means: read the directory to its end, once a look, then reject."""
        member = record.topic.removeprefix(OUTBOX)
        try:
            self._outboxes.apply(member, record, self._verifier())
        except Rejection as refusal:
            if refusal.reason is not Reason.UNKNOWN_KEY or self._asked_directory:
                raise
            self._asked_directory = True
            self._directory.read_to_end()
            self._outboxes.apply(member, record, self._verifier())

    def _verifier(self) -> Verifier:
        verifier = self._directory.verifier()
        if verifier is None:
            raise TopicsUnreadable("no directory has been read yet")
        return verifier

    def _swap(self) -> None:
        directory = self._directory.directory
        if directory is None or self._made_of == (state := (self._outboxes.changes, directory.version)):
            return
        made = self._outboxes.subscriptions(directory, self._defaults)
        changed = made.changed_since(self.subscriptions or Subscriptions())
        if changed or self.subscriptions is None:
            self.subscriptions = made
            log.info("subscriptions_changed", members=len(changed))
        disputes = self._outboxes.disputes(directory)
        if disputes != self.disputes:
            self.disputes = disputes
        holds = self._outboxes.holds(directory)
        if holds.all != self.holds.all:
            self.holds = holds
            log.info("holds_changed", standing=[hold.name for hold in holds.all if not hold.lifted])
        self.releases = self._outboxes.releases(directory)
        self._made_of = state

    def acknowledged(self, directory: Directory, lineage: str) -> Mapping[str, Acknowledged]:
        """Who has acknowledged the withdrawal of `lineage` (publisher/lineage_id), as of the last look."""
        return self._outboxes.acknowledged(directory, lineage)

    def receipts(self, directory: Directory) -> tuple[Receipt, ...]:
        """What members say came into their inboxes, as of the last look."""
        return self._outboxes.receipts(directory)

    def asked(self, directory: Directory) -> Subscriptions:
        """What everybody asks for, as of the last look, if `directory` says who is a member."""
        return self._outboxes.subscriptions(directory, self._defaults)

    def fresh(self) -> bool:
        """Whether every outbox was read to its end lately."""
        return time.monotonic() - self._read_at < AGE_MAX_S

    def close(self) -> None:
        """Stop following."""
        self.stop()
        if self.is_alive():
            self.join(_STOP_MAX_S)
        self._reader.close()
