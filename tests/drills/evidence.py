"""What a drill left behind, and what is wrong with it. Pure: records in, faults out."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from tocsin.consumers.lane import SUPERSEDED

Sees = Mapping[str, frozenset[str] | None]
"""The lanes that each member sees all the while; None where that changed, and only the record says it."""


STORIES_MAX: Final = 3


class Written(NamedTuple):
    """A record of an alert topic."""

    topic: str
    offset: int
    value: bytes


class Copy(NamedTuple):
    """A copy in an inbox: of which record it is, and of which revision of which lineage."""

    key: str
    revision: int
    topic: str
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was published, written, decided and given, as plain clients saw it.

    `sent` has the values published under load, by lane; `others` those that the drill itself had written besides.
    """

    sent: Mapping[str, Sequence[bytes]]
    written: Sequence[Written]
    decisions: Sequence[Mapping[str, Any]]
    inboxes: Mapping[str, Sequence[Copy]]
    others: frozenset[bytes] = frozenset()


def faults(found: Evidence, sees: Sees) -> list[str]:
    """What was lost, came twice, came out of order, or is not what was decided; a line each."""
    wrong = [*_publishing(found), *_deciding(found)]
    for member, copies in found.inboxes.items():
        wrong += (f"inbox.{member}: {fault}" for fault in _inbox(found, member, copies, sees.get(member, frozenset())))
    return wrong


def _publishing(found: Evidence) -> Iterator[str]:
    sent = {value for values in found.sent.values() for value in values}
    written = {one.value for one in found.written}
    if lost := len(sent - written):
        yield f"{lost} of {len(sent)} published alerts are in no topic"
    if strange := len(written - sent - found.others):
        yield f"{strange} alerts were written that nobody published"


def _deciding(found: Evidence) -> Iterator[str]:
    on_alerts = [one for one in found.decisions if one["kind"] == "ALERT"]
    places = {(one.topic, one.offset) for one in found.written}
    decided = Counter((one["topic"], one["offset"]) for one in on_alerts)
    if len(found.written) != len(places):
        yield "an alert topic was read twice"
    yield from (f"{place}: decided {decided[place]} times" for place in sorted(places) if decided[place] != 1)
    yield from (f"{place}: decided and never written" for place in sorted(decided.keys() - places))
    accepted = Counter(one["sha256"] for one in on_alerts if one["outcome"] == "ACCEPTED")
    sent = {_digest(one.value) for one in found.written if one.value not in found.others}
    if sent - accepted.keys() or accepted.total() != len(accepted):
        yield f"{len(sent)} different alerts, {accepted.total()} times accepted"
    yield from _numbering(found.decisions)
    offsets: dict[str, list[int]] = defaultdict(list)
    for one in on_alerts:
        offsets[one["topic"]].append(one["offset"])
    yield from (f"{topic}: decided out of order" for topic, seen in offsets.items() if seen != sorted(seen))


def _numbering(decisions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in decisions:
        numbers[lane_of(one["topic"])].append(one["seq"])
    for lane, seqs in numbers.items():
        if seqs != [*range(1, len(seqs) + 1)]:
            yield f"audit.{lane}: decisions are not numbered one by one"


def _inbox(found: Evidence, member: str, copies: Sequence[Copy], sees: frozenset[str] | None) -> Iterator[str]:
    values = {copy.value for copy in copies}
    if twice := len(copies) - len(values):
        yield f"{twice} copies came twice"
    # what is not of the load, a retraction for instance, is told by a notice
    besides = {_digest(value) for value in found.others}
    told, came = _told(found.decisions, member) - besides, {_digest(value) for value in values}
    if missing := len(told - came):
        yield f"{missing} copies that were decided are missing"
    if leaked := len(came - told):
        yield f"{leaked} copies that nobody decided"
    if sees is not None:
        want = {value for lane, sent in found.sent.items() if lane in sees for value in sent}
        overtaken = _overtaken(found.decisions, member, copies)
        if lost := {value for value in want - values if _digest(value) not in overtaken}:
            yield f"{len(lost)} of {len(want)} copies are missing"
            yield from (f"missing: {_story(found, member, value)}" for value in sorted(lost)[:STORIES_MAX])
        if strange := len(values - want - found.others):
            yield f"{strange} copies that its ACLs do not allow"
        yield from _disorder(copies)


def _story(found: Evidence, member: str, value: bytes) -> str:
    """Where an alert was written, and what was decided about it and its lineage; nothing of its content."""
    digest = _digest(value)
    places = [f"{one.topic}/{one.offset}" for one in found.written if one.value == value]
    lineage = next((one["lineage_id"] for one in found.decisions if one["sha256"] == digest), None)
    about = [one for one in found.decisions if lineage is not None and one["lineage_id"] == lineage]
    said: list[str] = []
    for one in about:
        refused = [to["reason"] for to in one["refused"] if to["member"] == member]
        what = f"#{one['seq']} {one['kind']} {one['outcome']} {one['offset']} revision {one['revision']}"
        said.append(f"{what} by {one['worker']} given to {len(one['given'])}, refused {refused}")
    return f"written at {places}; decided: {'; '.join(said) or 'never'}"


def _disorder(copies: Sequence[Copy]) -> Iterator[str]:
    revisions: dict[str, list[int]] = defaultdict(list)
    offsets: dict[str, list[int]] = defaultdict(list)
    for copy in copies:
        revisions[copy.key].append(copy.revision)
        offsets[copy.topic].append(copy.offset)
    if any(seen != sorted(seen) for seen in revisions.values()):
        yield "revisions out of order"
    if any(seen != sorted(seen) for seen in offsets.values()):
        yield "a topic's alerts out of order"


def _told(decisions: Sequence[Mapping[str, Any]], member: str) -> set[bytes]:
    """The digests of what the record says that `member` was given."""
    told: set[bytes] = set()
    for one in decisions:
        if one["kind"] in ("ALERT", "GAINED") and any(to["member"] == member for to in one["given"]):
            told.add(one["sha256"])
        elif one["kind"] == "WITHHELD" and any(to["member"] == member for to in one["refused"]):
            told.discard(one["sha256"])
    return told


def _overtaken(decisions: Sequence[Mapping[str, Any]], member: str, copies: Sequence[Copy]) -> set[bytes]:
    """The digests of what was still owed to `member` when a later revision was decided, which it has."""
    newest: dict[str, int] = defaultdict(int)
    for copy in copies:
        newest[copy.key] = max(copy.revision, newest[copy.key])
    superseded = {"member": member, "reason": SUPERSEDED}
    return {
        one["sha256"]
        for one in decisions
        if superseded in one["refused"] and newest[f"{one['publisher']}/{one['lineage_id']}"] > one["revision"]
    }


def lane_of(topic: str) -> str:
    """The jurisdiction in an alert topic's name."""
    return topic.split(".")[1]


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


# -- planted faults, each of which must be found ----------------------------------------------------------------------


def planted(found: Evidence, member: str) -> Iterator[tuple[str, Evidence]]:
    """The same evidence, each time with one thing wrong, and what that is.

    `member` has at least two copies from one topic.
    """
    copies, middle = found.inboxes[member], len(found.inboxes[member]) // 2

    def inbox(*changed: Copy) -> Evidence:
        return replace(found, inboxes={**found.inboxes, member: changed})

    yield "a copy is gone", inbox(*copies[:middle], *copies[middle + 1 :])
    yield "a copy came twice", inbox(*copies, copies[middle])
    yield "copies out of order", inbox(*reversed(copies))
    yield "an alert is gone from its topic", replace(found, written=found.written[1:])
    yield "a decision is gone", replace(found, decisions=_without_one(found.decisions))
    lane = next(lane for lane, values in found.sent.items() if values)
    yield "an alert was never written", replace(found, sent={**found.sent, lane: [*found.sent[lane], b"planted"]})


def _without_one(decisions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    last = max(number for number, one in enumerate(decisions) if one["kind"] == "ALERT")
    return [*decisions[:last], *decisions[last + 1 :]]
