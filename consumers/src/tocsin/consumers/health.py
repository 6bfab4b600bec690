"""Whether a service lives and is ready, for whoever supervises it. Pure but for the clock, which is a parameter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

STANDS_MAX_S: Final = 60.0
"""A loop that has not turned for so long stands: no single step of a sound one takes as long."""

Checks: TypeAlias = Mapping[str, str | None]
"""What was checked -> what is wrong with it, None when nothing is."""

Clock: TypeAlias = Callable[[], float]


class Pulse:
    """The sign of life of one loop: `beat` at each turn; nothing is expected of it before, or after `rest`."""

    def __init__(self, stands_max_s: float = STANDS_MAX_S, clock: Clock = time.monotonic) -> None:
        self._stands_max_s = stands_max_s
        self._clock = clock
        self._turned_at: float | None = None

    def beat(self) -> None:
        """The loop has turned."""
        self._turned_at = self._clock()

    def rest(self) -> None:
        """The loop is left, or does what may take any time."""
        self._turned_at = None

    def trouble(self) -> str | None:
        """What is wrong: that the loop stands."""
        turned_at = self._turned_at
        stands_s = 0.0 if turned_at is None else self._clock() - turned_at
        return None if stands_s <= self._stands_max_s else f"has not turned for {stands_s:.0f} s"


class Health:
    """The loops of a service, by name, and what it needs to be ready. Threads may use it while others ask."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._pulses: dict[str, Pulse] = {}
        self._needs: Callable[[], Checks] = dict

    def pulse(self, loop: str, stands_max_s: float = STANDS_MAX_S) -> Pulse:
        """The pulse of a loop; a new one in the place of one before."""
        self._pulses[loop] = Pulse(stands_max_s, self._clock)
        return self._pulses[loop]

    def needs(self, checks: Callable[[], Checks]) -> None:
        """From now on it is ready when all of `checks` are well."""
        self._needs = checks

    def live(self) -> Checks:
        """Every loop, and what is wrong with it."""
        return {loop: pulse.trouble() for loop, pulse in [*self._pulses.items()]}

    def ready(self) -> Checks:
        """Everything that it needs, and what is wrong with it."""
        return self._needs()
