"""Kafka's StandardAuthorizer as a pure function of ACL rows (Kafka 4.3.1), without super users.

Any matching DENY wins, whatever its specificity; READ, WRITE, DELETE and ALTER imply DESCRIBE for ALLOW only; DENY
implies nothing; only the exact principal and `User:*` match; a literal `*` name is the wildcard; prefixes have no
separator; nothing matching means denied.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

WILDCARD = "*"
WILDCARD_PRINCIPAL = "User:*"

_IMPLY_DESCRIBE = frozenset({"READ", "WRITE", "DELETE", "ALTER"})
_IMPLY_DESCRIBE_CONFIGS = frozenset({"ALTER_CONFIGS"})


@dataclass(frozen=True, slots=True)
class AclRow:
    """One ACL, in Kafka's own words: TOPIC, LITERAL or PREFIXED, `User:x`, an IP or `*`, READ ..., ALLOW or DENY."""

    resource_type: str
    name: str
    pattern: str
    principal: str
    host: str
    operation: str
    permission: str

    def text(self) -> str:
        """One line: `ALLOW READ User:bank-fr 192.0.2.1 LITERAL alerts.de.merchant-terminated.amber`."""
        return f"{self.permission} {self.operation} {self.principal} {self.host} {self.pattern} {self.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` is the row that decided; None when nothing matched, which is a denial."""

    allowed: bool
    rule: AclRow | None = None


_DENIED = Verdict(allowed=False)


def operations_granting(operation: str) -> frozenset[str]:
    """The operations whose ALLOW grants `operation`."""
    implied: frozenset[str] = frozenset()
    if operation == "DESCRIBE":
        implied = _IMPLY_DESCRIBE
    elif operation == "DESCRIBE_CONFIGS":
        implied = _IMPLY_DESCRIBE_CONFIGS
    return implied | {operation, "ALL"}


@cache
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_matches(row: AclRow, host: str) -> bool:
    """Exact, or `*`. A host that is neither an IP nor `*` (KIP-1276's ranges) counts on DENY and never on ALLOW."""
    if row.host in (host, WILDCARD):
        return True
    return row.permission == "DENY" and not _is_address(row.host)


@dataclass(slots=True)
class _Rows:
    """The rows of one principal on one resource type: by literal name, and by prefix in order."""

    literal: dict[str, list[AclRow]] = field(default_factory=dict[str, list[AclRow]])
    prefixed: dict[str, list[AclRow]] = field(default_factory=dict[str, list[AclRow]])
    lengths: set[int] = field(default_factory=set[int])

    def add(self, row: AclRow) -> None:
        if row.pattern == "LITERAL":
            self.literal.setdefault(row.name, []).append(row)
        else:
            self.prefixed.setdefault(row.name, []).append(row)
            self.lengths.add(len(row.name))

    def on(self, name: str) -> Iterator[AclRow]:
        """The rows whose pattern matches `name`."""
        yield from self.literal.get(name, ())
        if name != WILDCARD:
            yield from self.literal.get(WILDCARD, ())
        for length in self.lengths:
            if length <= len(name):
                yield from self.prefixed.get(name[:length], ())


class AclSet:
    """All ACL rows that were read at one moment, indexed. Immutable after it is made."""

    def __init__(self, rows: Iterable[AclRow]) -> None:
        self.rows = tuple(rows)
        self._by: dict[tuple[str, str], _Rows] = {}
        # who has any row on a pattern that can match a topic: the candidates of `readers`
        self._on: dict[str, _Rows] = {}
        for row in self.rows:
            self._by.setdefault((row.resource_type, row.principal), _Rows()).add(row)
            self._on.setdefault(row.resource_type, _Rows()).add(row)

    def decide(self, principal: str, host: str, operation: str, resource_type: str, name: str) -> Verdict:
        """What StandardAuthorizer would answer."""
        granting = operations_granting(operation)
        allowed: AclRow | None = None
        for who in (principal, WILDCARD_PRINCIPAL):
            rows = self._by.get((resource_type, who))
            if rows is None:
                continue
            for row in rows.on(name):
                if not _host_matches(row, host):
                    continue
                if row.permission == "DENY":
                    if row.operation in (operation, "ALL"):
                        return Verdict(allowed=False, rule=row)
                elif allowed is None and row.operation in granting:
                    allowed = row
        return Verdict(allowed=True, rule=allowed) if allowed is not None else _DENIED

    def readers(self, topic: str, host: str, members: Iterable[str] = ()) -> dict[str, AclRow]:
        """Every principal that may READ `topic` from `host`, with the row that allows it.

        `members` are principals to ask for when `User:*` is allowed, which names nobody.
        """
        rows = self._on.get("TOPIC")
        named = {row.principal for row in rows.on(topic) if row.permission == "ALLOW"} if rows else set[str]()
        if WILDCARD_PRINCIPAL in named:
            named = (named - {WILDCARD_PRINCIPAL}) | set(members)
        found: dict[str, AclRow] = {}
        for principal in sorted(named):
            rule = self.decide(principal, host, "READ", "TOPIC", topic)
            if rule.allowed and rule.rule is not None:
                found[principal] = rule.rule
        return found

    def digest(self) -> bytes:
        """SHA-256 over the rows, whatever their order."""
        text = "\n".join(sorted(f"{row.resource_type} {row.text()}" for row in self.rows))
        return hashlib.sha256(text.encode()).digest()
