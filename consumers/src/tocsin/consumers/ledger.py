"""The ledger of one lane: a fold over the records of `ledger.<jurisdiction>`, without I/O.

Who is *owed* is never stored: a recipient of an entry is owed its copy while the sequence number under which it was
decided is above the mark (`paid`), or, for a member whose inbox refuses, above that member's own mark (`behind`).
So a decision costs one entry, and paying any number of debts costs one mark a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from tocsin.consumers.lineage import ENDED
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode

MARK_KEY = b"mark"
POSITION_PREFIX = "position/"
INBOX_PREFIX = "inbox/"

ERASED = ""
"""The rule under which a member is not given a copy, but its copy is erased."""

_ENTRY = schema("ledger-entry")
_MARK = schema("ledger-mark")
_POSITION = schema("ledger-position")
_INBOX = schema("ledger-inbox")

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Given:
    """The members to whom one revision is given by one decision, each under its rule (parallel tuples).

    Under the rule `ERASED` it is not given, but what a member had before is erased.
    """

    seq: int
    revision: int
    members: tuple[str, ...]
    rules: tuple[str, ...]

    def without(self, members: frozenset[str]) -> Given:
        """The same decision less `members`."""
        kept = [pair for pair in zip(self.members, self.rules, strict=True) if pair[0] not in members]
        return replace(self, members=tuple(pair[0] for pair in kept), rules=tuple(pair[1] for pair in kept))


class Standing(NamedTuple):
    """What a member was last given, or owed, of a lineage, and by which decision; under the rule `ERASED`: no more."""

    revision: int
    rule: str
    seq: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One lineage (or one notice): its current bytes, where they were published, and who was given what.

    A lineage that has ended holds no bytes. It is kept until `forget_at`, so that nothing of it can be replayed and a
    late retraction still reaches everyone who was ever given it.
    """

    key: str
    kind: str
    inbox_key: str
    revision: int
    status: str
    topic: str
    partition: int
    offset: int
    sha256: bytes
    expires_at: int
    forget_at: int
    signer: str
    test: bool
    value: bytes
    headers: Headers
    given: tuple[Given, ...]

    def standing(self) -> dict[str, Standing]:
        """Everyone ever given, or owed, any revision -> the last of it."""
        return {
            member: Standing(given.revision, rule, given.seq)
            for given in self.given
            for member, rule in zip(given.members, given.rules, strict=True)
        }

    def holds_current(self, inboxes: Mapping[str, Inbox]) -> frozenset[str]:
        """The members given, or owed, the current revision, in the inbox that they have now."""
        return frozenset(
            member
            for member, last in self.standing().items()
            if last.rule != ERASED
            and last.revision == self.revision
            and last.seq > inboxes.get(member, _ANY_INBOX).since
        )

    @property
    def ended(self) -> bool:
        """Whether the lineage is retracted or expired: its content is gone from the exchange."""
        return self.status in ENDED

    def live(self, now_ms: int) -> bool:
        """Whether a newcomer may still be given it: an alert, not retracted, not expired."""
        return self.kind == "ALERT" and not self.ended and self.expires_at > now_ms

    def without(self, seq: int, members: frozenset[str]) -> Entry:
        """The same entry after `members` were withheld what decision `seq` gave them."""
        kept = (given.without(members) if given.seq == seq else given for given in self.given)
        return replace(self, given=tuple(given for given in kept if given.members))


@dataclass(frozen=True, slots=True)
class Position:
    """The next offset to decide of one incarnation (topic id) of one alert topic."""

    topic_id: str
    topic: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class Inbox:
    """The topic that is a member's inbox now. What was decided up to `since`, and paid, is not in it."""

    topic_id: str
    since: int = 0


_ANY_INBOX = Inbox("")


@dataclass(frozen=True, slots=True)
class Mark:
    """How far debts are paid: up to decision `paid` for all, up to `behind[member]` for those whose inbox refuses.

    `tested_at` is when the line was last tested, milliseconds since 1970.
    """

    paid: int = 0
    behind: Mapping[str, int] = field(default_factory=dict[str, int])
    tested_at: int = 0

    def owes(self, member: str, seq: int) -> bool:
        """Whether the copy that decision `seq` gave `member` is not written yet."""
        return seq > self.behind.get(member, self.paid)


class Ledger:
    """The state of one lane. `apply` is idempotent: reading the topic again from any earlier offset changes nothing."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.positions: dict[str, Position] = {}
        self.inboxes: dict[str, Inbox] = {}
        self.mark = Mark()
        self.seq = 0

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the topic in. Unknown keys are left for later versions."""
        if key == MARK_KEY:
            self.mark = decode_mark(cast("bytes", value))
            self.seq = max(self.seq, self.mark.paid)
            return
        name = key.decode()
        if name.startswith(POSITION_PREFIX):
            self._apply_position(value)
        elif name.startswith(INBOX_PREFIX):
            self._apply_inbox(name.removeprefix(INBOX_PREFIX), value)
        elif value is None:
            self.entries.pop(name, None)
        else:
            self.put(decode_entry(name, value))

    def _apply_position(self, value: bytes | None) -> None:
        if value is not None:
            position = decode_position(value)
            self.positions[position.topic] = position

    def _apply_inbox(self, member: str, value: bytes | None) -> None:
        if value is not None:
            self.inboxes[member] = decode_inbox(value)

    def put(self, entry: Entry) -> None:
        """Keep `entry` as the current one under its key."""
        self.entries[entry.key] = entry
        for given in entry.given:
            self.seq = max(self.seq, given.seq)

    def unpaid(self) -> Iterator[tuple[int, str, str]]:
        """Every debt as (seq, entry key, member), in no order."""
        for entry in self.entries.values():
            for given in entry.given:
                for member in given.members:
                    if self.mark.owes(member, given.seq):
                        yield given.seq, entry.key, member


def encode_entry(entry: Entry) -> bytes:
    """Ledger value of `entry`."""
    return encode(
        _ENTRY,
        {
            "kind": entry.kind,
            "inbox_key": entry.inbox_key,
            "revision": entry.revision,
            "status": entry.status,
            "topic": entry.topic,
            "partition": entry.partition,
            "offset": entry.offset,
            "sha256": entry.sha256,
            "expires_at": entry.expires_at,
            "forget_at": entry.forget_at,
            "signer": entry.signer,
            "test": entry.test,
            "value": entry.value,
            "headers": [{"key": name, "value": value} for name, value in entry.headers],
            "given": [
                {"seq": g.seq, "revision": g.revision, "members": g.members, "rules": g.rules} for g in entry.given
            ],
        },
    )


def decode_entry(key: str, value: bytes) -> Entry:
    """The entry that `encode_entry` wrote."""
    record: dict[str, Any] = dict(decode(value)[1])
    record["headers"] = tuple((header["key"], header["value"]) for header in record["headers"])
    record["given"] = tuple(
        Given(g["seq"], g["revision"], tuple(g["members"]), tuple(g["rules"])) for g in record["given"]
    )
    return Entry(key=key, **record)


def encode_mark(mark: Mark) -> bytes:
    """Ledger value of `mark`."""
    behind = [{"member": member, "paid": paid} for member, paid in sorted(mark.behind.items())]
    return encode(_MARK, {"paid": mark.paid, "behind": behind, "tested_at": mark.tested_at})


def decode_mark(value: bytes) -> Mark:
    """The mark that `encode_mark` wrote."""
    record = decode(value)[1]
    return Mark(record["paid"], {one["member"]: one["paid"] for one in record["behind"]}, record["tested_at"])


def encode_position(position: Position) -> bytes:
    """Ledger value of `position`."""
    return encode(
        _POSITION,
        {"topic_id": position.topic_id, "topic": position.topic, "next_offset": position.next_offset},
    )


def decode_position(value: bytes) -> Position:
    """The position that `encode_position` wrote."""
    record = decode(value)[1]
    return Position(record["topic_id"], record["topic"], record["next_offset"])


def position_key(position: Position) -> bytes:
    """Ledger key of `position`."""
    return f"{POSITION_PREFIX}{position.topic_id}/{position.topic}".encode()


def encode_inbox(inbox: Inbox) -> bytes:
    """Ledger value of `inbox`."""
    return encode(_INBOX, {"topic_id": inbox.topic_id, "since": inbox.since})


def decode_inbox(value: bytes) -> Inbox:
    """The inbox that `encode_inbox` wrote."""
    record = decode(value)[1]
    return Inbox(record["topic_id"], record["since"])


def inbox_key(member: str) -> bytes:
    """Ledger key of the inbox of `member`."""
    return f"{INBOX_PREFIX}{member}".encode()
