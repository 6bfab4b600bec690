"""Kafka's StandardAuthorizer as a pure function of ACL rows (Kafka 4.3.1), without super users.

Any matching DENY wins, whatever its specificity; READ, WRITE, DELETE and ALTER imply DESCRIBE for ALLOW only; DENY
implies nothing; only the exact principal and `User:*` match; a literal `*` name is the wildcard; prefixes have no
separator; nothing matching means denied.

One difference, on the safe side: KIP-1276 lets hosts be ranges, which 4.3.1 stores and never matches. Here a host that
is neither an address nor `*` counts as a match on DENY, and never on ALLOW.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

WILDCARD = "*"
WILDCARD_PRINCIPAL = "User:*"

# in the order of Kafka's AclOperation, by which the authorizer's own index is sorted
OPERATIONS = (
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
)
_RANK = {operation: rank for rank, operation in enumerate(OPERATIONS)}

_IMPLIED_BY = {
    "DESCRIBE": frozenset({"READ", "WRITE", "DELETE", "ALTER"}),
    "DESCRIBE_CONFIGS": frozenset({"ALTER_CONFIGS"}),
}
_NOTHING: frozenset[str] = frozenset()


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
    """`rule` is the row that decided; None when nothing matched, which is a denial.

    Where several rows agree it is the one that Kafka's authorizer log names (the first DENY of its scan, the last
    ALLOW), so our record and the broker's show the same reason, and the order in which rows were read has no say.
    """

    allowed: bool
    rule: AclRow | None = None


_DENIED = Verdict(allowed=False)


class AclSet:
    """All ACL rows that were read at one moment. Immutable; indexed when first asked, so an unused one costs little.

    Raises (when first asked):
        ValueError: a pattern type is neither LITERAL nor PREFIXED.
    """

    def __init__(self, rows: Iterable[AclRow]) -> None:
        self.rows = tuple(rows)

    def decide(self, principal: str, host: str, operation: str, resource_type: str, name: str) -> Verdict:
        """What StandardAuthorizer would answer a session of `principal` that comes from `host`.

        `host` is an address as Java writes it (IPv6 in full: `0:0:0:0:0:0:0:1`), since the authorizer compares texts.
        `rule` is promised to be Kafka's for names that topics can have (`[a-zA-Z0-9._-]`).
        """
        return _verdict(
            [
                row
                for who in {principal, WILDCARD_PRINCIPAL}
                for row in self._of_principal.get((resource_type, who), _NO_ROWS).on(name)
                if _applies(row, host, operation)
            ]
        )

    def readers(self, topic: str, host: str, members: Collection[str] = ()) -> dict[str, AclRow]:
        """Principal -> the row that lets it READ `topic` from `host`, sorted by principal.

        Knows the principals that rows name, and `members`: ask for those whom `User:*` alone may let in.
        """
        by_principal: dict[str, list[AclRow]] = {}
        for row in self._of_anyone.get("TOPIC", _NO_ROWS).on(topic):
            if _applies(row, host, "READ"):
                by_principal.setdefault(row.principal, []).append(row)
        everyone = by_principal.pop(WILDCARD_PRINCIPAL, [])
        of_everyone = _verdict(everyone)
        verdicts = dict.fromkeys(members if of_everyone.allowed else (), of_everyone)
        verdicts |= {who: _verdict([*own, *everyone]) for who, own in by_principal.items()}
        return {who: rule for who in sorted(verdicts) if (rule := verdicts[who].rule) and verdicts[who].allowed}

    def digest(self) -> bytes:
        """SHA-256 over the rows, in whatever order and however often they came. Equal for equal sets of rows only."""
        # C strings carry no NUL and every row has the same number of fields: nothing can be read in two ways
        texts = {
            f"{r.resource_type}\0{r.name}\0{r.pattern}\0{r.principal}\0{r.host}\0{r.operation}\0{r.permission}\0"
            for r in self.rows
        }
        return hashlib.sha256("".join(sorted(texts)).encode(errors="surrogatepass")).digest()

    @cached_property
    def _of_principal(self) -> dict[tuple[str, str], _Rows]:
        found: dict[tuple[str, str], _Rows] = {}
        for row in self.rows:
            found.setdefault((row.resource_type, row.principal), _Rows()).add(row)
        return found

    @cached_property
    def _of_anyone(self) -> dict[str, _Rows]:
        found: dict[str, _Rows] = {}
        for row in self.rows:
            found.setdefault(row.resource_type, _Rows()).add(row)
        return found


@dataclass(slots=True)
class _Rows:
    """Rows of one resource type by name. There are few lengths of prefixes, so each is one look-up."""

    literal: dict[str, list[AclRow]] = field(default_factory=dict[str, list[AclRow]])
    prefixed: dict[str, list[AclRow]] = field(default_factory=dict[str, list[AclRow]])
    lengths: set[int] = field(default_factory=set[int])

    def add(self, row: AclRow) -> None:
        if row.pattern == "LITERAL":
            self.literal.setdefault(row.name, []).append(row)
        elif row.pattern == "PREFIXED":
            self.prefixed.setdefault(row.name, []).append(row)
            self.lengths.add(len(row.name))
        else:
            raise ValueError(f"pattern type {row.pattern!r} of an ACL on {row.name!r}: only LITERAL and PREFIXED exist")

    def on(self, name: str) -> Iterator[AclRow]:
        """The rows whose pattern matches `name`."""
        yield from self.literal.get(name, ())
        if name != WILDCARD:
            yield from self.literal.get(WILDCARD, ())
        for length in self.lengths:
            if length <= len(name):
                yield from self.prefixed.get(name[:length], ())


_NO_ROWS = _Rows()


def _applies(row: AclRow, host: str, operation: str) -> bool:
    """Whether `row`, whose name and principal match, has a say in the question."""
    allows = row.permission == "ALLOW"
    if row.operation not in (operation, "ALL") and not (
        allows and row.operation in _IMPLIED_BY.get(operation, _NOTHING)
    ):
        return False
    return row.host in (host, WILDCARD) or (not allows and not _is_address(row.host))


@lru_cache(maxsize=4096)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _verdict(rows: list[AclRow]) -> Verdict:
    """The verdict of all rows that apply. As in Kafka, what is not ALLOW denies."""
    if not rows:
        return _DENIED
    denying = [row for row in rows if row.permission != "ALLOW"]
    if denying:
        return Verdict(allowed=False, rule=min(denying, key=_scan_order))
    return Verdict(allowed=True, rule=max(rows, key=_scan_order))


def _scan_order(row: AclRow) -> tuple[bool, int, str, int, str, str]:
    """StandardAcl.compareTo for rows that match one name: longer names first, the name `*` last."""
    return (row.name == WILDCARD, -len(row.name), row.pattern, _RANK.get(row.operation, -1), row.principal, row.host)
