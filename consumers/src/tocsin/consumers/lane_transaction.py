"""What a transaction of a lane is decided on, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tocsin.consumers.disputes import Disputed
from tocsin.consumers.entry import Entry, Headers, Inbox
from tocsin.consumers.gains import Bound
from tocsin.consumers.holds import Holds
from tocsin.consumers.ledger import (
    MARK_KEY,
    Mark,
    Position,
    dispute_key,
    encode_entry,
    encode_inbox,
    encode_mark,
    encode_position,
    held_key,
    inbox_key,
    position_key,
    sight_key,
)
from tocsin.consumers.sight import Sight
from tocsin.consumers.subscriptions import Subscriptions
from tocsin.consumers.tally import Tally
from tocsin.schemas.directory import Directory

SOURCE_HEADER = "tocsin-source"
RULE_HEADER = "tocsin-rule"

Notary = Callable[[str, Mapping[str, Any]], tuple[bytes, Headers]]
"""Signs what the exchange itself has to say: the schema's subject, and the record but for its notice_id."""


class Source(NamedTuple):
    """Where a record was read, and when the broker took it in (milliseconds since 1970)."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    appended_at: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Copy(NamedTuple):
    """One record for one inbox; without a value it erases what the inbox has under its key."""

    member: str
    topic: str
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a transaction is decided on, each piece read once at its beginning.

    `inboxes` are the inboxes that take copies now, member -> topic id. `gains_max` says how many live alerts a member
    may be given at once because it has gained them. `notary` turns a notice into signed bytes. `secret` is random, and
    new for each transaction: of it come the salts of its decisions. `head` is the newest of the log that seals the
    lane's decisions, a signed note, if one is known.
    """

    sight: Sight
    directory: Directory
    subscriptions: Subscriptions
    disputes: tuple[Disputed, ...]
    holds: Holds
    inboxes: Mapping[str, str]
    gains_max: Bound
    now_ms: int
    worker: str
    notary: Notary
    secret: bytes
    head: str | None


@dataclass(slots=True)
class Transaction:
    """What to write, and what the lane becomes once that is committed.

    `lines` is empty, or has every member whose line is to be tested, and whether this does.
    """

    copies: list[Copy] = field(default_factory=list[Copy])
    decisions: list[bytes] = field(default_factory=list[bytes])
    entries: dict[str, Entry | None] = field(default_factory=dict[str, Entry | None])
    positions: dict[str, Position] = field(default_factory=dict[str, Position])
    due: dict[str, int] = field(default_factory=dict[str, int])
    settled: list[str] = field(default_factory=list[str])
    looked_at: int = 0
    found: list[tuple[str, frozenset[str]]] = field(default_factory=list[tuple[str, frozenset[str]]])
    settled_gains: list[tuple[str, frozenset[str]]] = field(default_factory=list[tuple[str, frozenset[str]]])
    postponed: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    cleared: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    inboxes: dict[str, Inbox] = field(default_factory=dict[str, Inbox])
    disputes: dict[str, str] = field(default_factory=dict[str, str])
    held: dict[str, Entry | None] = field(default_factory=dict[str, Entry | None])
    sights: dict[str, str] = field(default_factory=dict[str, str])
    lines: dict[str, bool] = field(default_factory=dict[str, bool])
    mark: Mark = field(default_factory=Mark)
    mark_before: Mark = field(default_factory=Mark)
    seq: int = 0
    owed: int = 0
    tally: Tally = field(default_factory=Tally)

    def ledger_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Key and value of each ledger record."""
        for key, entry in self.entries.items():
            yield key.encode(), None if entry is None else encode_entry(entry)
        for position in self.positions.values():
            yield position_key(position), encode_position(position)
        for member, inbox in self.inboxes.items():
            yield inbox_key(member), encode_inbox(inbox)
        for name, dispute_id in self.disputes.items():
            yield dispute_key(name), dispute_id.encode()
        for name, entry in self.held.items():
            yield held_key(name), None if entry is None else encode_entry(entry)
        for member, word in self.sights.items():
            yield sight_key(member), word.encode()
        if self.mark_after != self.mark_before:
            yield MARK_KEY, encode_mark(self.mark_after)

    @property
    def mark_after(self) -> Mark:
        """The mark once this is committed."""
        return replace(self.mark, seq=self.seq)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        changed = self.mark_after != self.mark_before
        return not (changed or self.decisions or self.entries or self.positions or self.inboxes or self.sights)
