"""What a verification finds: of each check whether it passed, and where the first fault is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "could not be checked"


class Place(NamedTuple):
    """A file, and where it has lines the first and the last of those among which the fault is; the record's offset."""

    file: str
    line: int | None = None
    last_line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        found = self.file
        if self.line is not None:
            many = self.last_line is not None and self.last_line != self.line
            found += f", lines {self.line} to {self.last_line}" if many else f", line {self.line}"
        return found if self.offset is None else f"{found}, offset {self.offset}"

    def has(self, file: str, line: int | None = None) -> bool:
        """Whether this is the place, or among these lines."""
        if self.file != file or self.line is None or line is None:
            return self.file == file
        return self.line <= line <= (self.last_line or self.line)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one check of one topic, or of the whole export, ended, and why. `places`: where its first fault may be."""

    check: str
    of: str
    state: State
    what: str
    places: tuple[Place, ...] = ()


def passed(check: str, of: str, what: str) -> Finding:
    """A check that found no fault."""
    return Finding(check, of, State.PASSED, what)


def failed(check: str, of: str, what: str, *places: Place) -> Finding:
    """A check that found a fault: the first one."""
    return Finding(check, of, State.FAILED, what, places)


def unchecked(check: str, of: str, why: str) -> Finding:
    """A check that could not be made."""
    return Finding(check, of, State.UNCHECKED, why)


class FirstFault:
    """Keeps the first fault of a check, and counts the others."""

    def __init__(self, check: str, of: str) -> None:
        self.check = check
        self.of = of
        self._first: tuple[str, tuple[Place, ...]] | None = None
        self._more = 0

    def note(self, what: str, *places: Place) -> None:
        """A fault; of several, the one noted first is told."""
        if self._first is None:
            self._first = what, places
        else:
            self._more += 1

    def finding(self, fine: str) -> Finding:
        """How the check ended; `fine` is what is said when there was no fault."""
        if self._first is None:
            return passed(self.check, self.of, fine)
        what, places = self._first
        return failed(self.check, self.of, what + (f"; and {self._more} more after it" if self._more else ""), *places)
