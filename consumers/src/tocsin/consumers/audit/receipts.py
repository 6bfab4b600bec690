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
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from tocsin.consumers.receipts import UNKNOWN_OFFSET, Copied, Erased, Item, Receipt
from tocsin.schemas.records import Decision

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

    `seq` is the decision's number in its lane, `inbox_offset` where in the inbox it lies.
    """

    finding: Finding
    member: str
    place: str
    lane: str | None = None
    seq: int | None = None
    inbox_offset: int | None = None
    detail: str = ""


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


class _Source(NamedTuple):
    topic: str
    offset: int

    @property
    def lane(self) -> str:
        return self.topic.split(".")[1] if self.topic.startswith("alerts.") else ""


class _Give(NamedTuple):
    """One decision that gives a copy, or erases one: when it was decided, what and under which rule."""

    lane: str
    seq: int
    decided_ms: int
    lineage: str
    sha256: bytes
    rule: str


@dataclass(slots=True)
class _Decided:
    """What was decided about one member. `given` is less what was withheld."""

    given: dict[_Source, list[_Give]] = field(default_factory=dict[_Source, list[_Give]])
    erased: defaultdict[str, list[_Give]] = field(default_factory=lambda: defaultdict[str, list[_Give]](list))
    by_lineage: defaultdict[str, list[_Give]] = field(default_factory=lambda: defaultdict[str, list[_Give]](list))
    again: defaultdict[str, list[_Give]] = field(default_factory=lambda: defaultdict[str, list[_Give]](list))

    def give(self, source: _Source, give: _Give) -> None:
        instances = self.given.setdefault(source, [])
        if instances:
            self.again[give.lane].append(give)
        instances.append(give)
        self.by_lineage[give.lineage].append(give)

    def withhold(self, source: _Source) -> None:
        if self.given.get(source):
            self.given[source].pop()

    def erase(self, give: _Give) -> None:
        self.erased[give.lineage].append(give)
        self.by_lineage[give.lineage].append(give)

    def replaced(self, give: _Give, until_ms: int) -> bool:
        """Whether a decision taken until then may have replaced what `give` wrote."""
        return any(
            other.decided_ms <= until_ms and (other.seq > give.seq or other.lane != give.lane)
            for other in self.by_lineage[give.lineage]
        )

    def given_once_more(self, give: _Give, until_ms: int) -> bool:
        """Whether copies were given once more after `give` and until then, as when the inbox was made anew."""
        again = self.again[give.lane]
        after = bisect_right(again, give.seq, key=lambda other: other.seq)
        return after < len(again) and again[after].decided_ms <= until_ms


class Decisions:
    """All decisions of all lanes. `add` takes them in the order of their numbers, lane by lane or mixed."""

    def __init__(self) -> None:
        self._members: defaultdict[str, _Decided] = defaultdict(_Decided)

    def add(self, decision: Decision) -> None:
        """Take one decision in."""
        if decision["outcome"] != "ACCEPTED":
            return
        source = _Source(decision["topic"], decision["offset"])
        lineage = f"{decision['publisher']}/{decision['lineage_id']}"
        stamp = (source.lane, decision["seq"], decision["decided_at"], lineage, decision["sha256"])
        for given in decision["given"]:
            self._members[given["member"]].give(source, _Give(*stamp, given["rule"]))
        for member in decision["erased"]:
            self._members[member].erase(_Give(*stamp, ""))
        if decision["kind"] == "WITHHELD":
            for refused in decision["refused"]:
                self._members[refused["member"]].withhold(source)

    def of(self, member: str) -> _Decided:
        """What was decided about `member`."""
        return self._members[member]

    @property
    def members(self) -> Sequence[str]:
        """Everyone who was ever given something."""
        return sorted(self._members)


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
        one = _Comparison(member, decisions.of(member), by_member[member], clocks_ms)
        found += one.findings()
        coverage.append(one.coverage())
    return found, coverage


class _Told(NamedTuple):
    """An item, and when its member had read past it at the latest, by the brokers' clock."""

    item: Item
    read_ms: int


_Range: TypeAlias = list[_Told]
"""The items of receipts of one series between which there is no gap, in the order of their offsets."""


class _Comparison:
    def __init__(self, member: str, decided: _Decided, receipts: Sequence[Receipt], clocks_ms: int) -> None:
        self._member = member
        self._decided = decided
        self._receipts = receipts
        self._clocks_ms = clocks_ms
        self._ranges = [*_ranges(receipts)]
        items = [told.item for one in self._ranges for told in one]
        self._came = {_Source(item.topic, item.source_offset) for item in items if isinstance(item, Copied)}
        self._came_erased = {item.key for item in items if isinstance(item, Erased)}
        self._replaced: set[_Source] = set()
        self._lost: set[_Source] = set()

    def findings(self) -> Iterator[Found]:
        # two readers of one inbox tell of the same record
        yield from dict.fromkeys(self._unfounded())
        yield from dict.fromkeys(one for told in self._ranges for one in self._missing(told))

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
            times = Counter[_Source | str]()
            for item in items:
                place = item.key if isinstance(item, Erased) else _Source(item.topic, item.source_offset)
                times[place] += 1
                finding = self._check_erased(item) if isinstance(item, Erased) else self._check_copied(item)
                yield from finding or self._check_times(item, place, times[place])

    def _check_copied(self, item: Copied) -> list[Found]:
        source = _Source(item.topic, item.source_offset)
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

    def _check_times(self, item: Item, place: _Source | str, times: int) -> list[Found]:
        decided = self._decided.erased[place] if isinstance(place, str) else self._decided.given[place]
        if times <= len(decided):
            return []
        return [self._found(Finding.UNDECIDED, item, f"came {times} times, decided {len(decided)} times")]

    def _found(self, finding: Finding, item: Item, detail: str, give: _Give | None = None) -> Found:
        place = item.key if isinstance(item, Erased) else _place(_Source(item.topic, item.source_offset))
        lane, seq = (give.lane, give.seq) if give else (None, None)
        return Found(finding, self._member, place, lane, seq, item.offset, detail)

    # -- what was decided and never came -------------------------------------------------------------------------------

    def _missing(self, told: _Range) -> Iterator[Found]:
        order: defaultdict[str, _Order] = defaultdict(_Order)
        for item, read_ms in told:
            if isinstance(item, Copied):
                source = _Source(item.topic, item.source_offset)
                gives = self._decided.given.get(source)
                if gives:
                    order[source.lane].append(gives[0].seq, gives[-1].seq, read_ms)
        for one in order.values():
            one.close()
        for source, gives in self._decided.given.items():
            if source in self._came or not gives or source.lane not in order:
                continue
            read = [order[source.lane].read_past(give.seq) for give in gives]
            yield from self._missing_copy(source, gives, read)
        yield from self._missing_erasures(order)

    def _missing_copy(self, source: _Source, gives: list[_Give], read: list[int | None]) -> Iterator[Found]:
        for give, read_ms in zip(gives, read, strict=True):
            if read_ms is None:
                continue
            if self._is_gone(give, read_ms):
                self._replaced.add(source)
            else:
                self._lost.add(source)
                yield Found(Finding.MISSING, self._member, _place(source), give.lane, give.seq)

    def _is_gone(self, give: _Give, read_ms: int) -> bool:
        """Whether what `give` wrote may rightly not be there when the member read past its place."""
        until_ms = read_ms + self._clocks_ms
        return self._decided.replaced(give, until_ms) or self._decided.given_once_more(give, read_ms + ANEW_MS)

    def _missing_erasures(self, order: dict[str, _Order]) -> Iterator[Found]:
        for key, gives in self._decided.erased.items():
            last = gives[-1]
            if key in self._came_erased or last.lane not in order or self._decided.by_lineage[key][-1] is not last:
                continue
            read_ms = order[last.lane].read_past(last.seq)
            if read_ms is None or read_ms - last.decided_ms > ERASURE_MS:
                continue
            if not self._decided.given_once_more(last, read_ms + ANEW_MS):
                yield Found(Finding.MISSING, self._member, key, last.lane, last.seq, detail="an erasure")


class _Order:
    """The decisions of one lane whose copies lie in one range, in the order of the copies."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._read_ms: list[int] = []

    def append(self, first: int, last: int, read_ms: int) -> None:
        """A copy that a decision from `first` to `last` gave."""
        self._first.append(first)
        self._last.append(last)
        self._read_ms.append(read_ms)

    def close(self) -> None:
        """All are there."""
        self._first = [*accumulate(self._first, max)]
        self._last = [*accumulate(self._last, min)]

    def read_past(self, seq: int) -> int | None:
        """When the place was read where the copy of decision `seq` must lie; None when it need not lie in the range."""
        after = bisect_right(self._first, seq)
        if after == len(self._first) or after == 0 or self._last[after - 1] >= seq:
            return None
        return self._read_ms[after]


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


def _place(source: _Source) -> str:
    return f"{source.topic}/{source.offset}"
