"""What members ask for: subscriptions, what they look at in an alert, and an index that finds those that match.

A subscription is all of its parts: an empty one is any, and what is given must hold. A member's subscriptions add up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tocsin.schemas.names import AlertTopic

Value = str | int
Facts = Mapping[str, frozenset[Value]]

ALERT_FILTERS: Final = ("tokens", "host_asns", "tlds", "mccs", "reasons", "countries", "rails")
"""What looks into an alert; the others need its topic only. Of two that are as rare, the first finds."""

_FILTER_OF: Final[Mapping[str, str]] = {
    "host_asn": "host_asns",
    "tld": "tlds",
    "mcc": "mccs",
    "mccs": "mccs",
    "reasons": "reasons",
    "country": "countries",
    "acquirer_country": "countries",
    "host_country": "countries",
    "rail": "rails",
    "rails": "rails",
}
_TOKENS: Final = ("_token", "_tokens")
# its `mcc` says how well one matched, and is none
_NOT_FACTS: Final = "field_matches"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A member's own filter over what it wants. Empty sets mean "any"; `everything` is "everything I may see".

    `reasons` are `SCHEME:code`, `countries` alpha-2 in capitals, of the merchant, an acquirer or a host; `tokens` is a
    watch-list: any token of the alert, of whatever kind. `own` asks for the member's own alerts, too.
    """

    member: str
    everything: bool = True
    types: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    tlps: frozenset[str] = frozenset()
    own: bool = False
    reasons: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    rails: frozenset[str] = frozenset()
    mccs: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    host_asns: frozenset[int] = frozenset()
    tlds: frozenset[str] = frozenset()
    subscription_id: str = ""

    def wants(self, topic: AlertTopic) -> bool:
        """Whether alerts of `topic` are asked for, all of them or some."""
        if self.everything:
            return True
        return (
            (not self.types or topic.type.value in self.types)
            and (not self.jurisdictions or topic.jurisdiction in self.jurisdictions)
            and (not self.tlps or topic.tlp.value in self.tlps)
        )

    def alert_filters(self) -> dict[str, frozenset[Value]]:
        """The parts that look into an alert, by name; none when its topic decides."""
        if self.everything:
            return {}
        return {name: given for name in ALERT_FILTERS if (given := getattr(self, name))}

    def matches(self, facts: Facts) -> bool:
        """Whether every part that looks into an alert holds for its `facts`."""
        return all(not given.isdisjoint(facts[name]) for name, given in self.alert_filters().items())


def facts_of(details: Mapping[str, Any]) -> Facts:
    """What the filters look at in the `details` of a decoded alert, by filter."""
    found: dict[str, set[Value]] = {name: set() for name in ALERT_FILTERS}
    for name, value in _leaves("", details):
        looked_at = "tokens" if name.endswith(_TOKENS) else _FILTER_OF.get(name)
        if looked_at is not None:
            found[looked_at].add(value)
    return {name: frozenset(values) for name, values in found.items()}


def _leaves(name: str, node: Any) -> Iterator[tuple[str, Value]]:
    if isinstance(node, list):
        for one in node:
            yield from _leaves(name, one)
    elif isinstance(node, dict):
        if name == "reasons":
            yield name, f"{node['scheme']}:{node['code']}"
        elif name != _NOT_FACTS:
            for inner, value in node.items():
                yield from _leaves(inner, value)
    elif node is not None:
        yield name, node


class Index:
    """Finds the subscriptions that match an alert in time that depends on the alert and on what is found.

    Each stands under the values of its rarest part (a watch-list under its tokens, not under the country given with
    it), so an alert meets few that do not match in the end.
    """

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        selective = [(one, filters) for one in subscriptions if (filters := one.alert_filters())]
        given = Counter((name, value) for _, filters in selective for name in filters for value in filters[name])
        self._under: defaultdict[tuple[str, Value], list[Subscription]] = defaultdict(list)
        for one, filters in selective:
            rarest = min(filters, key=lambda name: max(given[name, value] for value in filters[name]))
            for value in filters[rarest]:
                self._under[rarest, value].append(one)

    def candidates(self, facts: Facts) -> list[Subscription]:
        """Those that `facts` meet in their rarest part, each once."""
        met = {
            id(one): one
            for name, values in facts.items()
            for value in values
            for one in self._under.get((name, value), ())
        }
        return list(met.values())

    def matching(self, topic: AlertTopic, facts: Facts) -> list[Subscription]:
        """Those that match an alert of `topic`."""
        return [one for one in self.candidates(facts) if one.wants(topic) and one.matches(facts)]


class Subscriptions(Mapping[str, tuple[Subscription, ...]]):
    """What everybody asks for: member -> its subscriptions. Immutable, so lanes share one without a lock."""

    def __init__(self, subscriptions: Iterable[Subscription] = ()) -> None:
        of: defaultdict[str, list[Subscription]] = defaultdict(list)
        for one in subscriptions:
            of[one.member].append(one)
        self._of = {member: tuple(asked) for member, asked in of.items()}

    def __getitem__(self, member: str) -> tuple[Subscription, ...]:
        return self._of[member]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    @cached_property
    def index(self) -> Index:
        """Over those that look into alerts; made once."""
        return Index(one for asked in self._of.values() for one in asked)

    def changed_since(self, earlier: Subscriptions) -> frozenset[str]:
        """The members that ask for something else than in `earlier`."""
        return frozenset(m for m in self._of.keys() | earlier.keys() if self.get(m) != earlier.get(m))
