"""Follows the topic `directory` and keeps the newest document that the pinned root keys signed."""

from __future__ import annotations

import threading
import time
from typing import Final, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tocsin.consumers.errors import DirectoryUnreadable
from tocsin.consumers.watch import Watcher
from tocsin.schemas.bundle import KafkaConfig
from tocsin.schemas.directory import Directory, Roots, VersionFloor, open_directory
from tocsin.schemas.errors import TocsinSchemaError
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.verify import Verifier

POLL_S: Final = 1.0
AGE_MAX_S: Final = 30.0
READ_MAX_S: Final = 10.0

log = structlog.get_logger()


class DirectoryWatcher(Watcher):
    """`directory` is None until a document was found that verifies. A forged, expired or older one changes nothing."""

    def __init__(self, config: KafkaConfig, coalition: str, roots: Roots, floor: VersionFloor, *, group: str) -> None:
        super().__init__("directory", POLL_S)
        self.directory: Directory | None = None
        self._coalition = coalition
        self._roots = roots
        self._floor = floor
        self._verifier: Verifier | None = None
        self._read_at = float("-inf")
        self._next = 0
        self._reading = threading.Lock()
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,  # required by the client; nothing is committed
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        self._consumer.assign([TopicPartition(DIRECTORY_TOPIC, 0, 0)])

    def look(self) -> None:
        """Read to the end."""
        self.read_to_end()

    def read_to_end(self) -> None:
        """Take in everything that the topic holds now.

        Raises:
            DirectoryUnreadable: the topic cannot be read.
        """
        with self._reading:
            began = time.monotonic()
            end = self._end()
            while self._next < end:
                self._take(end)
                if time.monotonic() - began > READ_MAX_S:
                    raise DirectoryUnreadable(f"{DIRECTORY_TOPIC}: not read to its end in {READ_MAX_S:.0f} s")
            self._read_at = began

    def _end(self) -> int:
        try:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(DIRECTORY_TOPIC, 0), timeout=5)
        except KafkaException as failure:
            raise DirectoryUnreadable(f"{DIRECTORY_TOPIC}: {failure.args[0]}") from failure
        return int(end)

    def _take(self, end: int) -> None:
        for message in self._consumer.consume(100, 0.2):
            error = message.error()
            if error is None:
                self._next = cast("int", message.offset()) + 1
                self._consider(message.key(), message.value(), message.headers())
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name
                self._next = max(self._next, cast("int", message.offset()), end)
            else:
                raise DirectoryUnreadable(f"{DIRECTORY_TOPIC}: {error.str()}")

    def _consider(self, key: object, value: bytes | None, headers: object) -> None:
        if key != DIRECTORY_TOPIC.encode() or value is None:
            return
        now_ms = time.time_ns() // 1_000_000
        try:
            found = open_directory(
                value,
                cast("list[tuple[str, bytes]]", headers or []),
                self._roots,
                coalition=self._coalition,
                now_ms=now_ms,
                version_min=self._floor.version,
            )
        except TocsinSchemaError as refusal:
            log.warning("directory_refused", reason=str(refusal))
            return
        self._floor.raise_to(found.version)
        self.directory, self._verifier = found, Verifier(self._coalition, found)
        log.info("directory_read", version=found.version, members=len(found.members))

    def verifier(self) -> Verifier | None:
        """Verifies by the newest directory; None until there is one."""
        return self._verifier

    def fresh(self) -> bool:
        """Whether the document is in force and was compared with the end of its topic lately."""
        now_ms = time.time_ns() // 1_000_000
        in_force = self.directory is not None and self.directory.expires_at > now_ms
        return in_force and time.monotonic() - self._read_at < AGE_MAX_S

    def close(self) -> None:
        """Stop following."""
        self.stop()
        if self.is_alive():
            self.join(READ_MAX_S)
        self._consumer.close()
