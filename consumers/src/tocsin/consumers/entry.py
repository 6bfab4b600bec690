"""An entry of the ledger: one lineage (or one notice), and who was given what of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tocsin.consumers.lineage import ENDED

ERASED = ""
"""The rule under which a member is not given a copy, but its copy is erased."""

Audience = tuple[tuple[str, ...], tuple[str, ...]]
"""Members and, beside each, the rule under which it is given something."""

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Given:
    """The members to whom one revision is given by one decision, each under its rule (parallel tuples).

    Under the rule `ERASED` it is not given, but what a member had before is erased.
    """

    seq: int
    revision: int
    members: tuple[str, ...]
    rules: tuple[str, ...]

    def without(self, members: frozenset[str]) -> Given:
        """The same decision less `members`."""
        kept = [pair for pair in zip(self.members, self.rules, strict=True) if pair[0] not in members]
        return replace(self, members=tuple(pair[0] for pair in kept), rules=tuple(pair[1] for pair in kept))


class Standing(NamedTuple):
    """What a member was last given, or owed, of a lineage, and by which decision; under the rule `ERASED`: no more."""

    revision: int
    rule: str
    seq: int


@dataclass(frozen=True, slots=True)
class Inbox:
    """The topic that is a member's inbox now. What was decided up to `since`, and paid, is not in it."""

    topic_id: str
    since: int = 0


_ANY_INBOX = Inbox("")


@dataclass(frozen=True, slots=True)
class Entry:
    """One lineage (or one notice): its current bytes, where and when they were published, and who was given what.

    `appended_at` is the broker's time, milliseconds since 1970.

    A lineage that has ended holds no bytes. It is kept until `forget_at`, so that nothing of it can be replayed and a
    late retraction still reaches everyone who was ever given it.
    """

    key: str
    kind: str
    inbox_key: str
    revision: int
    status: str
    topic: str
    partition: int
    offset: int
    appended_at: int
    sha256: bytes
    expires_at: int
    forget_at: int
    signer: str
    test: bool
    value: bytes
    headers: Headers
    given: tuple[Given, ...]

    def standing(self) -> dict[str, Standing]:
        """Everyone ever given, or owed, any revision -> the last of it."""
        return {
            member: Standing(given.revision, rule, given.seq)
            for given in self.given
            for member, rule in zip(given.members, given.rules, strict=True)
        }

    def holds_current(self, inboxes: Mapping[str, Inbox]) -> frozenset[str]:
        """The members given, or owed, the current revision, in the inbox that they have now."""
        return frozenset(
            member
            for member, last in self.standing().items()
            if last.rule != ERASED
            and last.revision == self.revision
            and last.seq > inboxes.get(member, _ANY_INBOX).since
        )

    @property
    def ended(self) -> bool:
        """Whether the lineage is retracted or expired: its content is gone from the exchange."""
        return self.status in ENDED

    @property
    def ends_at(self) -> int:
        """When something is to be done about it by time alone: it expires, or, having ended, is forgotten."""
        return self.forget_at if self.ended else self.expires_at

    def live(self, now_ms: int) -> bool:
        """Whether a newcomer may still be given it: an alert, not retracted, not expired."""
        return self.kind == "ALERT" and not self.ended and self.expires_at > now_ms

    def without(self, seq: int, members: frozenset[str]) -> Entry:
        """The same entry after `members` were withheld what decision `seq` gave them."""
        kept = (given.without(members) if given.seq == seq else given for given in self.given)
        return replace(self, given=tuple(given for given in kept if given.members))
