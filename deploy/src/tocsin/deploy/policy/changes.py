"""What to change among the live ACLs, and what must be left alone. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.compile import member_of
from tocsin.deploy.policy.rows import ANY_HOST, SERVICE_ROWS, USER, officer_rows, own_rows
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, Tlp, is_valid, jurisdiction


def is_ours(row: AclRow, members: Collection[str], denies: Collection[AclRow] = ()) -> bool:
    """Whether `row`, which the policy does not have, is this tool's to remove.

    Ours are grants of sight (ALLOW READ of alert topics from the delivery host, whoever made them), and rows that some
    policy may have been compiled to, for the fan-out or for one of `members`, those of today and of the directory. A
    DENY is a person's word, unless it is on record among `denies` as this tool's.
    """
    if row.permission != "ALLOW":
        return row in denies
    if _is_sight(row):
        return True
    login = row.principal.removeprefix(USER)
    if row.principal == login or row.host != ANY_HOST:
        return False
    place = row.name.removeprefix("audit.")
    # of other topics than a lane's record the rows of every lane are the same
    lane = place if is_valid(jurisdiction, place) else "eu"
    if login in SERVICE_ROWS:
        return row in SERVICE_ROWS[login]([lane])
    member = member_of(login)
    own = (*own_rows(member, login), *officer_rows(login, lane))
    return member in members and (row in own or _is_publishing(row) or _is_direct(row))


def _is_sight(row: AclRow) -> bool:
    return (row.resource_type, row.operation, row.host) == ("TOPIC", "READ", DELIVERY_HOST) and row.name.startswith(
        "alerts."
    )


def _is_direct(row: AclRow) -> bool:
    what = (row.resource_type, row.operation, row.host, row.pattern)
    return what == ("TOPIC", "READ", ANY_HOST, "LITERAL") and is_valid(AlertTopic.parse, row.name)


def _is_publishing(row: AclRow) -> bool:
    what = (row.resource_type, row.operation, row.pattern)
    return what == ("TOPIC", "WRITE", "PREFIXED") and is_valid(AlertTopic.parse, f"{row.name}{Tlp.CLEAR.leaf}")


@dataclass(frozen=True, slots=True)
class AclChanges:
    """Steps, in order: what denies, what replaces a row that goes, what goes, what no longer denies, what is new."""

    barring: tuple[AclRow, ...]
    replacing: tuple[AclRow, ...]
    gone: tuple[AclRow, ...]
    lifted: tuple[AclRow, ...]
    new: tuple[AclRow, ...]

    def among(self, rows: Collection[AclRow]) -> AclChanges:
        """Those of `rows` only."""
        steps = (self.barring, self.replacing, self.gone, self.lifted, self.new)
        return AclChanges(*(tuple(row for row in step if row in rows) for step in steps))

    @property
    def created(self) -> tuple[AclRow, ...]:
        """All rows that are made."""
        return (*self.barring, *self.replacing, *self.new)

    @property
    def removed(self) -> tuple[AclRow, ...]:
        """All rows that are deleted."""
        return (*self.gone, *self.lifted)


def acl_changes(
    live: Collection[AclRow], wanted: Collection[AclRow], members: Collection[str], denies: Collection[AclRow] = ()
) -> AclChanges:
    """How to get from `live` to `wanted`; rows that are not ours stay (see `is_ours`).

    What is to end, ends first. But creating and deleting are never one step, so where a member has sight of a topic
    before and after, by other rows, the new row comes before the old one goes: it never loses it in between.
    """
    ending = [row for row in live if row not in wanted and is_ours(row, members, denies)]
    gone = [row for row in ending if row.permission == "ALLOW"]
    going = AclSet(gone)
    barring: list[AclRow] = []
    replacing: list[AclRow] = []
    new: list[AclRow] = []
    for row in wanted:
        if row not in live:
            kept = _reads_alerts(row) and _sees(going, row)
            (barring if row.permission != "ALLOW" else replacing if kept else new).append(row)
    lifted = [row for row in ending if row.permission != "ALLOW"]
    return AclChanges(*map(_in_order, (barring, replacing, gone, lifted, new)))


def _reads_alerts(row: AclRow) -> bool:
    return row.resource_type == "TOPIC" and row.operation == "READ" and row.name.startswith("alerts.")


def _sees(acls: AclSet, row: AclRow) -> bool:
    return acls.decide(row.principal, DELIVERY_HOST, "READ", "TOPIC", row.name).allowed


def _in_order(rows: Collection[AclRow]) -> tuple[AclRow, ...]:
    return tuple(sorted(rows, key=lambda row: (row.principal, row.resource_type, row.name, row.operation, row.host)))
