"""Reads the heads that the sealer hands out: all that came since they were last dealt with."""

from __future__ import annotations

import json
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tocsin.consumers.topics_reader import TopicsReader, topic_ids
from tocsin.consumers.watch import ADMIN
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.files import write_file
from tocsin.schemas.names import CHECKPOINTS_TOPIC


class HeadsReader:
    """Remembers in the file `place`, if any, how far it came; without it, and of a topic made anew, it reads all."""

    def __init__(self, bundle: Bundle, place: Path | None = None) -> None:
        config = bundle.kafka_config()
        self._place = place
        self._admin = AdminClient({**config, **ADMIN})
        self._reader = TopicsReader(config, group=f"{bundle.config.login}.none")
        self._topic_id: str | None = None

    def read(self) -> list[bytes]:
        """What has come since.

        Raises:
            TopicsUnreadable: it cannot be read now.
        """
        topic_id = topic_ids(self._admin, [CHECKPOINTS_TOPIC])[CHECKPOINTS_TOPIC]
        if topic_id != self._topic_id:
            self._reader.follow_from({CHECKPOINTS_TOPIC: self._next(topic_id)})
            self._topic_id = topic_id
        found: list[BusRecord] = []
        self._reader.read_to_end(found.append)
        return [record.value for record in found if record.value is not None]

    def keep(self) -> None:
        """Remember that what was read has been dealt with."""
        if self._place is None:
            return
        next_offset = self._reader.positions()[CHECKPOINTS_TOPIC]
        write_file(self._place, json.dumps({"topic_id": self._topic_id, "next_offset": next_offset}).encode())

    def _next(self, topic_id: str) -> int:
        oldest, end = (bound[CHECKPOINTS_TOPIC] for bound in self._reader.bounds([CHECKPOINTS_TOPIC]))
        if self._place is None:
            return oldest
        try:
            known = json.loads(self._place.read_bytes())
            offset = int(known["next_offset"]) if known["topic_id"] == topic_id else oldest
        except (OSError, ValueError, KeyError, TypeError):  # to read all again costs time only
            return oldest
        return offset if oldest <= offset <= end else oldest

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
