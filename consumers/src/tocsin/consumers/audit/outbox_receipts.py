"""The receipts that stand in one outbox, line by line, and what is wrong with them. Pure.

Receipts of one series follow each other without a gap, and one that replaces another under its key goes on from it. So
one that was taken out, or an old one put in again, shows, but for the newest of a series: then less is told of.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from tocsin.consumers.audit.export_lines import Line, Unreadable
from tocsin.consumers.audit.findings import Finding, FirstFault, Place, unchecked
from tocsin.consumers.audit.heads import CLOCKS_APART_MS
from tocsin.consumers.outbox_records import RECEIPT, kind_and_name, open_record
from tocsin.consumers.receipts import Receipt
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.verify import Verifier

RECEIPTS: Final = "receipts"


class Standing(NamedTuple):
    """A receipt, and where its record is."""

    receipt: Receipt
    place: Place


def is_receipt(line: Line) -> bool:
    """Whether a line of an outbox is of a receipt."""
    return isinstance(line, BusRecord) and kind_and_name(line.key)[0] == RECEIPT


class OutboxReceipts:
    """`take` takes the lines in, in order."""

    def __init__(self, member: str, verifier: Verifier) -> None:
        self._member = member
        self._verifier = verifier
        self._fault = FirstFault(RECEIPTS, outbox_topic(member))
        self._standing: dict[str, Standing] = {}
        self._not_counted = 0
        self._why = ""
        self._offset = -1
        self._appended_ms = 0

    def take(self, line: Line, place: Place) -> None:
        """Take in the next line."""
        if isinstance(line, Unreadable):
            self._fault.note(line.why, place)
            return
        self._order(line, place)
        if not is_receipt(line):
            return
        if line.value is None:
            self._standing.pop(kind_and_name(line.key)[1], None)
            return
        try:
            receipt: Receipt = open_record(self._member, line, self._verifier).content
        except Rejection as refusal:
            self._refused(refusal, place)
            return
        before = self._standing.get(receipt.name)
        if before is not None and not _goes_on(before.receipt, receipt):
            self._fault.note(f"does not go on from what it replaces: {_range(before.receipt)}", before.place, place)
        self._standing[receipt.name] = Standing(receipt, place)

    def _order(self, record: BusRecord, place: Place) -> None:
        if record.offset <= self._offset:
            self._fault.note(f"after offset {self._offset}", place)
        if record.appended_ms < self._appended_ms - CLOCKS_APART_MS:
            self._fault.note(f"stamped {self._appended_ms - record.appended_ms} ms before one that precedes it", place)
        self._offset, self._appended_ms = record.offset, max(self._appended_ms, record.appended_ms)

    def _refused(self, refusal: Rejection, place: Place) -> None:
        # a signer is named where a later release wrote it, and the signature held
        if refusal.reason is Reason.KEY_NOT_VALID or refusal.signer == self._member:
            self._not_counted += 1
            self._why = self._why or str(refusal)
        else:
            self._fault.note(f"a receipt that is not {self._member}'s: {refusal}", place)

    def standing(self) -> list[Standing]:
        """The newest under each key, by series and range, once all is taken in."""
        return sorted(self._standing.values(), key=lambda one: (one.receipt.series, one.receipt.first_offset))

    def findings(self) -> Iterator[Finding]:
        """Whether all are signed by the member, and follow each other."""
        standing = self.standing()
        for before, after in pairwise(standing):
            self._follows(before, after)
        series = len({one.receipt.series for one in standing})
        yield self._fault.finding(
            f"{len(standing)} receipts in {series} series, signed by {self._member}, without a gap"
        )
        if self._not_counted:
            what = f"{self._not_counted} receipts do not count, the first of them: {self._why}"
            yield unchecked(RECEIPTS, outbox_topic(self._member), what)

    def _follows(self, before: Standing, after: Standing) -> None:
        one, other = before.receipt, after.receipt
        # what does not count leaves a gap, and is told
        if one.series != other.series or self._not_counted:
            return
        if other.first_offset > one.last_offset + 1:
            missing = f"{one.last_offset + 1} to {other.first_offset - 1}"
            self._fault.note(
                f"offsets {missing} of the inbox are in no receipt: one is missing", before.place, after.place
            )
        elif other.first_offset <= one.last_offset:
            self._fault.note(f"of {_range(other)}, and another of {_range(one)}", before.place, after.place)


def _goes_on(before: Receipt, after: Receipt) -> bool:
    """Whether `after` says what `before` says, and no less."""
    return after.last_offset >= before.last_offset and after.items[: len(before.items)] == before.items


def _range(receipt: Receipt) -> str:
    return f"offsets {receipt.first_offset} to {receipt.last_offset}"
