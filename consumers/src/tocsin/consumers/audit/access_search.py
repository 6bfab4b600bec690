"""Searches what brokers' logs say on record, and says of what time there is any. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tocsin.consumers.audit.access_lines import is_direct_read, login_of, member_of
from tocsin.consumers.audit.access_log import AccessTopic
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import RESERVED_IDS
from tocsin.schemas.records import Access, UnreadLine

PARTS_APART_MS: Final = 1_000
"""Parts of a log meet; so far apart, something is missing between them."""


class Found(NamedTuple):
    """An access that was asked for: in whose log, and at which offset of the topic it is on record."""

    source: str
    offset: int
    access: Access

    @property
    def member(self) -> str | None:
        """The member whose login it was."""
        return member_of(self.access["principal"], RESERVED_IDS)

    @property
    def direct(self) -> bool:
        """Whether alerts were read past the exchange."""
        return is_direct_read(self.access)


class Unread(NamedTuple):
    """A line that could not be understood; it is shown whatever was asked for."""

    source: str
    log_to: int
    line: UnreadLine


class Gap(NamedTuple):
    """A time of which a broker's log is not on record."""

    source: str
    from_ms: int
    to_ms: int


@dataclass(slots=True)
class Covered:
    """The time of which a broker's log is on record, but for the gaps."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for; None is any. `topic` may end with `*`."""

    from_ms: int
    to_ms: int
    principal: str | None = None
    member: str | None = None
    topic: str | None = None
    verdict: str | None = None
    direct: bool = False

    def matches(self, found: Found) -> bool:
        """Whether an access is asked for."""
        one = found.access
        return (
            one["last_at"] >= self.from_ms
            and one["first_at"] < self.to_ms
            and self.verdict in (None, one["verdict"])
            and self.member in (None, found.member)
            and (self.principal is None or self.principal in (one["principal"], login_of(one["principal"])))
            and (self.topic is None or (one["resource_type"] == "TOPIC" and _named(self.topic, one["resource"])))
            and (found.direct or not self.direct)
        )


def _named(asked: str, name: str | None) -> bool:
    # without a name there were more than are told apart: any of them may have been the one
    return name is None or name == asked or (asked.endswith("*") and name.startswith(asked[:-1]))


@dataclass(slots=True)
class Search:
    """Takes in the records of the topic, in their order, and keeps what is asked for."""

    asked: Asked
    found: list[Found] = field(default_factory=list[Found])
    unread: list[Unread] = field(default_factory=list[Unread])
    gaps: list[Gap] = field(default_factory=list[Gap])
    covered: dict[str, Covered] = field(default_factory=dict[str, Covered])
    _topic: AccessTopic = field(default_factory=AccessTopic)

    def take(self, record: BusRecord) -> None:
        """Take in the next record."""
        part = self._topic.take(record)
        if part is None:
            return
        source, begin, end = part["source"], part["log_from"], part["log_to"]
        self._cover(source, begin, end)
        if part["kind"] == "LOST":
            self._miss(source, begin, end)
        if self._is_of_period(begin, end):
            self.unread += [Unread(source, end, line) for line in part["unread"]]
        hits = (Found(source, record.offset, access) for access in part["accesses"])
        self.found += filter(self.asked.matches, hits)

    def _cover(self, source: str, begin: int, end: int) -> None:
        known = self.covered.setdefault(source, Covered(begin, begin))
        if begin > known.to_ms + PARTS_APART_MS:
            self._miss(source, known.to_ms, begin)
        known.to_ms = max(known.to_ms, end)

    def _miss(self, source: str, begin: int, end: int) -> None:
        if self._is_of_period(begin, end):
            self.gaps.append(Gap(source, begin, end))

    def _is_of_period(self, begin: int, end: int) -> bool:
        return end >= self.asked.from_ms and begin < self.asked.to_ms
