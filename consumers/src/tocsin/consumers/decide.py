"""The decision on one alert: a pure function of (alert, sight, subscriptions, ledger entry).

Order of the checks for one member: not the publisher itself (unless it asks) -> subscribed -> sight -> not expired.
"Everything I may see" asks for nothing beyond sight, so it is never refused; an explicit subscription that meets no
sight is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.schemas.names import AlertTopic

NO_SIGHT = "no-sight"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A member's own filter over what it wants. Empty sets mean "any"; `everything` is "everything I may see"."""

    member: str
    everything: bool = True
    types: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    tlps: frozenset[str] = frozenset()
    own: bool = False

    def wants(self, topic: AlertTopic) -> bool:
        """Whether alerts of `topic` are asked for."""
        if self.everything:
            return True
        return (
            (not self.types or topic.type.value in self.types)
            and (not self.jurisdictions or topic.jurisdiction in self.jurisdictions)
            and (not self.tlps or topic.tlp.value in self.tlps)
        )


@dataclass(frozen=True, slots=True)
class Audience:
    """Who asks for the alerts of one topic, split by sight. Worked out once per topic and change of either.

    `members` and `rules` are parallel. `refused` asked by name for what the ACLs do not allow. `own` are the members
    that ask for their own alerts too.
    """

    members: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    _for_publisher: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(
        default_factory=dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    )

    def for_publisher(self, publisher: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The members who are given an alert of `publisher`, and their rules."""
        known = self._for_publisher.get(publisher)
        if known is None:
            known = (self.members, self.rules)
            if publisher in self.members and publisher not in self.own:
                at = self.members.index(publisher)
                known = (self.members[:at] + self.members[at + 1 :], self.rules[:at] + self.rules[at + 1 :])
            self._for_publisher[publisher] = known
        return known

    def refused_for(self, publisher: str) -> tuple[str, ...]:
        """The members who matched an alert of `publisher` and may not be told."""
        return tuple(member for member in self.refused if member != publisher or member in self.own)


def audience(topic: AlertTopic, readers: Mapping[str, str], subscriptions: Mapping[str, Subscription]) -> Audience:
    """Split the active members' `subscriptions` by `readers` (member -> rule), which is sight on `topic`."""
    asking = {member: wish for member, wish in subscriptions.items() if wish.wants(topic)}
    allowed = [member for member in readers if member in asking]
    return Audience(
        members=tuple(allowed),
        rules=tuple(readers[member] for member in allowed),
        refused=tuple(m for m, wish in sorted(asking.items()) if not wish.everything and m not in readers),
        own=frozenset(member for member, wish in asking.items() if wish.own),
    )
