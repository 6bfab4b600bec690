"""Reads the topic `directory` and keeps the newest document that the pinned root keys signed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, cast

import structlog

from tocsin.consumers.errors import DirectoryUnreadable
from tocsin.schemas.bus import BusRecord, Kind, Reader, ReadFailed
from tocsin.schemas.directory import Directory, Roots, VersionFloor, open_directory
from tocsin.schemas.errors import TocsinSchemaError
from tocsin.schemas.names import DIRECTORY_TOPIC

READ_S_MAX: Final = 10.0
_POLL_S: Final = 0.2

log = structlog.get_logger()


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class DirectoryReader:
    """`directory` is None until a document was found that verifies. A forged, expired or older one changes nothing.

    `refusal` says why the newest document of the topic was not taken; None when it was. `floor` remembers the highest
    version seen; `now_ms` is the time, milliseconds since 1970. Used by one thread.
    """

    def __init__(
        self, reader: Reader, coalition: str, roots: Roots, floor: VersionFloor, now_ms: Callable[[], int]
    ) -> None:
        self.directory: Directory | None = None
        self.read_at = float("-inf")
        self.refusal: str | None = None
        self._reader = reader
        self._coalition = coalition
        self._roots = roots
        self._floor = floor
        self._now_ms = now_ms

    def in_force(self) -> bool:
        """Whether there is a document, and it has not expired."""
        return self.directory is not None and self.directory.expires_at > self._now_ms()

    def read_to_end(self) -> None:
        """Take in everything that the topic holds now. `read_at` is then the time of the question, monotonic seconds.

        Raises:
            DirectoryUnreadable: the topic cannot be read; the message says what to do.
        """
        began = time.monotonic()
        refusal = self.refusal
        try:
            end = self._reader.end(READ_S_MAX / 2)
            while (self._reader.position or 0) < end:
                record = self._reader.poll(_POLL_S)
                if record is not None:
                    refusal = self._consider(record)
                if time.monotonic() - began > READ_S_MAX:
                    raise DirectoryUnreadable(f"{DIRECTORY_TOPIC}: not read to its end in {READ_S_MAX:.0f} s")
        except ReadFailed as failure:
            raise DirectoryUnreadable(f"{DIRECTORY_TOPIC}: {_remedy(failure)}") from failure
        if refusal is not None and refusal != self.refusal:
            log.warning("directory_refused", reason=refusal)
        self.read_at, self.refusal = began, refusal

    def _consider(self, record: BusRecord) -> str | None:
        """Take a document in, or say why not. Older versions before the current one are the topic's history."""
        if record.key != DIRECTORY_TOPIC.encode() or record.value is None:
            return None
        try:
            found = open_directory(
                record.value,
                cast("list[tuple[str, bytes]]", record.headers),
                self._roots,
                coalition=self._coalition,
                now_ms=self._now_ms(),
                version_min=self._floor.version,
            )
        except TocsinSchemaError as refusal:
            return str(refusal)
        self._floor.raise_to(found.version)
        self.directory = found
        log.info("directory_read", version=found.version, members=len(found.members))
        return None

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()


def _remedy(failure: ReadFailed) -> str:
    if failure.kind is Kind.UNREACHABLE:
        return f"no broker answers ({failure.detail})"
    if failure.kind is Kind.NO_TOPIC:
        return f"it is not there, or has no leader yet ({failure.detail}); if this stays, ask the secretariat"
    return f"this login may not READ it ({failure.detail}); ask the secretariat"
