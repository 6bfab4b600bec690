"""What became of the copies of a lineage, by the decisions on it: a fold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

EXPIRED: Final = "EXPIRED"
WITHHELD: Final = "WITHHELD"
ALERT: Final = "ALERT"
ACCEPTED: Final = "ACCEPTED"


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as the index has it: `number` rises in a lane, `entry` is its offset in the lane's topic.

    Times are milliseconds since 1970. `given` is member -> rule, `refused` member -> reason.
    """

    number: int
    lane: str
    entry: int
    seq: int
    kind: str
    outcome: str
    reason: str | None
    detail: str | None
    decided_at: int
    topic: str
    offset: int
    appended_at: int | None
    sha256: bytes
    key_id: str | None
    publisher: str | None
    lineage_id: str | None
    alert_id: str | None
    revision: int | None
    status: str | None
    acl_digest: str
    acl_read_at: int
    directory_version: int
    given: Mapping[str, str]
    refused: Mapping[str, str]
    erased: tuple[str, ...]

    @property
    def lineage(self) -> str | None:
        """publisher/lineage_id; None of a record that could not be verified."""
        return None if self.publisher is None or self.lineage_id is None else f"{self.publisher}/{self.lineage_id}"

    @property
    def place(self) -> str:
        """topic/offset of the record that it is about."""
        return f"{self.topic}/{self.offset}"

    @property
    def withdraws(self) -> bool:
        """Whether those whose copy it erases are told that it is withdrawn: time alone tells nobody."""
        return bool(self.erased) and self.kind != EXPIRED


@dataclass(slots=True)
class Copy:
    """That a member was given a revision, and what became of it.

    `withheld`: it was decided, and never written. `erased`: by which decision the copy went. `replaced`: the member was
    given a newer one in its place.
    """

    member: str
    rule: str
    by: Decided
    withheld: Decided | None = None
    erased: Decided | None = None
    replaced: Decided | None = None

    @property
    def state(self) -> str:
        """One word for it."""
        if self.withheld is not None:
            return "withheld"
        if self.erased is not None:
            return "expired" if self.erased.kind == EXPIRED else "erased"
        return "replaced" if self.replaced is not None else "held"


@dataclass(slots=True)
class Copies:
    """The copies of one lineage; `take` its decisions in order."""

    all: list[Copy] = field(default_factory=list[Copy])
    _of: dict[str, list[Copy]] = field(default_factory=dict[str, list[Copy]])

    def take(self, one: Decided) -> None:
        """Take one decision in."""
        for member in one.refused if one.kind == WITHHELD else ():
            self._withhold(member, one)
        for member in one.erased:
            for copy in self._of.get(member, ()):
                if copy.withheld is None and copy.erased is None:
                    copy.erased = one
        for member, rule in one.given.items():
            mine = self._of.setdefault(member, [])
            for copy in mine:
                if copy.replaced is None:
                    copy.replaced = one
            mine.append(Copy(member, rule, one))
            self.all.append(mine[-1])

    def _withhold(self, member: str, one: Decided) -> None:
        """The newest copy was never written, so it replaced nothing either."""
        mine = self._of.get(member, [])
        for copy in reversed(mine):
            if copy.withheld is None and copy.by.revision == one.revision:
                copy.withheld = one
                for earlier in mine:
                    if earlier.replaced is copy.by:
                        earlier.replaced = None
                return


def copies_of(decisions: Iterable[Decided]) -> list[Copy]:
    """What became of the copies of one lineage, whose decisions come in order."""
    found = Copies()
    for one in decisions:
        found.take(one)
    return found.all
