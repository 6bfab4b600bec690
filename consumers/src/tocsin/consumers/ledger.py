"""The ledger of one lane: a fold over the records of `ledger.<jurisdiction>`, without I/O.

Who is *owed* is never stored: a recipient of an entry is owed its copy while the sequence number under which it was
decided is above the mark (`paid`), or, for a member whose inbox refuses, above that member's own mark (`behind`).
So a decision costs one entry, and paying any number of debts costs one mark a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tocsin.consumers.contents import Contents, MemoryContents
from tocsin.consumers.entries import Entries
from tocsin.consumers.entry import Entry, Given, Inbox
from tocsin.consumers.entry_reader import EntryReader
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode
from tocsin.schemas.records import LedgerEntry

MARK_KEY = b"mark"
POSITION_PREFIX = "position/"
INBOX_PREFIX = "inbox/"
DISPUTE_PREFIX = "dispute/"
HELD_PREFIX = "held/"
SIGHT_PREFIX = "sight/"

_ENTRY = schema("ledger-entry")
_MARK = schema("ledger-mark")
_POSITION = schema("ledger-position")
_INBOX = schema("ledger-inbox")


@dataclass(frozen=True, slots=True)
class Position:
    """The next offset to decide of one incarnation (topic id) of one alert topic."""

    topic_id: str
    topic: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far debts are paid: up to decision `paid` for all, up to `behind[member]` for those whose inbox refuses.

    `tested_at` is when the line was last tested, milliseconds since 1970; `seq` is the number of the last decision.
    """

    paid: int = 0
    behind: Mapping[str, int] = field(default_factory=dict[str, int])
    tested_at: int = 0
    seq: int = 0

    def owes(self, member: str, seq: int) -> bool:
        """Whether the copy that decision `seq` gave `member` is not written yet."""
        return seq > self.behind.get(member, self.paid)


class Ledger:
    """The state of one lane. `apply` is idempotent: reading the topic again from any earlier offset changes nothing.

    `contents` keeps the bytes of the lineages, in memory by default. `held` are the revisions kept because of a
    legal hold, by `<name of the hold>/<publisher>/<lineage_id>/<revision>`, without their bytes. `sights` are what each
    member was last told of its own sight: `<topic id of its inbox>/<digest>`.
    """

    def __init__(self, contents: Contents | None = None) -> None:
        self.entries = Entries(contents or MemoryContents())
        self.positions: dict[str, Position] = {}
        self.inboxes: dict[str, Inbox] = {}
        self.disputes: dict[str, str] = {}
        self.held: dict[str, Entry] = {}
        self.sights: dict[str, str] = {}
        self.mark = Mark()
        self._reader = EntryReader()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the topic in. Unknown keys are left for later versions."""
        if key == MARK_KEY:
            self.mark = decode_mark(cast("bytes", value))
            return
        name = key.decode()
        if name.startswith(POSITION_PREFIX):
            self._apply_position(value)
        elif name.startswith(INBOX_PREFIX):
            self._apply_inbox(name.removeprefix(INBOX_PREFIX), value)
        elif name.startswith(DISPUTE_PREFIX):
            self._apply_dispute(name.removeprefix(DISPUTE_PREFIX), value)
        elif name.startswith(HELD_PREFIX):
            name = name.removeprefix(HELD_PREFIX)
            self.hold(name, None if value is None else decode_held(name, value))
        elif name.startswith(SIGHT_PREFIX):
            self._apply_sight(name.removeprefix(SIGHT_PREFIX), value)
        elif value is None:
            self.entries.pop(name, None)
        else:
            self._apply_entry(name, value)

    def _apply_position(self, value: bytes | None) -> None:
        if value is not None:
            position = decode_position(value)
            self.positions[position.topic] = position

    def _apply_dispute(self, name: str, value: bytes | None) -> None:
        if value is not None:
            self.disputes[name] = value.decode()

    def _apply_sight(self, member: str, value: bytes | None) -> None:
        if value is not None:
            self.sights[member] = value.decode()

    def hold(self, name: str, entry: Entry | None) -> None:
        """Know that the revision `entry` is kept under `name`, or, without it, that nothing is any more."""
        if entry is None:
            self.held.pop(name, None)
        else:
            self.held[name] = replace(entry, value=b"", headers=())

    def _apply_entry(self, name: str, value: bytes) -> None:
        record, given = self._reader.read(value)
        if record["kind"] == "ALERT":
            self.entries.put_packed(name, record, given)
        else:
            self.entries[name] = decode_entry(name, value)

    def _apply_inbox(self, member: str, value: bytes | None) -> None:
        if value is not None:
            self.inboxes[member] = decode_inbox(value)

    def unpaid(self) -> Iterator[tuple[int, str, str]]:
        """Every debt as (seq, entry key, member), in no order."""
        paid = min((self.mark.paid, *self.mark.behind.values()))
        late = [outline.key for outline in self.entries.outlines() if outline.seq > paid]
        for entry in filter(None, map(self.entries.head, late)):
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
            "appended_at": entry.appended_at,
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


def decode_held(name: str, value: bytes) -> Entry:
    """The revision that is kept under `<name of the hold>/<publisher>/<lineage_id>/<revision>`."""
    _, _, publisher, lineage_id, _ = name.split("/")
    return decode_entry(f"{publisher}/{lineage_id}", value)


def held_key(name: str) -> bytes:
    """Ledger key of a revision that is kept."""
    return f"{HELD_PREFIX}{name}".encode()


def decode_entry(key: str, value: bytes) -> Entry:
    """The entry that `encode_entry` wrote."""
    record = cast("LedgerEntry", decode(value)[1])
    fields: dict[str, Any] = dict(record)
    fields["headers"] = tuple((header["key"], header["value"]) for header in record["headers"])
    fields["given"] = tuple(
        Given(g["seq"], g["revision"], tuple(g["members"]), tuple(g["rules"])) for g in record["given"]
    )
    return Entry(key=key, **fields)


def encode_mark(mark: Mark) -> bytes:
    """Ledger value of `mark`."""
    behind = [{"member": member, "paid": paid} for member, paid in sorted(mark.behind.items())]
    return encode(_MARK, {"paid": mark.paid, "behind": behind, "tested_at": mark.tested_at, "seq": mark.seq})


def decode_mark(value: bytes) -> Mark:
    """The mark that `encode_mark` wrote."""
    record = decode(value)[1]
    behind = {one["member"]: one["paid"] for one in record["behind"]}
    return Mark(record["paid"], behind, record["tested_at"], record["seq"])


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


def dispute_key(name: str) -> bytes:
    """Ledger key of the last dispute that was passed on; its id is the value. `name`: member/publisher/lineage_id."""
    return f"{DISPUTE_PREFIX}{name}".encode()


def sight_key(member: str) -> bytes:
    """Ledger key of what `member` was last told of its own sight."""
    return f"{SIGHT_PREFIX}{member}".encode()
