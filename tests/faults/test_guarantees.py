"""The bound on revocation, and decision before copy: what must hold at every moment, not only in the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.load import LONG, TOPIC, assert_once, has_all, load, source
from tests.world import World, small_policy, wait_until
from tocsin.deploy.policy.acls import delete_acls, read_acls

ACLS: Final = "org.apache.kafka.tools.AclCommand"
BOUND_S: Final = 5.0
TIMEOUT_S: Final = 3_600 if LONG else 300


def _acl_removed(world: World, user: str) -> None:
    for topic in ("alerts.se.site-taken-down.green", "alerts.se.site-taken-down.clear"):
        words = ["--force", "--allow-principal", user, "--allow-host", "192.0.2.1", "--operation", "Read"]
        world.cluster.run_kafka_tool(ACLS, "--remove", *words, "--topic", topic)


def _deny_on_topic(world: World, user: str) -> None:
    words = ["--deny-principal", user, "--deny-host", "*", "--operation", "Read", "--topic", TOPIC]
    world.cluster.run_kafka_tool(ACLS, "--add", "--force", *words)


def _deny_on_prefix(world: World, user: str) -> None:
    words = ["--deny-principal", user, "--deny-host", "*", "--operation", "All", "--topic", "alerts.se."]
    world.cluster.run_kafka_tool(ACLS, "--add", "--force", *words, "--resource-pattern-type", "prefixed")


def _all_acls_deleted(world: World, user: str) -> None:
    admin = world.admin()
    delete_acls(admin, [row for row in read_acls(admin) if row.principal == user])


WAYS: Final[dict[str, Callable[[World, str], None]]] = {
    "reader-04": _acl_removed,
    "reader-05": _deny_on_topic,
    "reader-06": _deny_on_prefix,
    "reader-07": _all_acls_deleted,
}


def _restore(world: World) -> None:
    admin = world.admin()
    delete_acls(admin, [row for row in read_acls(admin) if row.permission == "DENY"])
    world.apply()


@pytest.mark.timeout(TIMEOUT_S)
def test_last_copy_is_appended_within_the_bound(tmp_path: Path) -> None:
    """Under load, no copy is appended later than 5 s after sight is gone; given back, all follow once.

    Four members lose it in four ways, each again and again.
    """
    world = World(tmp_path / "home", small_policy(members=8))
    try:
        world.up()
        world.start_fanout()
        world.wait_lanes(2)
        for _ in range(20 if LONG else 1):
            _one_round(world)
    finally:
        world.down()


def _one_round(world: World) -> None:
    gone_at: dict[str, float] = {}
    with load(world) as published:
        time.sleep(0.5)
        for member, take_away in WAYS.items():
            take_away(world, f"User:{member}")
            gone_at[member] = time.time()
        before = len(published)
        time.sleep(BOUND_S + 1)
        assert len(published) > before + 20, "there was no load"
    wait_until(lambda: has_all(world, "reader-00", published), 30, "the others' copies")
    for member, at in gone_at.items():
        late = [copy for copy in world.inbox(member) if copy.timestamp()[1] / 1000 > at + BOUND_S]
        assert late == [], f"{member}, {WAYS[member].__name__}: {len(late)} copies too late"
        assert not has_all(world, member, published)
    _restore(world)
    for member in gone_at:
        wait_until(partial(has_all, world, member, published), 30, f"the missing alerts of {member}")
        assert_once(world.inbox(member))


@pytest.mark.timeout(TIMEOUT_S)
def test_no_copy_before_its_decision_even_for_a_reader_of_uncommitted_data(tmp_path: Path) -> None:
    """However often the fan-out is killed, every copy, committed or not, belongs to a decision that is on record."""
    world = World(tmp_path / "home", small_policy())
    try:
        world.up()
        fanout = world.start_fanout(name="worker")
        world.wait_lanes(2)
        with load(world, 0.005):
            for _ in range(50 if LONG else 3):
                time.sleep(1.3)
                world.stop_fanout(fanout, signal.SIGKILL)
                taken = world.log().count("lane_taken")
                fanout = world.start_fanout(name="worker")
                world.wait_lanes(taken + 2)
        wait_until(lambda: len(world.decisions()) >= len(world.read([TOPIC])), 40, "all decided")
        given = {
            (one["topic"], one["offset"], member["member"]) for one in world.decisions() for member in one["given"]
        }
        for member in ("reader-00", "reader-01", "reader-02"):
            copies = world.inbox(member, committed=False)
            assert copies
            assert {(*source(copy), member) for copy in copies} <= given
    finally:
        world.down()
