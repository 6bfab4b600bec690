"""Who was told of which withdrawal, and who has acknowledged it: a fold over ledgers. Without I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.consumers.entry import ERASED, Entry
from tocsin.consumers.ledger import HELD_PREFIX, Ledger, decode_held
from tocsin.consumers.lineage import RETRACTED
from tocsin.consumers.outbox_records import Acknowledged
from tocsin.schemas.bus import BusRecord

NOTICE_EARLY_MS: Final = 10_000
"""How much earlier than the ledger's record the time in a notice's id may be: clocks differ."""

Acknowledgements = Callable[[str], Mapping[str, Acknowledged]]
"""publisher/lineage_id -> member -> its acknowledgement."""


class Told(StrEnum):
    """How far a withdrawal has come with one member."""

    ACKNOWLEDGED = "ACKNOWLEDGED"
    WAITING = "WAITING"  # the notice lies in its inbox
    NOT_TOLD = "NOT_TOLD"  # its inbox has not taken the notice yet
    LEFT = "LEFT"  # not in the directory any more: nobody is left to acknowledge


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """One member and one retracted lineage (publisher/lineage_id). Times in milliseconds since 1970."""

    lane: str
    lineage: str
    member: str
    state: Told
    withdrawn_ms: int
    acknowledged_ms: int | None = None

    def overdue(self, now_ms: int, after_ms: int) -> bool:
        """Whether it is not acknowledged, and was withdrawn longer than `after_ms` ago."""
        return self.state in {Told.WAITING, Told.NOT_TOLD} and now_ms - self.withdrawn_ms > after_ms


class Retractions:
    """The retracted lineages of one lane. `apply` takes the records of its ledger in; nothing else is kept of them."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self._ledger = Ledger()
        self._withdrawn_ms: dict[str, int] = {}

    def apply(self, record: BusRecord) -> None:
        """Take one record of the ledger in."""
        key = record.key or b""
        self._ledger.apply(key, record.value)
        name = key.decode()
        entry = self._ledger.entries.head(name)
        if entry is not None and entry.kind == "ALERT" and entry.status == RETRACTED:
            self._withdrawn_ms[name] = record.appended_ms
            return
        self._withdrawn_ms.pop(name, None)
        if entry is not None:
            del self._ledger.entries[name]

    def report(self, members: Collection[str], acknowledged: Acknowledgements) -> Iterator[Withdrawal]:
        """Everyone who is told of each, the longest ago first; `members` are those in the directory."""
        for lineage, withdrawn_ms in sorted(self._withdrawn_ms.items(), key=lambda one: (one[1], one[0])):
            said = acknowledged(lineage)
            for member, last in sorted(self._ledger.entries[lineage].standing().items()):
                if last.rule != ERASED:
                    continue
                word = said.get(member)
                if word is not None and _answers(word.notice_id, withdrawn_ms):
                    state, at_ms = Told.ACKNOWLEDGED, word.at_ms
                elif member not in members:
                    state, at_ms = Told.LEFT, None
                else:
                    owed = self._ledger.mark.owes(member, last.seq)
                    state, at_ms = (Told.NOT_TOLD if owed else Told.WAITING), None
                yield Withdrawal(self.lane, lineage, member, state, withdrawn_ms, at_ms)


def _answers(notice_id: uuid.UUID, withdrawn_ms: int) -> bool:
    """Whether the notice was of this withdrawal: that of an earlier correction has an id that is older."""
    return notice_id.version == 7 and notice_id.int >> 80 >= withdrawn_ms - NOTICE_EARLY_MS  # noqa: PLR2004  # UUIDv7


class Stock:
    """What still stands of one publisher in one lane since a position: what can be retracted all at once.

    `since` is the first offset that counts, by alert topic; of a topic that it does not name everything counts. `apply`
    takes the records of the lane's ledger in.
    """

    def __init__(self, publisher: str, since: Mapping[str, int]) -> None:
        self._prefix = f"{publisher}/"
        self._since = since
        self._ledger = Ledger()

    def apply(self, record: BusRecord) -> None:
        """Take one record of the ledger in."""
        if (record.key or b"").startswith(self._prefix.encode()):
            self._ledger.apply(record.key or b"", record.value)

    def lineages(self) -> Iterator[Entry]:
        """The lineages whose newest revision was published at or after the position, expired ones too; no content."""
        for key in self._ledger.entries:
            head = self._ledger.entries.head(key)
            if head is not None and head.status != RETRACTED and head.offset >= self._since.get(head.topic, 0):
                yield head


class Held:
    """The revisions that lanes keep because of legal holds, with their bytes. `apply` takes records of ledgers in.

    `revisions` is by `<name of the hold>/<publisher>/<lineage_id>/<revision>`.
    """

    def __init__(self) -> None:
        self.revisions: dict[str, Entry] = {}

    def apply(self, record: BusRecord) -> None:
        """Take one record of a ledger in."""
        key = (record.key or b"").decode()
        if not key.startswith(HELD_PREFIX):
            return
        name = key.removeprefix(HELD_PREFIX)
        if record.value is None:
            self.revisions.pop(name, None)
        else:
            self.revisions[name] = decode_held(name, record.value)
