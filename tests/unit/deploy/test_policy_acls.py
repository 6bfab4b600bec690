"""By which filters ACLs are deleted: few, and none that matches more than what is to go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from confluent_kafka.admin import AclOperation

from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import delete_filters
from tocsin.schemas.names import DELIVERY_HOST

SIGHT = [
    AclRow("TOPIC", f"alerts.de.site-taken-down.{leaf}", "LITERAL", "User:m0", DELIVERY_HOST, "READ", "ALLOW")
    for leaf in ("clear", "green", "amber")
]


def _names(filters: list[Any]) -> list[str | None]:
    return [one.name for one in filters]


def test_all_sight_of_a_member_goes_by_one_filter() -> None:
    """Which names it, the host and READ, and no topic."""
    [one] = delete_filters(SIGHT, SIGHT)
    assert _names([one]) == [None]
    assert (one.principal, one.host, one.operation) == ("User:m0", DELIVERY_HOST, AclOperation.READ)


def test_what_stays_is_not_matched() -> None:
    """Nor what replaces a row that goes, and was made a moment ago."""
    made = replace(SIGHT[0], name="alerts.fr.site-taken-down.clear")
    assert _names(delete_filters(SIGHT, [*SIGHT, made])) == [row.name for row in SIGHT]
    assert _names(delete_filters(SIGHT[:2], SIGHT)) == [row.name for row in SIGHT[:2]]
    direct = [replace(row, host="*") for row in SIGHT]
    assert _names(delete_filters(direct, direct)) == [row.name for row in SIGHT]
