"""Follows the topic `directory`, for all lanes of a process."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Final

from tocsin.consumers.directory_reader import READ_S_MAX, DirectoryReader, wall_clock_ms
from tocsin.consumers.errors import DirectoryUnreadable
from tocsin.consumers.kafka import STANDING_MS, KafkaReader
from tocsin.consumers.watch import Watcher
from tocsin.schemas.bundle import Bundle, KafkaConfig
from tocsin.schemas.directory import Directory, Roots, VersionFloor
from tocsin.schemas.names import DIRECTORY_TOPIC
from tocsin.schemas.verify import Verifier

POLL_S: Final = 1.0
AGE_MAX_S: Final = 30.0


class DirectoryWatcher(Watcher):
    """`directory` is None until a document was found that verifies. A forged, expired or older one changes nothing."""

    def __init__(self, config: KafkaConfig, coalition: str, roots: Roots, floor: VersionFloor) -> None:
        super().__init__("directory", POLL_S)
        self.directory: Directory | None = None
        self._verifier: Verifier | None = None
        self._coalition = coalition
        reader = KafkaReader(config, DIRECTORY_TOPIC, None, fetch_wait_ms=STANDING_MS)
        self._reader = DirectoryReader(reader, coalition, roots, floor, wall_clock_ms)
        self._reading = threading.Lock()

    def look(self) -> None:
        """Read to the end."""
        self.read_to_end()

    def read_to_end(self) -> None:
        """Take in everything that the topic holds now.

        Raises:
            DirectoryUnreadable: the topic cannot be read.
        """
        with self._reading:
            self._reader.read_to_end()
            found = self._reader.directory
            if found is not None and found is not self.directory:
                self.directory, self._verifier = found, Verifier(self._coalition, found)

    def size(self) -> int:
        """Members in the directory."""
        return len(self.directory.members) if self.directory is not None else 0

    def verifier(self) -> Verifier | None:
        """Verifies by the newest directory; None until there is one."""
        return self._verifier

    def fresh(self) -> bool:
        """Whether the document is in force and was compared with the end of its topic lately."""
        return self._reader.in_force() and time.monotonic() - self._reader.read_at < AGE_MAX_S

    def in_force(self) -> Directory:
        """The document that is in force.

        Raises:
            DirectoryUnreadable: there is none, or it was not compared with the end of its topic lately.
        """
        if self.directory is None or not self.fresh():
            raise DirectoryUnreadable("no directory is in force that the pinned root keys signed; ask the secretariat")
        return self.directory

    def close(self) -> None:
        """Stop following."""
        self.stop()
        if self.is_alive():
            self.join(READ_S_MAX)
        self._reader.close()


def read_directory(bundle: Bundle) -> Directory:
    """The document that is in force, read once by the bundle's login and pins.

    Raises:
        DirectoryUnreadable: there is none, or it cannot be read now.
    """
    floor = VersionFloor(bundle.path / "directory-version")
    with closing(DirectoryWatcher(bundle.kafka_config(), bundle.coalition, bundle.roots, floor)) as watcher:
        watcher.read_to_end()
        return watcher.in_force()
