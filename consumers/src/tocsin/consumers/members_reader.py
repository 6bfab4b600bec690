"""Reads directory and outboxes as they are now, with the fan-out's login: what reports and simulations stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from confluent_kafka import KafkaException

from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import DirectoryUnreadable, TopicsUnreadable
from tocsin.consumers.fanout import GROUP
from tocsin.consumers.outbox_watch import OutboxWatcher
from tocsin.consumers.subscriptions import Subscription
from tocsin.consumers.watch import TopicWatcher
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import Directory, VersionFloor


class MembersReader:
    """`bundle` is the fan-out's; `defaults` are for members that have set no subscription. A context manager."""

    def __init__(
        self,
        bundle: Bundle,
        defaults: Mapping[str, Subscription],
        *,
        acknowledgements: bool = False,
        receipts: bool = False,
    ) -> None:
        self._config = bundle.kafka_config()
        self._topics = TopicWatcher(self._config)
        floor = VersionFloor(bundle.path / "directory-version")
        self._directory = DirectoryWatcher(self._config, bundle.coalition, bundle.roots, floor)
        self._outboxes = OutboxWatcher(
            self._config,
            self._topics,
            self._directory,
            defaults,
            group=GROUP,
            acknowledgements=acknowledgements,
            receipts=receipts,
        )

    def look(self) -> None:
        """Read all of it as it is now; again, what has come since.

        Raises:
            TopicsUnreadable, DirectoryUnreadable: it cannot be told now.
        """
        try:
            self._topics.look()
        except KafkaException as failure:
            raise TopicsUnreadable(f"the topics cannot be listed: {failure.args[0]}") from failure
        self._directory.look()
        self._outboxes.look()

    @property
    def directory(self) -> Directory:
        """The members and their keys. Raises DirectoryUnreadable."""
        if self._directory.directory is None:
            raise DirectoryUnreadable("directory: no document that verifies")
        return self._directory.directory

    def close(self) -> None:
        """Let go of the connections."""
        self._outboxes.close()
        self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
