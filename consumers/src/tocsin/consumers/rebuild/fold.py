"""What a lane's decisions say of its ledger: a fold over the record, in the order of its numbers. Pure.

The record has no content: how a revision reads, and what it states of itself, is found elsewhere (`copies`). It names
no debt that was dropped unpaid but one, a copy (WITHHELD); that an erasure was dropped, too, is seen from who is erased
next: nobody loses twice what it holds once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from tocsin.consumers.entry import ERASED, Entry, Given
from tocsin.consumers.lane import REMEMBERED_MS, SIGHT_LOST
from tocsin.consumers.ledger import Position
from tocsin.consumers.lineage import EXPIRED
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.records import Decision
from tocsin.schemas.semantics import AHEAD_MS_MAX, expiry_cap_ms


class Revision(NamedTuple):
    """An accepted revision: where it was published (topic/partition/offset), and the digest of its bytes."""

    source: str
    sha256: bytes
    decided_at: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the record says of one lineage. `entry` has neither content nor what the content states.

    `revisions` are those that were accepted, the current one last.
    """

    entry: Entry
    revisions: tuple[Revision, ...]
    decided_at: int

    @property
    def current(self) -> Revision:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def may_be_forgotten_at(self) -> int:
        """Before then no lane forgets it, whatever its revisions state: none was accepted after its own expiry."""
        return max(revision.decided_at for revision in self.revisions) + REMEMBERED_MS

    @property
    def forgotten_by(self) -> int:
        """Until then a rebuilt ledger remembers it where its bytes are gone: no revision may state a later expiry."""
        longest = expiry_cap_ms(AlertTopic.parse(self.entry.topic).type.value, relapsed=True)
        return self.may_be_forgotten_at + AHEAD_MS_MAX + longest


@dataclass(slots=True)
class Fold:
    """What the decisions up to the number `until` come to.

    `moved` are the lineages of which the record says more than that. `notices` are the debts of a notice that a
    rejection may have made, by ledger key; `disputed` the lineages whose publisher was told of a dispute, by number.
    """

    until: int
    seq: int = 0
    lineages: dict[str, Lineage] = field(default_factory=dict[str, Lineage])
    positions: dict[str, Position] = field(default_factory=dict[str, Position])
    held: dict[str, Entry] = field(default_factory=dict[str, Entry])
    notices: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    disputed: dict[int, str] = field(default_factory=dict[int, str])
    moved: set[str] = field(default_factory=set[str])
    gaps: list[str] = field(default_factory=list[str])

    def take(self, decision: Decision) -> None:
        """Take the next decision in."""
        key = f"{decision['publisher']}/{decision['lineage_id']}"
        if decision["seq"] > self.until:
            self.moved.add(key)
            return
        self._count(decision["seq"])
        if decision["kind"] == "ALERT":
            self._take_record(key, decision)
        elif decision["kind"] == "HELD":
            self.held[_held_name(key, decision)] = _entry(key, decision)
        elif decision["kind"] == "LIFTED":
            self.held.pop(_held_name(key, decision), None)
        elif key in self.lineages:
            self._change(key, self.lineages[key], decision)
        else:
            self.gaps.append(f"{decision['seq']} is of {key}, of which nothing was accepted before")

    def _count(self, seq: int) -> None:
        if seq != self.seq + 1:
            self.gaps.append(f"{seq} comes after {self.seq}")
        self.seq = max(seq, self.seq)

    def _take_record(self, key: str, decision: Decision) -> None:
        topic, offset = decision["topic"], decision["offset"]
        self.positions[topic] = Position(decision["topic_id"], topic, offset + 1)
        if decision["outcome"] == "ACCEPTED":
            self.lineages[key] = _accepted(key, self.lineages.get(key), decision)
        elif decision["outcome"] == "REJECTED" and decision["publisher"] is not None:
            notice = f"notice/{decision['publisher']}/{topic}/{offset}"
            self.notices[notice] = (decision["seq"], decision["sha256"])

    def _change(self, key: str, known: Lineage, decision: Decision) -> None:
        entry = known.entry
        if decision["kind"] == "WITHHELD":
            entry = _withheld(entry, decision)
        elif decision["kind"] == "GAINED":
            entry = _given(entry, decision, ((one["member"], one["rule"]) for one in decision["given"]))
        elif decision["kind"] == "EXPIRED":
            entry = replace(_superseded(entry, decision["erased"]), status=EXPIRED)
            entry = _given(entry, decision, ((member, ERASED) for member in decision["erased"]))
        elif not decision["refused"]:
            self.disputed[decision["seq"]] = key
        self.lineages[key] = replace(known, entry=entry, decided_at=decision["decided_at"])


def _held_name(key: str, decision: Decision) -> str:
    return f"{decision['detail']}/{key}/{decision['revision']}"


def _entry(key: str, decision: Decision) -> Entry:
    return Entry(
        key=key,
        kind="ALERT",
        inbox_key=key,
        revision=cast("int", decision["revision"]),
        status=cast("str", decision["status"]),
        topic=decision["topic"],
        partition=decision["partition"],
        offset=decision["offset"],
        sha256=decision["sha256"],
        expires_at=0,
        forget_at=0,
        signer=cast("str", decision["key_id"]),
        test=False,
        value=b"",
        headers=(),
        given=(),
    )


def revision_of(entry: Entry, decided_at: int = 0) -> Revision:
    """The revision that `entry` is."""
    return Revision(f"{entry.topic}/{entry.partition}/{entry.offset}", entry.sha256, decided_at)


def _accepted(key: str, before: Lineage | None, decision: Decision) -> Lineage:
    if before is not None and _was_forgotten(before, decision):
        before = None
    entry, revisions = _entry(key, decision), before.revisions if before else ()
    if before is not None:
        entry = replace(entry, given=_superseded(before.entry, decision["erased"]).given)
    given = [(one["member"], one["rule"]) for one in decision["given"]]
    return Lineage(
        _given(entry, decision, [*given, *((member, ERASED) for member in decision["erased"])]),
        (*revisions, revision_of(entry, decision["decided_at"])),
        decision["decided_at"],
    )


def _was_forgotten(before: Lineage, decision: Decision) -> bool:
    """Whether the lane no longer knew the lineage: it is not on record that what ended long ago is forgotten."""
    if cast("int", decision["revision"]) <= before.entry.revision:
        return True
    return before.entry.ended and decision["decided_at"] - before.decided_at > REMEMBERED_MS


def _given(entry: Entry, decision: Decision, given: Iterable[tuple[str, str]]) -> Entry:
    pairs = tuple(given)
    if not pairs:
        return entry
    members, rules = (tuple(one) for one in zip(*pairs, strict=True))
    return replace(entry, given=(*entry.given, Given(decision["seq"], entry.revision, members, rules)))


def _withheld(entry: Entry, decision: Decision) -> Entry:
    """Without the copies that were owed. Who lost sight and holds an earlier one, loses that by the same decision."""
    for one in decision["refused"]:
        entry = _less_last(entry, one["member"])
    if any(one["reason"] == SIGHT_LOST for one in decision["refused"]):
        entry = _less_unpaid_erasures(entry, decision["erased"])
    return _given(entry, decision, ((member, ERASED) for member in decision["erased"]))


def _superseded(entry: Entry, erased: Iterable[str]) -> Entry:
    """All that was given as one group, under the lowest number, as a lane puts it before the next revision."""
    entry = _less_unpaid_erasures(entry, erased)
    held = entry.standing()
    if not held:
        return replace(entry, given=())
    seq, rules = min(given.seq for given in entry.given), tuple(last.rule for last in held.values())
    return replace(entry, given=(Given(seq, entry.revision, tuple(held), rules),))


def _less_unpaid_erasures(entry: Entry, erased: Iterable[str]) -> Entry:
    """Without the erasures that were never written to members who lose again what they hold."""
    for member in erased:
        last = entry.standing().get(member)
        if last is not None and last.rule == ERASED:
            earlier = _less_last(entry, member)
            if earlier.standing().get(member, last).rule != ERASED:
                entry = earlier
    return entry


def _less_last(entry: Entry, member: str) -> Entry:
    last = entry.standing().get(member)
    return entry if last is None else entry.without(last.seq, frozenset({member}))


def folded(decisions: Iterable[Mapping[str, object]], until: int) -> Fold:
    """The fold over `decisions` up to the number `until`."""
    fold = Fold(until)
    for decision in decisions:
        fold.take(cast("Decision", decision))
    return fold
