"""What members have gained and were not given yet: counted before any of it is given. Pure.

A rule that is wrong must not pour out the stock in seconds: who would be given more live alerts at once than its bound
is given none of them, until the secretariat releases them or the rule is put right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

GAINS_MAX: Final = 10_000

Bound = Callable[[str], int]
"""How many live alerts a member may be given at once because it has gained them."""


@dataclass(frozen=True, slots=True)
class Release:
    """That `recipient` may be given up to `live_alerts_max` live alerts of `jurisdiction` at once.

    Until `valid_to`, milliseconds since 1970.
    """

    recipient: str
    jurisdiction: str
    live_alerts_max: int
    valid_to: int


class Releases:
    """What the secretariat has released. Immutable."""

    def __init__(self, releases: Iterable[Release] = ()) -> None:
        self._for: defaultdict[tuple[str, str], list[Release]] = defaultdict(list)
        for one in releases:
            self._for[one.recipient, one.jurisdiction].append(one)

    def bound(self, jurisdiction: str, usual: int, now_ms: int) -> Bound:
        """The bound of each member in a lane: the `usual` one, or more while it is released."""

        def bound(member: str) -> int:
            released = self._for.get((member, jurisdiction), ())
            return max((usual, *(one.live_alerts_max for one in released if now_ms <= one.valid_to)))

        return bound


class Gains:
    """The lineages that each member has gained, by member."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, None]] = {}

    def found(self, key: str, members: Iterable[str]) -> None:
        """`members` have gained the lineage `key`."""
        for member in members:
            self._keys.setdefault(member, {})[key] = None

    def settled(self, key: str, members: Iterable[str]) -> None:
        """`members` have been given it, or are not to be given it any more."""
        for member in members:
            keys = self._keys.get(member, {})
            keys.pop(key, None)
            if not keys:
                self._keys.pop(member, None)

    def take_all(self) -> Iterable[str]:
        """Forget everything, since sight or subscriptions have changed: the lineages to look at again."""
        keys = dict.fromkeys(key for keys in self._keys.values() for key in keys)
        self._keys.clear()
        return keys

    def ready(self, bound: Bound) -> Iterator[tuple[str, frozenset[str]]]:
        """Each lineage with the members who may be given it now."""
        members = [member for member, keys in self._keys.items() if len(keys) <= bound(member)]
        seen: set[str] = set()
        for member in members:
            for key in self._keys[member]:
                if key not in seen:
                    seen.add(key)
                    yield key, frozenset(one for one in members if key in self._keys[one])

    def any_ready(self, bound: Bound) -> bool:
        """Whether somebody may be given something now."""
        return any(len(keys) <= bound(member) for member, keys in self._keys.items())

    def held(self, bound: Bound) -> dict[str, int]:
        """Who has gained more than its bound, and how many live alerts that would be."""
        return {member: len(keys) for member, keys in self._keys.items() if len(keys) > bound(member)}
