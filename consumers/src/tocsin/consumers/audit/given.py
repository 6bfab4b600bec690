"""What was decided about whom, packed: of many decisions more than fits into memory as objects. Pure.

A member's gives lie one after another in a scratch, and are objects only while that member is looked at.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from tocsin.schemas.records import Decision

PIECE_BYTES: Final = 1 << 15
"""How much of a member's waits in memory before it goes into the scratch."""
_GIVE, _WITHHOLD, _ERASE = range(3)
_EVENT: Final = struct.Struct("<BI")
_STAMP: Final = struct.Struct("<qqqI32sI")


class Source(NamedTuple):
    """Where an alert lies."""

    topic: str
    offset: int

    @property
    def lane(self) -> str:
        """The lane that decides it; empty when the topic is none of alerts."""
        return self.topic.split(".")[1] if self.topic.startswith("alerts.") else ""


class Give(NamedTuple):
    """One decision that gives a copy, or erases one: when it was decided, what and under which rule."""

    lane: str
    seq: int
    decided_ms: int
    lineage: str
    sha256: bytes
    rule: str


@dataclass(slots=True)
class Decided:
    """What was decided about one member. `given` is less what was withheld."""

    given: dict[Source, list[Give]] = field(default_factory=dict[Source, list[Give]])
    erased: defaultdict[str, list[Give]] = field(default_factory=lambda: defaultdict[str, list[Give]](list))
    by_lineage: defaultdict[str, list[Give]] = field(default_factory=lambda: defaultdict[str, list[Give]](list))
    again: defaultdict[str, list[Give]] = field(default_factory=lambda: defaultdict[str, list[Give]](list))

    def give(self, source: Source, give: Give) -> None:
        """A copy is given."""
        instances = self.given.setdefault(source, [])
        if instances:
            self.again[give.lane].append(give)
        instances.append(give)
        self.by_lineage[give.lineage].append(give)

    def withhold(self, source: Source) -> None:
        """The copy that was given last is not written."""
        if self.given.get(source):
            self.given[source].pop()

    def erase(self, give: Give) -> None:
        """The copy of a lineage is erased."""
        self.erased[give.lineage].append(give)
        self.by_lineage[give.lineage].append(give)

    def replaced(self, give: Give, until_ms: int) -> bool:
        """Whether a decision taken until then may have replaced what `give` wrote."""
        return any(
            other.decided_ms <= until_ms and (other.seq > give.seq or other.lane != give.lane)
            for other in self.by_lineage[give.lineage]
        )

    def given_once_more(self, give: Give, until_ms: int) -> bool:
        """Whether copies were given once more after `give` and until then, as when the inbox was made anew."""
        again = self.again[give.lane]
        after = bisect_right(again, give.seq, key=lambda other: other.seq)
        return after < len(again) and again[after].decided_ms <= until_ms


class Scratch(Protocol):
    """Bytes by number, which are appended and read as a whole."""

    def append(self, number: int, content: bytes | bytearray) -> None:
        """Append to what lies under `number`."""
        ...

    def read(self, number: int) -> bytes:
        """What lies under `number`; nothing if nothing was appended."""
        ...


class MemoryScratch:
    """A scratch in memory."""

    def __init__(self) -> None:
        self._content: defaultdict[int, bytearray] = defaultdict(bytearray)

    def append(self, number: int, content: bytes | bytearray) -> None:
        """Append to what lies under `number`."""
        self._content[number] += content

    def read(self, number: int) -> bytes:
        """What lies under `number`."""
        return bytes(self._content[number])


class _Texts:
    """Texts that come again and again, by number."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.all)
            self.all.append(text)
        return found


class Decisions:
    """All decisions of all lanes. `add` takes them in the order of their numbers, lane by lane or mixed.

    With `only`, what is given to others is no more than counted.
    """

    def __init__(self, scratch: Scratch | None = None, only: Collection[str] | None = None) -> None:
        self._scratch: Scratch = MemoryScratch() if scratch is None else scratch
        self._only = None if only is None else frozenset(only)
        self._texts = _Texts()
        self._numbers: dict[str, int] = {}
        self._waiting: list[bytearray] = []
        self._others: Counter[str] = Counter()

    def add(self, decision: Decision) -> None:
        """Take one decision in."""
        if decision["outcome"] != "ACCEPTED":
            return
        stamp = self._stamp(decision)
        for given in decision["given"]:
            self._note(given["member"], _GIVE, given["rule"], stamp)
        for member in decision["erased"]:
            self._note(member, _ERASE, "", stamp)
        if decision["kind"] == "WITHHELD":
            for refused in decision["refused"]:
                self._note(refused["member"], _WITHHOLD, "", stamp)

    def _stamp(self, decision: Decision) -> bytes:
        if self._only is not None and not self._only:
            # nothing of it is kept
            return b""
        lineage = f"{decision['publisher']}/{decision['lineage_id']}".encode()
        stamp = _STAMP.pack(
            decision["seq"],
            decision["decided_at"],
            decision["offset"],
            self._texts.number(decision["topic"]),
            decision["sha256"],
            len(lineage),
        )
        return stamp + lineage

    def _note(self, member: str, kind: int, rule: str, stamp: bytes) -> None:
        if self._only is not None and member not in self._only:
            if kind != _ERASE:
                self._others[member] += 1 if kind == _GIVE else -1
            return
        number = self._numbers.get(member)
        if number is None:
            number = self._numbers[member] = len(self._waiting)
            self._waiting.append(bytearray())
        waiting = self._waiting[number]
        waiting += _EVENT.pack(kind, self._texts.number(rule))
        waiting += stamp
        if len(waiting) >= PIECE_BYTES:
            self._scratch.append(number, waiting)
            waiting.clear()

    def of(self, member: str) -> Decided:
        """What was decided about `member`."""
        decided = Decided()
        for kind, source, give in self._events(member):
            if kind == _GIVE:
                decided.give(source, give)
            elif kind == _ERASE:
                decided.erase(give)
            else:
                decided.withhold(source)
        return decided

    def _events(self, member: str) -> Iterator[tuple[int, Source, Give]]:
        number = self._numbers.get(member)
        if number is None:
            return
        content, texts, at = self._scratch.read(number) + self._waiting[number], self._texts.all, 0
        while at < len(content):
            kind, rule = _EVENT.unpack_from(content, at)
            at += _EVENT.size
            seq, decided_ms, offset, topic, sha256, length = _STAMP.unpack_from(content, at)
            at += _STAMP.size
            source = Source(texts[topic], offset)
            lineage = content[at : at + length].decode()
            at += length
            yield kind, source, Give(source.lane, seq, decided_ms, lineage, sha256, texts[rule])

    @property
    def members(self) -> Sequence[str]:
        """Everyone about whom something was decided, of those that are asked for."""
        return sorted(self._numbers)

    @property
    def others(self) -> Mapping[str, int]:
        """How many copies were given to everyone else."""
        return self._others
