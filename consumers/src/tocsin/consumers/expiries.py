"""When lineages end by themselves: a queue by time, without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from tocsin.consumers.entries import Entries
from tocsin.consumers.entry import Entry

_HOUR_MS: Final = 3_600_000


class Expiries:
    """The lineages among `entries` by the time at which they end. To ask changes nothing that is told.

    What ends in later hours is only a list for each hour, since most lineages end in years.
    """

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._near: list[tuple[int, str]] = []
        self._later: dict[int, list[str]] = {}
        self._hour = -1

    def note(self, key: str, at_ms: int) -> None:
        """Take in that the lineage `key` ends at `at_ms` now, whatever was noted before."""
        if at_ms // _HOUR_MS <= self._hour:
            heappush(self._near, (at_ms, key))
        else:
            self._later.setdefault(at_ms // _HOUR_MS, []).append(key)

    def _come_to(self, hour: int) -> None:
        if hour <= self._hour:
            return
        self._hour = hour
        keys = [key for come in [one for one in self._later if one <= hour] for key in self._later.pop(come)]
        heads = [entry for key in keys if (entry := self._entries.head(key)) is not None]
        self._near += [(entry.ends_at, entry.key) for entry in heads]
        heapify(self._near)

    def within_hours(self, now_ms: int, hours: int) -> int:
        """How many lineages end so soon, or a few more: one that was put off is still counted where it was."""
        self._come_to(now_ms // _HOUR_MS)
        until = now_ms // _HOUR_MS + hours
        return len(self._near) + sum(len(keys) for hour, keys in self._later.items() if hour <= until)

    def any_due(self, now_ms: int) -> bool:
        """Whether a lineage has ended, and nothing was done about it yet."""
        return next(self.due(now_ms), None) is not None

    def due(self, now_ms: int) -> Iterator[Entry]:
        """The lineages that have ended by `now_ms`, oldest first, without content; due until they change."""
        self._come_to(now_ms // _HOUR_MS)
        taken: dict[str, int] = {}
        try:
            while self._near and self._near[0][0] <= now_ms:
                at, key = heappop(self._near)
                entry = self._entries.head(key)
                # what was noted for an earlier revision means nothing any more
                if key not in taken and entry is not None and entry.ends_at == at:
                    taken[key] = at
                    yield entry
        finally:
            for key, at in taken.items():
                heappush(self._near, (at, key))
