"""Whether what was decided came, by the receipts that are in an export: one member after another. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from tocsin.consumers.audit.export_lines import Line, Unreadable
from tocsin.consumers.audit.findings import Finding, Place, failed, passed, unchecked
from tocsin.consumers.audit.given import Decisions, Scratch
from tocsin.consumers.audit.outbox_receipts import OutboxReceipts, Standing, is_receipt
from tocsin.consumers.audit.receipts import Coverage, Found, compare_member
from tocsin.consumers.audit.receipts import Finding as What
from tocsin.schemas.names import inbox_topic, outbox_topic
from tocsin.schemas.records import Decision
from tocsin.schemas.verify import Verifier

DELIVERED: Final = "delivered"
_OUTBOX: Final = outbox_topic("")
_NAMED_MAX: Final = 5

Lines = Callable[[str], Iterator[Line]]
"""Hands out what stands in each line of a topic's file."""


class Deliveries:
    """Takes all decisions in, and then compares them with the receipts of `topics` that are outboxes.

    `from_later` takes it that the first decisions are gone: what came under one of them is then no fault.
    """

    def __init__(self, topics: Sequence[str], lines: Lines, scratch: Scratch | None, *, from_later: bool) -> None:
        self._lines = lines
        self._from_later = from_later
        outboxes = [topic for topic in topics if topic.startswith(_OUTBOX)]
        self._told = [topic.removeprefix(_OUTBOX) for topic in outboxes if any(map(_counts, lines(topic)))]
        self._decisions = Decisions(scratch, self._told)
        self._first: dict[str, int] = {}

    def take(self, decision: Decision) -> None:
        """Take in the next decision of a lane."""
        self._decisions.add(decision)
        if self._from_later and decision["kind"] == "ALERT":
            self._first.setdefault(decision["topic"], decision["offset"])

    def findings(self, verifier: Verifier, file_of: Callable[[str], str]) -> Iterator[Finding]:
        """Of each member that tells: whether its receipts hold, and what they show. Then who tells nothing."""
        for member in self._told:
            topic = outbox_topic(member)
            receipts = OutboxReceipts(member, verifier)
            for number, line in enumerate(self._lines(topic), 1):
                offset = None if isinstance(line, Unreadable) else line.offset
                receipts.take(line, Place(file_of(topic), number, None, offset))
            yield from receipts.findings()
            yield self._compared(member, receipts.standing())
        yield from self._untold()

    def _compared(self, member: str, standing: Sequence[Standing]) -> Finding:
        found, coverage = compare_member(member, self._decisions.of(member), [one.receipt for one in standing])
        found = [one for one in found if not self._is_older(one)]
        how_far = in_numbers(coverage)
        if not standing:
            return unchecked(DELIVERED, inbox_topic(member), f"no receipt counts; {how_far}")
        if not found:
            return passed(DELIVERED, inbox_topic(member), how_far)
        more = f"; and {len(found) - 1} more after it" if len(found) > 1 else ""
        what = f"{_said(found[0])}{more}. {how_far[0].upper()}{how_far[1:]}"
        return failed(DELIVERED, inbox_topic(member), what, _place(found[0], standing))

    def _is_older(self, one: Found) -> bool:
        """Whether the decision may be among those that are gone with their time."""
        if not self._from_later or one.finding is not What.UNDECIDED:
            return False
        topic, _, offset = one.place.rpartition("/")
        # an erasure does not say of which record
        return topic not in self._first or not offset.isdigit() or int(offset) < self._first[topic]

    def _untold(self) -> Iterator[Finding]:
        others = {member: count for member, count in sorted(self._decisions.others.items()) if count > 0}
        if others:
            names = [*others]
            more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
            what = f"no receipts of {', '.join(names[:_NAMED_MAX])}{more}, who were given {sum(others.values())} copies"
            yield unchecked(DELIVERED, "inboxes", what)


def _counts(line: Line) -> bool:
    return isinstance(line, Unreadable) or is_receipt(line)


def in_numbers(coverage: Coverage) -> str:
    """How far a member's receipts go."""
    known = coverage.came + coverage.replaced
    share = known / coverage.given if coverage.given else 1.0
    told_ms = coverage.told_ms or 0
    until = datetime.fromtimestamp(told_ms / 1000, UTC).isoformat(timespec="seconds") if told_ms else "never"
    return (
        f"of {coverage.given} copies given {coverage.came} came, {coverage.replaced} had been replaced,"
        f" {coverage.given - known} are not told of ({share:.1%} covered); {coverage.receipts} receipts, the last at"
        f" {until}"
    )


def _said(one: Found) -> str:
    if one.finding is What.MISSING:
        what = one.detail or "a copy"
        after, before = one.between or (0, 0)
        return (
            f"MISSING: {what} of {one.place}, by decision {one.seq} of {one.lane}: not between offsets {after} and"
            f" {before} of the inbox, where it must lie"
        )
    return f"{one.finding}: offset {one.inbox_offset} of the inbox, of {one.place}: {one.detail}"


def _place(one: Found, standing: Sequence[Standing]) -> Place:
    """Where the receipt is that tells of it; of what is missing, the one that tells of what comes after it."""
    at = one.between[1] if one.between else one.inbox_offset or 0
    holding = (s for s in standing if s.receipt.first_offset <= at <= s.receipt.last_offset)
    return next(holding, standing[0]).place
