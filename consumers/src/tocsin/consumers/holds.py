"""What the secretariat has put on hold of a publisher. Pure.

A hold is no status of a lineage: it goes on living. A LEGAL one makes the exchange keep what it would erase; in a
QUARANTINE nobody is newly given it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class HoldKind(StrEnum):
    """What a hold does."""

    LEGAL = "LEGAL"
    QUARANTINE = "QUARANTINE"


@dataclass(frozen=True, slots=True)
class Hold:
    """What one hold is on: of `publisher` the lineage `lineage_id`, or everything.

    `since` is the first offset that it is on, by alert topic; a topic that is not named is on hold as a whole. `member`
    is the secretariat, which names it `hold_id`.
    """

    member: str
    hold_id: str
    kind: HoldKind
    publisher: str
    lineage_id: str | None = None
    since: Mapping[str, int] = field(default_factory=dict[str, int])
    reference: str = ""
    lifted: bool = False

    @property
    def name(self) -> str:
        """What it is called in the ledger."""
        return f"{self.member}/{self.hold_id}"

    def is_on(self, lineage_id: str, topic: str, offset: int) -> bool:
        """Whether it is on the revision of its publisher that lies there."""
        return self.lineage_id in (None, lineage_id) and offset >= self.since.get(topic, 0)


class Holds:
    """The holds of all secretariats. Immutable, so lanes share one without a lock."""

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        self.all = tuple(holds)
        self.lifted = frozenset(hold.name for hold in self.all if hold.lifted)
        self._of: defaultdict[tuple[HoldKind, str], list[Hold]] = defaultdict(list)
        for hold in self.all:
            if not hold.lifted:
                self._of[hold.kind, hold.publisher].append(hold)

    def on(self, kind: HoldKind, key: str, topic: str, offset: int) -> Iterator[Hold]:
        """The holds of `kind` on the revision of the lineage `key` (publisher/lineage_id) that lies there."""
        publisher, _, lineage_id = key.partition("/")
        return (hold for hold in self._of.get((kind, publisher), ()) if hold.is_on(lineage_id, topic, offset))

    def stop(self, key: str, topic: str, offset: int) -> bool:
        """Whether nobody is newly given it."""
        return next(self.on(HoldKind.QUARANTINE, key, topic, offset), None) is not None
