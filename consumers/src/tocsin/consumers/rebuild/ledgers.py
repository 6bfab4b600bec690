"""A rebuilt ledger, and in what a kept one differs from it. Pure.

What the record and the copies do not determine is not compared; docs/ledger.md lists it, and what a rebuilt ledger has
in its place.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from tocsin.consumers.entry import ERASED, Entry, Given, Inbox, Standing
from tocsin.consumers.lane import REMEMBERED_MS
from tocsin.consumers.ledger import (
    HELD_PREFIX,
    MARK_KEY,
    Ledger,
    Mark,
    decode_held,
    encode_entry,
    encode_mark,
    encode_position,
    held_key,
    position_key,
)
from tocsin.consumers.lineage import ENDED, EXPIRED, RETRACTED
from tocsin.consumers.rebuild.copies import Copies
from tocsin.consumers.rebuild.fold import Fold, Lineage, revision_of
from tocsin.schemas.errors import TocsinSchemaError

RECORD: Final = "record"
_PLACED: Final = ("revision", "status", "topic", "partition", "offset", "sha256", "signer")


class Difference(NamedTuple):
    """In what the `kept` ledger is other than the `rebuilt` one, in words without content.

    `lineage` is the ledger key that it is about, or `record`, where the record itself has a fault.
    """

    lineage: str
    field: str
    kept: str
    rebuilt: str


class Kept:
    """The ledger that is kept. `apply` takes records of its topic in.

    `digests` are of the bytes that are kept under legal holds, which `Ledger` does not keep; `unreadable` are the keys
    whose last record is no record of a ledger.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self.digests: dict[str, bytes] = {}
        self.unreadable: set[str] = set()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the topic in."""
        name = key.decode(errors="replace")
        try:
            # tried on another one first: this one would be left between two states
            Ledger().apply(key, value)
        except (TocsinSchemaError, struct.error, EOFError, LookupError, TypeError, ValueError):
            self.unreadable.add(name)
            return
        self.unreadable.discard(name)
        self.ledger.apply(key, value)
        if name.startswith(HELD_PREFIX) and value is not None:
            name = name.removeprefix(HELD_PREFIX)
            self.digests[name] = hashlib.sha256(decode_held(name, value).value).digest()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is compared. `inboxes` are the topic ids of the inboxes that there are, by member."""

    kept: Kept
    fold: Fold
    copies: Copies
    inboxes: Mapping[str, str]
    now_ms: int

    def differences(self) -> Iterator[Difference]:
        """Every difference, in the order of the keys."""
        yield from self._of_the_record()
        for key in sorted(self.kept.unreadable):
            yield Difference(key, "record", "cannot be read", "a record of a ledger")
        yield from self._of_positions()
        ledger, known = self.kept.ledger, self.fold.lineages
        for key in sorted({*ledger.entries, *known} - self.kept.unreadable):
            entry = ledger.entries.get(key)
            if entry is not None and entry.kind == "NOTICE":
                yield from self._of_notice(entry)
            elif entry is None:
                yield from self._missing(known[key])
            elif key not in known:
                yield Difference(key, "lineage", "there", "nothing of it was accepted")
            else:
                yield from self._of_lineage(entry, known[key])
        yield from self._of_held()

    def only_here(self) -> int:
        """Of how many live lineages, and revisions kept under a hold, no inbox and no alert topic has the bytes."""
        known, copies = self.fold.lineages, self.copies
        heads = map(self.kept.ledger.entries.head, known)
        live = [known[head.key].current for head in heads if head is not None and not head.ended]
        held = [revision_of(entry) for entry in self.fold.held.values()]
        return sum(revision not in copies for revision in (*live, *held))

    # -- the record and the positions --------------------------------------------------------------------------------

    def _of_the_record(self) -> Iterator[Difference]:
        mark = self.kept.ledger.mark
        for gap in self.fold.gaps:
            yield Difference(RECORD, "seq", "one decision after the other", gap)
        if self.fold.seq != mark.seq:
            yield Difference("mark", "seq", str(mark.seq), str(self.fold.seq))
        for name, paid in (("paid", mark.paid), *((f"behind {one}", at) for one, at in mark.behind.items())):
            if paid > mark.seq:
                yield Difference("mark", name, str(paid), f"at most {mark.seq}")

    def _of_positions(self) -> Iterator[Difference]:
        kept, known = self.kept.ledger.positions, self.fold.positions
        for topic in sorted({*kept, *known}):
            if kept.get(topic) != known.get(topic):
                texts = (
                    f"{one.topic_id}/{one.next_offset}" if one else "none"
                    for one in (kept.get(topic), known.get(topic))
                )
                yield Difference(f"position/{topic}", "next offset", *texts)

    # -- a lineage ---------------------------------------------------------------------------------------------------

    def _missing(self, known: Lineage) -> Iterator[Difference]:
        """Unless it may have been forgotten, which is not on record."""
        stated = [self.copies.stated(one) for one in known.revisions]
        found = [one.expires_at + REMEMBERED_MS for one in stated if one is not None]
        forget_at = max(found) if len(found) == len(stated) else known.may_be_forgotten_at
        if forget_at > self.now_ms:
            yield Difference(known.entry.key, "lineage", "missing", f"revision {known.entry.revision}")

    def _of_lineage(self, kept: Entry, known: Lineage) -> Iterator[Difference]:
        for name in _PLACED:
            ours, theirs = getattr(kept, name), getattr(known.entry, name)
            if ours != theirs:
                yield Difference(kept.key, name, _text(ours), _text(theirs))
        yield from self._of_statement(kept, known)
        yield from self._of_content(kept, known)
        yield from _of_standing(kept, known.entry)
        if kept.key not in self.fold.moved:
            yield from self._of_inboxes(kept, known.entry)

    def _of_statement(self, kept: Entry, known: Lineage) -> Iterator[Difference]:
        """What the bytes state; the kept ones count as well where they are those of the decision."""
        stated = self.copies.stated(known.current)
        if stated is None and hashlib.sha256(kept.value).digest() == known.entry.sha256:
            stated = self.copies.read(kept.value)
        if stated is None:
            return
        for name, theirs in (("expires_at", stated.expires_at), ("test", stated.test)):
            if getattr(kept, name) != theirs:
                yield Difference(kept.key, name, _text(getattr(kept, name)), _text(theirs))
        earlier = [self.copies.stated(one) for one in known.revisions[:-1]]
        found = [one.expires_at for one in (*earlier, stated) if one is not None]
        least, exact = max(found) + REMEMBERED_MS, None not in earlier
        if kept.forget_at < least or (exact and kept.forget_at != least):
            yield Difference(kept.key, "forget_at", str(kept.forget_at), f"{'' if exact else 'at least '}{least}")

    def _of_content(self, kept: Entry, known: Lineage) -> Iterator[Difference]:
        if kept.ended:
            if kept.value or kept.headers:
                yield Difference(kept.key, "content", "there", "none: it has ended")
            return
        digest = hashlib.sha256(kept.value).digest()
        if digest != known.entry.sha256:
            yield Difference(kept.key, "content", digest.hex(), known.entry.sha256.hex())
        content = self.copies.content(known.current)
        if content is not None and content[1] != kept.headers:
            yield Difference(kept.key, "headers", "another signature", "the published one")

    def _of_inboxes(self, kept: Entry, known: Entry) -> Iterator[Difference]:
        """What the mark says is written, against what lies in the inboxes that take copies now."""
        ledger = self.kept.ledger
        for member, last in known.standing().items():
            inbox = ledger.inboxes.get(member, Inbox(""))
            paid_here = last.seq > inbox.since and not ledger.mark.owes(member, last.seq)
            if not paid_here or self.inboxes.get(member) != inbox.topic_id:
                continue
            lies = self.copies.lies(member, kept.key)
            if last.rule == ERASED and lies is not None:
                yield Difference(kept.key, f"inbox of {member}", "erased", "a copy is there")
            elif last.rule != ERASED and lies != known.sha256:
                yield Difference(kept.key, f"inbox of {member}", "written", "this copy is not there")

    # -- notices and holds -------------------------------------------------------------------------------------------

    def _of_notice(self, kept: Entry) -> Iterator[Difference]:
        """A notice that is owed has a decision. Which of them are owed is not on record."""
        given = kept.given[0] if kept.given else Given(0, 0, (), ())
        if kept.inbox_key.startswith("disputed/"):
            lineage = self.fold.disputed.get(given.seq)
            if lineage is None or not kept.inbox_key.startswith(f"disputed/{lineage}/"):
                yield Difference(
                    kept.key, "notice", f"by decision {given.seq}", "no dispute of it was passed on by that"
                )
        elif self.fold.notices.get(kept.key) != (given.seq, kept.sha256):
            yield Difference(kept.key, "notice", f"by decision {given.seq}", "nothing was rejected by that")

    def _of_held(self) -> Iterator[Difference]:
        kept, known = self.kept.ledger.held, self.fold.held
        for name in sorted({*kept, *known}):
            ours, theirs = kept.get(name), known.get(name)
            if ours is None or theirs is None:
                yield Difference(f"{HELD_PREFIX}{name}", "kept", _there(ours), _there(theirs))
                continue
            for field in _PLACED:
                if getattr(ours, field) != getattr(theirs, field):
                    yield Difference(
                        f"{HELD_PREFIX}{name}", field, _text(getattr(ours, field)), _text(getattr(theirs, field))
                    )
            digest = self.kept.digests.get(name, b"")
            if digest != theirs.sha256:
                yield Difference(f"{HELD_PREFIX}{name}", "content", digest.hex(), theirs.sha256.hex())


def _of_standing(kept: Entry, known: Entry) -> Iterator[Difference]:
    ours, theirs = kept.standing(), known.standing()
    for member in sorted({*ours, *theirs}):
        if ours.get(member) != theirs.get(member):
            yield Difference(kept.key, f"given {member}", _said(ours.get(member)), _said(theirs.get(member)))


def _said(standing: Standing | None) -> str:
    if standing is None:
        return "never given"
    how = "erased" if standing.rule == ERASED else f"under {standing.rule}"
    return f"revision {standing.revision} by decision {standing.seq}, {how}"


def _there(entry: Entry | None) -> str:
    return "nothing" if entry is None else "there"


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


# -- the rebuilt ledger ----------------------------------------------------------------------------------------------


def rebuilt_entry(known: Lineage, copies: Copies) -> Entry:
    """The entry of a rebuilt ledger. Of what is gone everywhere it lets nothing be replayed or given anew.

    A lineage whose bytes are gone has ended in it: as EXPIRED, so that its publisher may go on, unless it is RETRACTED.
    """
    stated, content = [copies.stated(one) for one in known.revisions], copies.content(known.current)
    current, found = stated[-1], [one.expires_at + REMEMBERED_MS for one in stated if one is not None]
    status = EXPIRED if current is None and known.entry.status != RETRACTED else known.entry.status
    value, headers = content if content is not None and status not in ENDED else (b"", ())
    return replace(
        known.entry,
        status=status,
        expires_at=current.expires_at if current else known.decided_at,
        test=current.test if current else False,
        forget_at=max(found) if len(found) == len(stated) else known.forgotten_by,
        value=value,
        headers=headers,
    )


def rebuilt_mark(fold: Fold, copies: Copies) -> Mark:
    """Everything is paid, but to those whose inbox lacks something: they are behind from before the first of that."""
    lacking: dict[str, int] = {}
    for key, known in fold.lineages.items():
        for member, last in known.entry.standing().items():
            lies = copies.lies(member, key)
            wanted = None if last.rule == ERASED else known.entry.sha256
            if lies != wanted:
                lacking[member] = min(lacking.get(member, last.seq), last.seq)
    return Mark(fold.seq, {member: seq - 1 for member, seq in lacking.items()}, 0, fold.seq)


def rebuilt_records(fold: Fold, copies: Copies) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record of a rebuilt ledger; the mark, without which nothing is paid, comes last."""
    for known in fold.lineages.values():
        yield known.entry.key.encode(), encode_entry(rebuilt_entry(known, copies))
    for name, held in fold.held.items():
        yield held_key(name), encode_entry(_rebuilt_held(held, copies))
    for position in fold.positions.values():
        yield position_key(position), encode_position(position)
    yield MARK_KEY, encode_mark(rebuilt_mark(fold, copies))


def _rebuilt_held(held: Entry, copies: Copies) -> Entry:
    """A revision that is kept under a hold; without content where that is nowhere else."""
    revision = revision_of(held)
    stated, content = copies.stated(revision), copies.content(revision)
    if stated is None or content is None:
        return replace(held, status=EXPIRED)
    return replace(
        held,
        status=stated.status,
        expires_at=stated.expires_at,
        forget_at=stated.expires_at + REMEMBERED_MS,
        test=stated.test,
        value=content[0],
        headers=content[1],
    )
