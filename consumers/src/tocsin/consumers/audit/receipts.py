"""Compares what was decided with what members say came into their inboxes, without either's alerts. Pure.

A copy that no decision gave, or gave otherwise, is found by its being in a receipt. A copy that never came is found by
its place: a lane writes into one inbox in the order of its decisions, so between the copies of two decisions, in a
range that a member tells of without a gap, the copies of all decisions between them must lie. It is no finding

* when the exchange put on record that it withheld the copy;
* when a later decision on the same lineage, taken before the member had read past the place, may have replaced it: an
  inbox is compacted;
* when copies were given once more since, because the inbox was made anew.

What is owed, and what came before the first or after the last copy that a member tells of, cannot be told yet.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from tocsin.consumers.audit.given import Decided, Decisions, Give, Source
from tocsin.consumers.receipts import UNKNOWN_OFFSET, Copied, Erased, Item, Receipt

CLOCKS_MS: Final = 60_000
"""How far the clocks of fan-out and brokers may be apart."""
ANEW_MS: Final = 3_600_000
"""How long after an inbox was made anew the copies that it lacks are given once more, at the latest."""
ERASURE_MS: Final = 86_400_000
"""How long an erasure is sure to lie in an inbox: Kafka lets tombstones go, here after a week."""


class Finding(StrEnum):
    """What is wrong."""

    MISSING = "MISSING"  # decided, and it never came
    UNDECIDED = "UNDECIDED"  # it came, and no decision gave it
    DIFFERENT = "DIFFERENT"  # it came, and a decision gave another one, or under another rule


@dataclass(frozen=True, slots=True)
class Found:
    """One finding about `member`. `place` is `topic/offset` of a copy's source, or the key of an erasure.

    `seq` is the decision's number in its lane, `inbox_offset` where in the inbox it lies; of what is missing, `between`
    are the offsets of the copies around its place.
    """

    finding: Finding
    member: str
    place: str
    lane: str | None = None
    seq: int | None = None
    inbox_offset: int | None = None
    detail: str = ""
    between: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a member's receipts go: how many copies it was `given`, and how many of them `came`.

    `replaced` could lie in no range any more when it was read. `told_ms` is the broker's time of the newest receipt,
    milliseconds since 1970; None: the member sends none, so nothing can be said about its inbox.
    """

    member: str
    given: int
    came: int
    replaced: int
    receipts: int
    told_ms: int | None


def compare(
    decisions: Decisions, receipts: Iterable[Receipt], *, clocks_ms: int = CLOCKS_MS
) -> tuple[list[Found], list[Coverage]]:
    """What differs, and how far it can be told, by member.

    The receipts must have been read before the decisions: then no receipt tells of a decision that is not there yet.
    `clocks_ms` is how far the clocks of fan-out and brokers may be apart.
    """
    by_member: defaultdict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_member[receipt.member].append(receipt)
    found: list[Found] = []
    coverage: list[Coverage] = []
    for member in sorted({*by_member, *decisions.members}):
        of_member, covered = compare_member(member, decisions.of(member), by_member[member], clocks_ms=clocks_ms)
        found += of_member
        coverage.append(covered)
    return found, coverage


def compare_member(
    member: str, decided: Decided, receipts: Sequence[Receipt], *, clocks_ms: int = CLOCKS_MS
) -> tuple[list[Found], Coverage]:
    """What differs in one member's inbox, and how far it can be told."""
    one = _Comparison(member, decided, receipts, clocks_ms)
    return [*one.findings()], one.coverage()


class _Told(NamedTuple):
    """An item, and when its member had read past it at the latest, by the brokers' clock."""

    item: Item
    read_ms: int


_Range: TypeAlias = list[_Told]
"""The items of receipts of one series between which there is no gap, in the order of their offsets."""


class _Comparison:
    def __init__(self, member: str, decided: Decided, receipts: Sequence[Receipt], clocks_ms: int) -> None:
        self._member = member
        self._decided = decided
        self._receipts = receipts
        self._clocks_ms = clocks_ms
        self._ranges = [*_ranges(receipts)]
        items = [told.item for one in self._ranges for told in one]
        self._came = {Source(item.topic, item.source_offset) for item in items if isinstance(item, Copied)}
        self._came_erased = {item.key for item in items if isinstance(item, Erased)}
        self._replaced: set[Source] = set()
        self._lost: set[Source] = set()

    def findings(self) -> Iterator[Found]:
        # two readers of one inbox tell of the same record
        yield from dict.fromkeys(self._unfounded())
        missing = (one for told in self._ranges for one in self._missing(told))
        yield from {(one.place, one.lane, one.seq): one for one in missing}.values()

    def coverage(self) -> Coverage:
        given = {source for source, gives in self._decided.given.items() if gives}
        return Coverage(
            member=self._member,
            given=len(given),
            came=len(given & self._came),
            replaced=len(self._replaced - self._lost),
            receipts=len(self._receipts),
            told_ms=max((one.at_ms for one in self._receipts), default=None),
        )

    # -- what came and was not decided ---------------------------------------------------------------------------------

    def _unfounded(self) -> Iterator[Found]:
        by_series: defaultdict[str, dict[Item, None]] = defaultdict(dict)
        for receipt in sorted(self._receipts, key=lambda one: one.first_offset):
            by_series[receipt.series].update(dict.fromkeys(receipt.items))
        for items in by_series.values():
            times = Counter[Source | str]()
            for item in items:
                place = item.key if isinstance(item, Erased) else Source(item.topic, item.source_offset)
                times[place] += 1
                finding = self._check_erased(item) if isinstance(item, Erased) else self._check_copied(item)
                yield from finding or self._check_times(item, place, times[place])

    def _check_copied(self, item: Copied) -> list[Found]:
        source = Source(item.topic, item.source_offset)
        gives = self._decided.given.get(source)
        if not gives:
            why = "no decision gives it" if gives is None else "the record says that it was withheld"
            return [self._found(Finding.UNDECIDED, item, why)]
        if not any(give.sha256 == item.sha256 for give in gives):
            return [self._found(Finding.DIFFERENT, item, f"sha256 {item.sha256.hex()}", gives[-1])]
        if not any((give.sha256, give.rule) == (item.sha256, item.rule) for give in gives):
            return [self._found(Finding.DIFFERENT, item, f"rule {item.rule}", gives[-1])]
        return []

    def _check_erased(self, item: Erased) -> list[Found]:
        if item.key in self._decided.erased:
            return []
        return [self._found(Finding.UNDECIDED, item, "no decision erases it")]

    def _check_times(self, item: Item, place: Source | str, times: int) -> list[Found]:
        decided = self._decided.erased[place] if isinstance(place, str) else self._decided.given[place]
        if times <= len(decided):
            return []
        return [self._found(Finding.UNDECIDED, item, f"came {times} times, decided {len(decided)} times")]

    def _found(self, finding: Finding, item: Item, detail: str, give: Give | None = None) -> Found:
        place = item.key if isinstance(item, Erased) else _place(Source(item.topic, item.source_offset))
        lane, seq = (give.lane, give.seq) if give else (None, None)
        return Found(finding, self._member, place, lane, seq, item.offset, detail)

    # -- what was decided and never came -------------------------------------------------------------------------------

    def _missing(self, told: _Range) -> Iterator[Found]:
        order: defaultdict[str, _Order] = defaultdict(_Order)
        for item, read_ms in told:
            if isinstance(item, Copied):
                source = Source(item.topic, item.source_offset)
                gives = self._decided.given.get(source)
                if gives:
                    order[source.lane].append(gives[0].seq, gives[-1].seq, item.offset, read_ms)
        for one in order.values():
            one.close()
        for source, gives in self._decided.given.items():
            if source in self._came or not gives or source.lane not in order:
                continue
            gaps = [order[source.lane].gap_at(give.seq) for give in gives]
            yield from self._missing_copy(source, gives, gaps)
        yield from self._missing_erasures(order)

    def _missing_copy(self, source: Source, gives: list[Give], gaps: list[_Gap | None]) -> Iterator[Found]:
        for give, gap in zip(gives, gaps, strict=True):
            if gap is None:
                continue
            if self._is_gone(give, gap.read_ms):
                self._replaced.add(source)
            else:
                self._lost.add(source)
                between = gap.after, gap.before
                yield Found(Finding.MISSING, self._member, _place(source), give.lane, give.seq, between=between)

    def _is_gone(self, give: Give, read_ms: int) -> bool:
        """Whether what `give` wrote may rightly not be there when the member read past its place."""
        until_ms = read_ms + self._clocks_ms
        return self._decided.replaced(give, until_ms) or self._decided.given_once_more(give, read_ms + ANEW_MS)

    def _missing_erasures(self, order: dict[str, _Order]) -> Iterator[Found]:
        for key, gives in self._decided.erased.items():
            last = gives[-1]
            if key in self._came_erased or last.lane not in order or self._decided.by_lineage[key][-1] is not last:
                continue
            gap = order[last.lane].gap_at(last.seq)
            if gap is None or gap.read_ms - last.decided_ms > ERASURE_MS:
                continue
            if not self._decided.given_once_more(last, gap.read_ms + ANEW_MS):
                between = gap.after, gap.before
                yield Found(Finding.MISSING, self._member, key, last.lane, last.seq, None, "an erasure", between)


class _Gap(NamedTuple):
    """The offsets of the copies around a place where one must lie, and when that place was read."""

    after: int
    before: int
    read_ms: int


class _Order:
    """The decisions of one lane whose copies lie in one range, in the order of the copies."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._offsets: list[int] = []
        self._read_ms: list[int] = []

    def append(self, first: int, last: int, offset: int, read_ms: int) -> None:
        """A copy at `offset` that a decision from `first` to `last` gave."""
        self._first.append(first)
        self._last.append(last)
        self._offsets.append(offset)
        self._read_ms.append(read_ms)

    def close(self) -> None:
        """All are there."""
        self._first = [*accumulate(self._first, max)]
        self._last = [*accumulate(self._last, min)]

    def gap_at(self, seq: int) -> _Gap | None:
        """The place where the copy of decision `seq` must lie; None when it need not lie in the range."""
        after = bisect_right(self._first, seq)
        if after == len(self._first) or after == 0 or self._last[after - 1] >= seq:
            return None
        return _Gap(self._offsets[after - 1], self._offsets[after], self._read_ms[after])


def _ranges(receipts: Iterable[Receipt]) -> Iterator[_Range]:
    """The items of receipts that follow each other without a gap."""
    told: dict[int, _Told] = {}
    series, end = "", UNKNOWN_OFFSET
    for receipt in sorted(receipts, key=lambda one: (one.series, one.first_offset)):
        if told and (receipt.series != series or receipt.first_offset > end + 1):
            yield [told[offset] for offset in sorted(told)]
            told = {}
        end = max(end, receipt.last_offset) if receipt.series == series else receipt.last_offset
        series = receipt.series
        for item in receipt.items:
            read_ms = max(receipt.at_ms, told[item.offset].read_ms if item.offset in told else 0)
            told[item.offset] = _Told(item, read_ms)
    if told:
        yield [told[offset] for offset in sorted(told)]


def _place(source: Source) -> str:
    return f"{source.topic}/{source.offset}"
