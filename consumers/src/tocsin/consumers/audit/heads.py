"""The heads of all logs, each signed by the sealer; of which tree they are is not said here. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from tocsin.consumers.audit.export_lines import Line, Unreadable
from tocsin.consumers.audit.findings import Finding, FirstFault, Place
from tocsin.consumers.audit.logs import SEALER, origin_of
from tocsin.consumers.audit.note import Checkpoint, Note, Verifier
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.directory import Directory, DirectoryKey
from tocsin.schemas.names import CHECKPOINTS_TOPIC

CLOCKS_APART_MS: Final = 10_000
"""A topic's records are stamped by its leader. When another broker becomes that, its clock may be behind by so much."""
HEADS: Final = "heads"


class Head(NamedTuple):
    """A head that the sealer signed, and where that stands."""

    checkpoint: Checkpoint
    place: Place


class Heads:
    """The heads of the logs of some sealed topics of a coalition, by the sealer's keys in its directory."""

    def __init__(self, directory: Directory, topics: Iterable[str]) -> None:
        self._directory = directory
        self._topics = {origin_of(directory.coalition, topic): topic for topic in topics}
        self._found: dict[str, list[Head]] = {topic: [] for topic in self._topics.values()}
        self._sizes: dict[str, int] = {}
        self._last: BusRecord | None = None
        self._fault = FirstFault(HEADS, CHECKPOINTS_TOPIC)

    def of(self, topic: str) -> list[Head]:
        """The heads of a topic's log."""
        return self._found.get(topic, [])

    def take(self, line: Line, place: Place) -> None:
        """Take in one record of `audit.checkpoints`; they come in order."""
        if isinstance(line, Unreadable):
            self._fault.note(line.why, place)
            return
        place = place._replace(offset=line.offset)
        self._compare(line, place)
        try:
            head = self.opened(line.value or b"", place, line.offset)
        except NoteInvalid as error:
            self._fault.note(str(error), place)
            return
        origin, size = head.checkpoint.origin, head.checkpoint.size
        if (line.key or b"") != origin.encode():
            self._fault.note(f"under another key than its origin, {origin}", place)
        if size < self._sizes.get(origin, 0):
            self._fault.note(f"{origin}: {size} entries, after a head of {self._sizes[origin]}", place)
        self._sizes[origin] = max(size, self._sizes.get(origin, 0))
        self.keep(head)

    def _compare(self, record: BusRecord, place: Place) -> None:
        last, self._last = self._last, record
        if last is None:
            return
        # no transactions here, so every offset is a record
        if record.offset != last.offset + 1:
            self._fault.note(f"after offset {last.offset}, where {last.offset + 1} must follow", place)
        if record.appended_ms < last.appended_ms - CLOCKS_APART_MS:
            self._fault.note(f"stamped {last.appended_ms - record.appended_ms} ms before the one before it", place)

    def opened(self, signed: bytes, place: Place, offset: int | None = None) -> Head:
        """The head in a signed note, which counts at `offset` of `audit.checkpoints`, or is from elsewhere.

        Raises:
            NoteInvalid: it is of none of these logs, or the sealer has not signed it.
        """
        note = Note.parse(signed)
        found = Head(Checkpoint.parse(note.text), place)
        if found.checkpoint.origin not in self._topics:
            raise NoteInvalid(f"{found.checkpoint.origin}: the head of a log that is not here")
        note.verified(self._keys(found, offset))
        return found

    def _keys(self, head: Head, offset: int | None) -> list[Verifier]:
        """The sealer's keys; a revoked one counts up to its last trusted offset, and elsewhere for what is there."""
        known = offset is None and any(head.checkpoint == one.checkpoint for one in self.of(self.topic_of(head)))
        keys = [
            Verifier(head.checkpoint.origin, key.public)
            for key in self._directory.keys.values()
            if key.member == SEALER and (not key.revoked or known or _is_trusted(key, offset))
        ]
        if not keys:
            raise NoteInvalid("the directory has no key of the sealer that counts here")
        return keys

    def topic_of(self, head: Head) -> str:
        """The topic that a head's log seals."""
        return self._topics[head.checkpoint.origin]

    def keep(self, head: Head) -> None:
        """Count a head among those of its log."""
        self._found[self.topic_of(head)].append(head)

    def finding(self) -> Finding:
        """Whether each was signed, and none taken out, put in or put back."""
        count = sum(map(len, self._found.values()))
        return self._fault.finding(f"{count} heads of {len(self._found)} logs, each signed by the sealer")


def _is_trusted(key: DirectoryKey, offset: int | None) -> bool:
    return offset is not None and offset <= key.trusted.get(CHECKPOINTS_TOPIC, -1)
