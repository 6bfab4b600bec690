"""Follows the heads that the sealer hands out, so that tests of the line can carry them."""

from __future__ import annotations

from typing import Final

import structlog

from tocsin.consumers.audit.logs import is_sealed, log_keys, origin_of
from tocsin.consumers.audit.shown import opened
from tocsin.consumers.directory_watch import DirectoryWatcher
from tocsin.consumers.errors import NoteInvalid, TopicsUnreadable
from tocsin.consumers.kafka import STANDING_MS
from tocsin.consumers.topics_reader import TopicsReader
from tocsin.consumers.watch import Watcher
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Directory
from tocsin.schemas.names import CHECKPOINTS_TOPIC, audit_topic

POLL_S: Final = 2.0
LOOKED_BACK: Final = 100_000
"""How many of the newest heads are read at first: the topic keeps those of ten years."""
_STOP_MAX_S: Final = 10.0

log = structlog.get_logger()


class HeadsWatcher(Watcher):
    """Knows the newest head of each lane's log, as far as the sealer's key in the directory has signed it.

    Nothing waits for it: a lane whose head is not known tests its line without one.
    """

    def __init__(self, config: KafkaConfig, directory: DirectoryWatcher, *, group: str) -> None:
        super().__init__("heads", POLL_S)
        self._directory = directory
        self._reader = TopicsReader(config, group=group, fetch_wait_ms=STANDING_MS)
        self._heads: dict[str, str] = {}

    def of(self, lane: str) -> str | None:
        """The newest head of a lane's log, a signed note; None while none is known."""
        return self._heads.get(audit_topic(lane))

    def look(self) -> None:
        """Take in the heads that have come since.

        Raises:
            TopicsUnreadable: they cannot be read, or nothing is known yet by which to verify.
        """
        directory = self._directory.directory
        if directory is None:
            raise TopicsUnreadable("the directory has not been read yet")
        self._follow()
        newest: dict[bytes, BusRecord] = {}
        self._reader.read_to_end(lambda record: newest.update({record.key or b"": record}))
        for record in newest.values():
            self._take(record, directory)

    def _follow(self) -> None:
        """Begin near the end; again, when the topic was made anew or the place is gone."""
        oldest, end = (bound[CHECKPOINTS_TOPIC] for bound in self._reader.bounds([CHECKPOINTS_TOPIC]))
        place = self._reader.positions().get(CHECKPOINTS_TOPIC)
        if place is None or not oldest <= place <= end:
            self._reader.follow_from({CHECKPOINTS_TOPIC: max(oldest, end - LOOKED_BACK)})

    def _take(self, record: BusRecord, directory: Directory) -> None:
        topic = (record.key or b"").decode("utf-8", "replace").removeprefix(origin_of(directory.coalition, ""))
        if not is_sealed(topic):
            return
        try:
            shown = opened(record.value or b"", log_keys(directory, topic))
        except NoteInvalid as refusal:
            log.warning("head_refused", topic=topic, offset=record.offset, reason=str(refusal))
        else:
            self._heads[topic] = shown.note.decode()

    def size(self) -> int:
        """Logs whose newest head is known."""
        return len(self._heads)

    def close(self) -> None:
        """Stop following."""
        self.stop()
        if self.is_alive():
            self.join(_STOP_MAX_S)
        self._reader.close()
