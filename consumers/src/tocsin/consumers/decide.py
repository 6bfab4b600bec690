"""The decision on one alert: a pure function of (alert, sight, subscriptions, ledger entry).

Order of the checks for one member: not the publisher itself (unless it asks) -> subscribed -> sight -> not expired.
"Everything I may see" asks for nothing beyond sight, so it is never refused; an explicit subscription that meets no
sight is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.consumers.subscriptions import Subscription, Subscriptions, facts_of
from tocsin.schemas.names import AlertTopic

NO_SIGHT = "no-sight"

Recipients = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who asks for every alert of one topic, split by sight. Worked out once per topic and change of either.

    `members` and `rules` are parallel. `refused` asked by name for what the ACLs do not allow. `own` and `refused_own`
    are those of each that ask for their own alerts too. `some` finds who asks for some of the alerts only; None when
    nobody does, and then an alert need not be looked into.
    """

    members: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    refused_own: frozenset[str] = frozenset()
    some: Some | None = None
    _for_publisher: dict[str, Recipients] = field(default_factory=dict[str, Recipients])

    def for_alert(self, publisher: str, record: Mapping[str, Any]) -> Recipients:
        """Who is given the alert `record` of `publisher`, and their rules; nobody is given a retraction."""
        if self.some is None:
            return self._whole(publisher)
        members, rules = self._whole(publisher)
        asked = self.some.asking(publisher, record)
        more = sorted(asked.intersection(self.some.readers).difference(members)) if asked else ()
        return (*members, *more), (*rules, *(self.some.readers[member] for member in more))

    def _whole(self, publisher: str) -> Recipients:
        known = self._for_publisher.get(publisher)
        if known is None:
            known = (self.members, self.rules)
            if publisher in self.members and publisher not in self.own:
                at = self.members.index(publisher)
                known = (self.members[:at] + self.members[at + 1 :], self.rules[:at] + self.rules[at + 1 :])
            self._for_publisher[publisher] = known
        return known

    def refused_for(self, publisher: str, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The members who matched the alert `record` of `publisher` and may not be told."""
        refused = tuple(member for member in self.refused if member != publisher or member in self.refused_own)
        if self.some is None:
            return refused
        return tuple(sorted({*refused, *self.some.asking(publisher, record).difference(self.some.readers)}))

    @property
    def widest(self) -> Audience:
        """The audience of an alert that matches whatever is asked of it."""
        return self.some.widest if self.some is not None else self

    def gains(self, known: Audience, changed: Collection[str]) -> bool:
        """Whether somebody may be given an alert that `known` did not give it; `changed` are who asks differently."""
        now, before = self.widest, known.widest
        if not (set(now.members) <= set(before.members) and now.own <= before.own):
            return True
        return any(m in known.partly and m in changed for m in now.members)

    @property
    def partly(self) -> frozenset[str]:
        """The members who may be given some alerts of the topic and not all."""
        wide = self.widest
        return frozenset(wide.members).difference(self.members) | wide.own.difference(self.own)


@dataclass(slots=True)
class Some:
    """Finds who asks for one alert of a topic, among the active members who ask for some of them.

    `readers` are those with sight, `widest` the audience if each of them asked for all.
    """

    topic: AlertTopic
    subscriptions: Subscriptions
    readers: Mapping[str, str]
    is_active: Callable[[str], bool]
    widest: Audience
    _last: tuple[Mapping[str, Any], list[Subscription]] | None = None

    def asking(self, publisher: str, record: Mapping[str, Any]) -> set[str]:
        """The members with a subscription that matches `record`."""
        if self._last is None or self._last[0] is not record:
            # asked twice about each alert: who is given it, who is refused
            self._last = (record, self.subscriptions.index.matching(self.topic, facts_of(record["details"])))
        return {
            one.member for one in self._last[1] if (one.own or one.member != publisher) and self.is_active(one.member)
        }


def audience(
    topic: AlertTopic, readers: Mapping[str, str], subscriptions: Subscriptions, is_active: Callable[[str], bool]
) -> Audience:
    """Split the active members' `subscriptions` by `readers` (member -> rule), which is sight on `topic`."""
    asking = [one for member in subscriptions if is_active(member) for one in subscriptions[member] if one.wants(topic)]
    whole = [one for one in asking if not one.alert_filters()]
    if len(whole) == len(asking):
        return _split(whole, readers)
    return _split(whole, readers, Some(topic, subscriptions, readers, is_active, _split(asking, readers)))


def _split(asking: Iterable[Subscription], readers: Mapping[str, str], some: Some | None = None) -> Audience:
    members = {one.member for one in asking}
    allowed = [member for member in readers if member in members]
    unseen = [one for one in asking if not one.everything and one.member not in readers]
    return Audience(
        members=tuple(allowed),
        rules=tuple(readers[member] for member in allowed),
        refused=tuple(sorted({one.member for one in unseen})),
        own=frozenset(one.member for one in asking if one.own),
        refused_own=frozenset(one.member for one in unseen if one.own),
        some=some,
    )
