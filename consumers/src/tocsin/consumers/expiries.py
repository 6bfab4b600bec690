"""When lineages end by themselves: a queue by time, without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from tocsin.consumers.ledger import Entry, Ledger


def ends_at(entry: Entry) -> int:
    """When something is to be done about `entry` by time alone: it expires, or, having ended, is forgotten."""
    return entry.forget_at if entry.ended else entry.expires_at


class Expiries:
    """The lineages of a ledger by the time at which they end. To ask changes nothing that is told."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: list[tuple[int, str]] = []
        for entry in ledger.entries.values():
            self.note(entry)

    def note(self, entry: Entry) -> None:
        """Take in that `entry` is now what the ledger holds under its key."""
        if entry.kind == "ALERT":
            heappush(self._queue, (ends_at(entry), entry.key))

    def any_due(self, now_ms: int) -> bool:
        """Whether a lineage has ended, and nothing was done about it yet."""
        return next(self.due(now_ms), None) is not None

    def due(self, now_ms: int) -> Iterator[Entry]:
        """The lineages that have ended by `now_ms`, the oldest first. They stay due until they change."""
        taken: list[tuple[int, str]] = []
        try:
            while self._queue and self._queue[0][0] <= now_ms:
                at, key = heappop(self._queue)
                entry = self._ledger.entries.get(key)
                # what was noted for an earlier revision means nothing any more
                if entry is not None and ends_at(entry) == at:
                    taken.append((at, key))
                    yield entry
        finally:
            for one in taken:
                heappush(self._queue, one)
