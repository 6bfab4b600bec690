"""What a transaction holds, counted for the metrics: once for each alert, never for each copy. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Paid(NamedTuple):
    """One debt that a transaction pays: of which lineage, of which topic, by how many records in inboxes."""

    key: str
    topic: str
    records: int


@dataclass(slots=True)
class Tally:
    """`decisions` by kind, outcome and reason; members `refused` by reason.

    `arrived` has the broker's time (ms) of each lineage that is owed since, `skew_ms` by publisher the time of the
    newest alert at the broker less the time in it.
    """

    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    refused: Counter[str] = field(default_factory=Counter[str])
    arrived: dict[str, int] = field(default_factory=dict[str, int])
    paid: list[Paid] = field(default_factory=list[Paid])
    skew_ms: dict[str, int] = field(default_factory=dict[str, int])


class Arrivals:
    """When the alerts came that lineages are owed by, as far as this process decided them."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def settle(self, tally: Tally, now_ms: int) -> Counter[tuple[str, int]]:
        """Take in what was committed at `now_ms`. How many records were paid, by topic and milliseconds since.

        What an earlier owner of the lane decided, and what follows a gain, is not among them: its time is not known.
        """
        times = Counter[tuple[str, int]]()
        for one in tally.paid:
            at = self._at.pop(one.key, None)
            if at is not None and one.records:
                times[one.topic, max(0, now_ms - at)] += one.records
        self._at.update(tally.arrived)
        return times
