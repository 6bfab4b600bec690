"""What secretariats have put on hold: of a publisher, of what a member was given, or of a period. Pure.

A hold is no status of a lineage: it goes on living. A LEGAL one makes the exchange keep what it would erase; in a
QUARANTINE nobody is newly given it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class HoldKind(StrEnum):
    """What a hold does."""

    LEGAL = "LEGAL"
    QUARANTINE = "QUARANTINE"


class Published(NamedTuple):
    """A revision of the lineage `key` (publisher/lineage_id): where and when it was published, and who was given it.

    `appended_at` is the broker's time, milliseconds since 1970.
    """

    key: str
    topic: str
    offset: int
    appended_at: int
    given: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """What one hold is on: what meets each of the parts that it has, of which there is one at least.

    `publisher` told it, of the lineage `lineage_id`; `recipient` was given it; the broker took it in at
    `published_from` or later, and before `published_to` (milliseconds since 1970). `since` is the first offset that it
    is on, by alert topic; a topic that is not named is on hold as a whole. `member` is the secretariat, which names it
    `hold_id`.
    """

    member: str
    hold_id: str
    kind: HoldKind
    publisher: str | None = None
    lineage_id: str | None = None
    since: Mapping[str, int] = field(default_factory=dict[str, int])
    reference: str = ""
    lifted: bool = False
    recipient: str | None = None
    published_from: int | None = None
    published_to: int | None = None

    @property
    def name(self) -> str:
        """What it is called in the ledger."""
        return f"{self.member}/{self.hold_id}"

    def is_on(self, one: Published) -> bool:
        """Whether it is on this revision."""
        publisher, _, lineage_id = one.key.partition("/")
        return (
            self.publisher in (None, publisher)
            and self.lineage_id in (None, lineage_id)
            and (self.recipient is None or self.recipient in one.given)
            and (self.published_from is None or self.published_from <= one.appended_at)
            and (self.published_to is None or one.appended_at < self.published_to)
            and one.offset >= self.since.get(one.topic, 0)
        )

    def fault(self) -> str | None:
        """Why it cannot mean what it says, with the part to change; None: it can."""
        if (self.publisher, self.recipient, self.published_from, self.published_to) == (None, None, None, None):
            return "publisher: name it, a recipient or a period; a hold on everything is none"
        if self.lineage_id is not None and self.publisher is None:
            return "publisher: a lineage is named by its publisher too"
        if self.recipient is not None and self.kind is HoldKind.QUARANTINE:
            return "recipient: a quarantine is on who may newly be given something; name a publisher or a period"
        if None not in (self.published_from, self.published_to) and self.published_from >= self.published_to:  # type: ignore[operator]
            return "published_to: not after published_from"
        return None


class Holds:
    """The holds of all secretariats. Immutable, so lanes share one without a lock.

    What is asked of one revision looks at the holds on its lineage, on its publisher and on those who were given it,
    and at those that name a period alone, which are few.
    """

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        self.all = tuple(holds)
        self.lifted = frozenset(hold.name for hold in self.all if hold.lifted)
        self._of: defaultdict[tuple[HoldKind, str], list[Hold]] = defaultdict(list)
        for hold in self.all:
            if not hold.lifted:
                self._of[hold.kind, _filed_under(hold)].append(hold)

    def on(self, kind: HoldKind, one: Published) -> Iterator[Hold]:
        """The holds of `kind` on a revision."""
        if not self._of:
            return
        names = (one.key, one.key.partition("/")[0], _ANY, *map(_to, one.given))
        for name in names:
            yield from (hold for hold in self._of.get((kind, name), ()) if hold.is_on(one))

    def stop(self, one: Published) -> bool:
        """Whether nobody is newly given it."""
        return next(self.on(HoldKind.QUARANTINE, one), None) is not None


# no member and no lineage is called so
_ANY = "*"


def _to(recipient: str) -> str:
    return f">{recipient}"


def _filed_under(hold: Hold) -> str:
    """The narrowest name by which it is found."""
    if hold.publisher is not None:
        return hold.publisher if hold.lineage_id is None else f"{hold.publisher}/{hold.lineage_id}"
    return _ANY if hold.recipient is None else _to(hold.recipient)
