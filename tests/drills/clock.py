"""How long alerts took while something broke: pure, from when each was published and when it came."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

# as before: of the alerts of three seconds, 95 in 100 came within twice what 95 in 100 took before
STEADY_S: Final = 3.0
BEFORE_S: Final = 8.0
SHARE: Final = 0.95
AS_BEFORE: Final = 2.0
STEP_S: Final = 0.25
# where all is quick, a moment of the machine's is no failure
LIMIT_MIN_S: Final = 0.25
# and where all is slow, this is too slow whatever it was before
LIMIT_MAX_S: Final = 5.0
# what was published so shortly before a fault may be met by it, and does not count as before
MARGIN_S: Final = 0.5


class Trip(NamedTuple):
    """When an alert was published, and how long it took to the reader's hands; endless: it is not there yet."""

    at: float
    took: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the reader noticed: seconds until its alerts came as quickly as before, and the longest that one took."""

    after_s: float
    worst_s: float
    limit_s: float


def recovery(trips: Sequence[Trip], fault: float, now: float) -> Recovery | None:
    """How long after `fault` it was as before; None: it is not yet, at `now`. `trips` are in order.

    Raises:
        ValueError: nothing was published before the fault.
    """
    before = _took(trips, fault - BEFORE_S, fault - MARGIN_S)
    if not before:
        raise ValueError("no alerts before the fault")
    limit = min(max(AS_BEFORE * share(before, SHARE), LIMIT_MIN_S), LIMIT_MAX_S)
    at = fault
    while at + STEADY_S + limit <= now:
        waits = _took(trips, at, at + STEADY_S)
        if waits and share(waits, SHARE) <= limit:
            worst = max(_took(trips, fault - MARGIN_S, at + STEADY_S))
            return None if worst == inf else Recovery(at - fault, worst, limit)
        at += STEP_S
    return None


def going_on(trips: Sequence[Trip], fault: float) -> float | None:
    """How long after `fault` the first alert that was published since was there; None: none is yet."""
    return min((trip.at + trip.took - fault for trip in trips if trip.at >= fault and trip.took != inf), default=None)


def pace(trips: Sequence[Trip], now: float) -> float:
    """What 95 in 100 alerts of the last seconds took; endless while one in twenty of them is not there."""
    waits = _took(trips, now - BEFORE_S + STEADY_S, now - MARGIN_S)
    return share(waits, SHARE) if waits else inf


def share(waits: Sequence[float], part: float) -> float:
    """What `part` of these waits do not exceed."""
    return sorted(waits)[min(int(len(waits) * part), len(waits) - 1)]


def _took(trips: Sequence[Trip], begin: float, end: float) -> list[float]:
    low = bisect_left(trips, begin, key=lambda trip: trip.at)
    return [trip.took for trip in trips[low : bisect_left(trips, end, key=lambda trip: trip.at)]]
