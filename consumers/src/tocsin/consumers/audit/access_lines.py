"""Lines of the log that a broker's authorizer writes, understood and folded. Pure.

A line, as Kafka 4.3 says it and our log4j settings put a time before it:

    2026-11-27T12:58:16.332Z Principal = User:bank-fr is Allowed operation = READ from host = 192.0.2.7 on resource =
    Topic:LITERAL:alerts.se.site-taken-down.green for request = Fetch with resourceRefCount = 1 based on rule ...

Principal, operation and host are the broker's own words. The name of a resource is whatever a client asked for, so it
may look like the rest of a line: the last ` for request = ` is the broker's. A line may have been cut at its end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from tocsin.schemas.records import Access, UnreadLine

NAMES_MAX: Final = 100
"""So many names that one login was denied the same on from one host are told apart."""
NAME_CHARS_MAX: Final = 249
"""The longest name of a topic; what else clients ask for may be longer, and is cut."""
RULE_CHARS_MAX: Final = 400
TEXT_CHARS_MAX: Final = 1_000
"""Of a line that cannot be understood."""
FOLDED_CHARS_MAX: Final = 200_000
"""About how much one record may say; it is far from what a broker takes, even if each character were four bytes."""
_ENTRY_CHARS: Final = 100

_HEAD: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z Principal = (.{1,200}?) is (Allowed|Denied) operation = ([A-Z_]{1,40})"
    r" from host = (\S{1,100}) on resource = ([A-Za-z_]{1,40}):[A-Z]{1,20}:(.*)",
    re.DOTALL,
)
_TAIL: Final = re.compile(
    r"(.*) for request = (\w{1,60}) with resourceRefCount = \d+(?: based on rule (.*))?", re.DOTALL
)


class Line(NamedTuple):
    """What a line says, but for its time; see the fields of `Access`."""

    principal: str
    host: str
    verdict: str
    operation: str
    resource_type: str
    resource: str | None
    request: str | None
    rule: str | None


def parse(line: bytes) -> tuple[int, Line] | None:
    """The time of a line, milliseconds since 1970, and what it says; None where it cannot be understood."""
    head = _HEAD.fullmatch(_text(line))
    if head is None:
        return None
    time, principal, verdict, operation, host, kind, rest = head.groups()
    try:
        at_ms = round(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1_000)
    except ValueError:
        return None
    tail = _TAIL.fullmatch(rest)
    name, request, rule = tail.groups() if tail is not None else (rest, None, None)
    said = rule[:RULE_CHARS_MAX] if rule is not None else None
    return at_ms, Line(principal, host, verdict.upper(), operation, kind.upper(), name[:NAME_CHARS_MAX], request, said)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode(errors="backslashreplace")


class Fold:
    """Takes in the lines of a part of a log, and says once what they say again and again."""

    def __init__(self) -> None:
        self._accesses: dict[Line, list[int]] = {}
        self._names: Counter[Line] = Counter()
        self._chars = 0
        self.unread: list[UnreadLine] = []
        self.first_ms: int | None = None
        """The earliest time that a line said, and the latest."""
        self.last_ms: int | None = None

    @property
    def full(self) -> bool:
        """Whether one record should say no more than this."""
        return self._chars >= FOLDED_CHARS_MAX

    def take(self, offset: int, line: bytes) -> None:
        """Take in the line that begins at this byte of its file."""
        parsed = parse(line)
        if parsed is None:
            text = _text(line)[:TEXT_CHARS_MAX]
            self.unread.append({"offset": offset, "text": text})
            self._chars += len(text)
            return
        at_ms, said = parsed
        self.first_ms, self.last_ms = min(at_ms, self.first_ms or at_ms), max(at_ms, self.last_ms or at_ms)
        known = self._accesses.get(said) or self._new(self._told_apart(said), at_ms)
        known[0], known[1], known[2] = min(known[0], at_ms), max(known[1], at_ms), known[2] + 1

    def _told_apart(self, said: Line) -> Line:
        """Without the name where so many were denied already: whoever asks for names at random fills no record."""
        if said.verdict != "DENIED":
            return said
        nameless = said._replace(resource=None)
        self._names[nameless] += 1
        return said if self._names[nameless] <= NAMES_MAX else nameless

    def _new(self, said: Line, at_ms: int) -> list[int]:
        if said not in self._accesses:
            self._chars += sum(len(word) for word in said if word) + _ENTRY_CHARS
            self._accesses[said] = [at_ms, at_ms, 0]
        return self._accesses[said]

    def accesses(self) -> list[Access]:
        """What the lines said, in the order in which it was first said."""
        return [
            cast("Access", {"first_at": first, "last_at": last, "count": count, **said._asdict()})
            for said, (first, last, count) in self._accesses.items()
        ]


def login_of(principal: str) -> str | None:
    """The login that a principal is; None where it is none."""
    kind, _, login = principal.partition(":")
    return login if kind == "User" and login else None


def member_of(principal: str, services: Collection[str]) -> str | None:
    """The member that a principal's login is of; None of `services` and of what is no login."""
    login = login_of(principal)
    member = None if login is None else login.partition(".")[0]
    return None if member in services else member


def is_direct_read(access: Access | Any) -> bool:
    """Whether alerts were read past the exchange, which then has not decided it and has it not on record."""
    return (
        access["verdict"] == "ALLOWED"
        and access["operation"] == "READ"
        and access["resource_type"] == "TOPIC"
        and (access["resource"] or "").startswith("alerts.")
    )
