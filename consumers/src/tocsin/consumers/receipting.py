"""Notes what comes into an inbox, and tells the exchange in receipts: of one series, and without gaps.

Where the last receipt ended is read from the member's own outbox, which outlives any machine of the member's. What came
after it and was taken before a crash is read from the inbox once more, so a restart leaves no gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final, TypeAlias

import structlog

from tocsin.consumers.errors import OutboxError
from tocsin.consumers.receipts import ITEMS_MAX, Item, Receipt, item_of, receipt_of, split
from tocsin.schemas.bus import BusRecord, Reader, ReadFailed
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode_strict
from tocsin.schemas.errors import Rejection
from tocsin.schemas.names import inbox_topic, outbox_topic
from tocsin.schemas.uuid7 import uuid7

EVERY_S: Final = 60.0
OPEN_MS: Final = 3_600_000
"""How long a receipt is replaced by longer ones: an auditor knows when an item was read no closer than that."""
REREAD_MAX: Final = 100_000
"""How many offsets are read once more to close a gap; what is longer begins a series of its own."""
NOTED_MAX: Final = 20_000
"""How many items wait in memory while nothing can be sent; more are read once more from the inbox."""
READ_S_MAX: Final = 10.0
_TAIL: Final = 1_000
_POLL_S: Final = 0.2
_RECEIPT: Final = schema("receipt")

ReadFrom: TypeAlias = Callable[[str, int], Reader]
"""Reads a topic from an offset on, without a group."""

log = structlog.get_logger()


class Receipting:
    """The receipts of one reader. `send` raises OutboxError; nothing else here does. Used by one thread."""

    def __init__(
        self, member: str, group: str, send: Callable[[Receipt], None], read_from: ReadFrom, now_ms: Callable[[], int]
    ) -> None:
        self._member = member
        self._group = group
        self._send = send
        self._read_from = read_from
        self._now_ms = now_ms
        self._items: list[Item] = []
        self._generation = 0
        # the first record noted in a run without a break, and the place after the last one
        self._first: BusRecord | None = None
        self._next = 0
        self._newest_ms = 0
        self._is_anew = False
        # what the next receipt continues; None until the outbox has been read
        self._last: Receipt | None = None
        self._tried_at = time.monotonic()
        self._failing = False

    @property
    def waiting(self) -> bool:
        """Whether anything has been noted that no receipt tells of yet."""
        return bool(self._items)

    def due(self) -> bool:
        """Whether it is time to `tell`."""
        rested = time.monotonic() - self._tried_at > EVERY_S
        # while nothing can be sent, a full receipt does not make it be tried more often
        return self.waiting and (rested or (len(self._items) >= ITEMS_MAX and not self._failing))

    def note(self, record: BusRecord, generation: int) -> None:
        """Note a record as it comes, in the order of the inbox; `generation` is its reader's."""
        went_back = record.offset < self._next
        if self._first is None or generation != self._generation or went_back or len(self._items) >= NOTED_MAX:
            # an offset that comes again later than anything before it is of another topic of the same name
            self._is_anew = self._is_anew or (went_back and record.appended_ms > self._newest_ms)
            self._first, self._generation, self._last, self._items = record, generation, None, []
        item = item_of(record)
        if item is not None:
            self._items.append(item)
        self._next = record.offset + 1
        self._newest_ms = record.appended_ms if self._is_anew else max(self._newest_ms, record.appended_ms)

    def put_off(self) -> None:
        """Be due only in a while: it cannot be told now."""
        self._tried_at, self._failing = time.monotonic(), True

    def tell(self, place: int) -> None:
        """Send receipts for what was noted before `place`. What cannot be sent now is sent the next time."""
        self._tried_at = time.monotonic()
        try:
            last = self._last = self._last or self._continued()
            self._tell(last, min(place, self._next))
            self._failing = False
        except (OutboxError, ReadFailed) as failure:
            self.put_off()
            log.warning("receipt_not_sent", topic=inbox_topic(self._member), reason=str(failure))

    def _tell(self, last: Receipt, place: int) -> None:
        begin, now_ms = last.last_offset + 1, self._now_ms()
        todo = [item for item in self._items if begin <= item.offset < place]
        if not todo:
            self._items = [item for item in self._items if item.offset >= max(begin, place)]
            return
        is_open = len(last.items) < ITEMS_MAX and 0 <= now_ms - last.began_ms < OPEN_MS
        first, began, items = (
            (last.first_offset, last.began_ms, [*last.items, *todo]) if is_open else (begin, now_ms, todo)
        )
        runs = [*split(items)]
        for run in runs:
            end = place - 1 if run is runs[-1] else run[-1].offset
            receipt = replace(
                last,
                first_offset=first,
                last_offset=end,
                items=tuple(run),
                last_appended_ms=max(last.last_appended_ms, self._newest_ms),
                began_ms=began,
                issued_ms=now_ms,
            )
            self._send(receipt)
            self._last, first, began = receipt, end + 1, now_ms
            self._items = [item for item in self._items if item.offset > end]
        log.info("receipt_sent", topic=inbox_topic(self._member), last_offset=place - 1)

    # -- where the last one ended ------------------------------------------------------------------------------------

    def _continued(self) -> Receipt:
        """The receipt that the next one continues: the group's last, or an empty one that begins a series.

        What came before the first record that was noted here, and is told of nowhere, is read once more.
        """
        first = self._first
        if first is None:
            raise OutboxError("nothing has been read yet")
        last = None if self._is_anew else self._last_sent()
        if last is None or (first.offset <= last.last_offset and first.appended_ms > last.last_appended_ms):
            last = self._series(0)
        gap = first.offset - last.last_offset - 1
        if gap > REREAD_MAX:
            log.warning("receipts_gap", topic=inbox_topic(self._member), first_offset=last.last_offset + 1)
            last = self._series(first.offset)
        elif gap > 0:
            missed = self._missed(last, first.offset)
            if missed is None:
                last = self._series(0)
                missed = self._missed(last, first.offset) or []
            self._items = [*missed, *self._items]
        self._is_anew = False
        return last

    def _series(self, begin: int) -> Receipt:
        """What a new series continues: nothing, before `begin`."""
        return Receipt(
            member=self._member,
            group=self._group,
            series=str(uuid7()),
            first_offset=begin,
            last_offset=begin - 1,
            items=(),
            last_appended_ms=0,
            began_ms=self._now_ms(),
            issued_ms=0,
        )

    def _missed(self, last: Receipt, end: int) -> list[Item] | None:
        """What came between `last` and `end`; None when the inbox is not the one that `last` is about."""
        known = last.items[-1] if last.items else None
        found: list[Item] = []
        begin = last.last_offset + 1 if known is None else known.offset
        for record in self._read(inbox_topic(self._member), begin, end):
            item = item_of(record)
            if known is not None and record.offset == known.offset and item != known:
                return None
            if item is not None and record.offset > last.last_offset:
                found.append(item)
        return found

    def _last_sent(self) -> Receipt | None:
        """The group's newest receipt in the member's outbox: near its end, or anywhere."""
        topic, prefix = outbox_topic(self._member), b"receipt/"
        with closing(self._read_from(topic, 0)) as reader:
            end = reader.end(READ_S_MAX / 2)
        for begin in dict.fromkeys((max(0, end - _TAIL), 0)):
            found: Receipt | None = None
            for record in self._read(topic, begin, end):
                if record.value is not None and (record.key or b"").startswith(prefix):
                    found = self._own(record) or found
            if found is not None:
                return found
        return None

    def _own(self, record: BusRecord) -> Receipt | None:
        try:
            kind, content = decode_strict(record.value or b"")
            if kind is not _RECEIPT or content["group"] != self._group:
                return None
            return receipt_of(self._member, content, record.appended_ms)
        except Rejection:
            return None

    def _read(self, topic: str, begin: int, end: int) -> Iterator[BusRecord]:
        """The records of `topic` from `begin` to before `end` that are still there."""
        began = time.monotonic()
        with closing(self._read_from(topic, begin)) as reader:
            while reader.position is None or reader.position < end:
                record = reader.poll(_POLL_S)
                if record is not None and begin <= record.offset < end:
                    yield record
                if time.monotonic() - began > READ_S_MAX:
                    raise OutboxError(f"{topic}: not read from {begin} to {end} in {READ_S_MAX:.0f} s", passing=True)
