"""`tocsin sight` tells a member what it may be given, with nothing but its own login."""

from __future__ import annotations

from tests.world import World, tocsin, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.schemas.names import DELIVERY_HOST

GREEN, CLEAR, AMBER = (f"alerts.se.site-taken-down.{label}" for label in ("green", "clear", "amber"))
BY_HAND = AclRow("TOPIC", AMBER, "LITERAL", "User:reader-02", DELIVERY_HOST, "READ", "ALLOW")


def _sight(world: World, member: str) -> list[str]:
    rows = tocsin("sight", "--as", str(world.home / "members" / member))
    return [row["topic"] for row in rows]


def test_a_member_is_told_what_it_may_be_given(world: World) -> None:
    """And of each change within seconds, by whatever tool; its inbox shows nothing of it."""
    wait_until(lambda: _sight(world, "reader-02") == [CLEAR, GREEN], 20, "reader-02 is told")
    # never told of any, or told that none is left
    assert _sight(world, "reader-03") in ([], [None])
    assert {topic.split(".")[1] for topic in _sight(world, "reader-00")} == {"de", "se"}
    create_acls(world.admin(), [BY_HAND])
    try:
        wait_until(lambda: _sight(world, "reader-02") == [CLEAR, GREEN, AMBER], 20, "reader-02 is told")
    finally:
        delete_acls(world.admin(), [BY_HAND])
    wait_until(lambda: _sight(world, "reader-02") == [CLEAR, GREEN], 20, "reader-02 is told")
    words = ["inbox", "--as", str(world.home / "members" / "reader-02"), "--group", "sight", "--include-tests"]
    assert {row["kind"] for row in tocsin(*words)} <= {"alert", "notice", "erasure"}
