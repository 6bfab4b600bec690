"""What all lanes of a fan-out process watch, and whether it is fresh enough to deliver by."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.health import Checks
from tocsin.consumers.outbox_watch import OutboxWatcher
from tocsin.consumers.watch import Look, SightWatcher, TopicWatcher

# The 5 s bound on revocation: a snapshot may be this old when copies are produced, and these have 3 s to be appended.
SIGHT_AGE_MAX_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class Watch:
    """The watchers of a process."""

    sight: SightWatcher
    topics: TopicWatcher
    directory: DirectoryWatcher
    outboxes: OutboxWatcher

    def start(self, observe: Callable[[Look], None]) -> None:
        """Start all; `observe` is told of every look."""
        for watcher in (self.sight, self.topics, self.directory, self.outboxes):
            watcher.observe = observe
            watcher.start()

    def stop(self) -> None:
        """Stop all, and wait for those that hold a connection."""
        self.sight.stop()
        self.topics.stop()
        self.outboxes.close()
        self.directory.close()

    def checks(self) -> Checks:
        """What is missing or too old to deliver by: while anything is, deliveries stop (fail closed)."""
        return {"sight": self._sight(), "directory": self._directory(), "subscriptions": self._subscriptions()}

    def _sight(self) -> str | None:
        sight = self.sight.sight
        if sight is None or sight.age(time.monotonic()) > SIGHT_AGE_MAX_S:
            return "the ACLs cannot be read or put on record, or are older than their age limit"
        return None

    def _directory(self) -> str | None:
        if self.directory.directory is None or not self.directory.fresh():
            return "the directory is missing, expired or older than its age limit"
        return None

    def _subscriptions(self) -> str | None:
        if self.outboxes.subscriptions is None or not self.outboxes.fresh():
            return "the outboxes cannot be read, or were read longer ago than their age limit"
        return None
