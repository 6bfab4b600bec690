"""The promises under trouble: sight taken away by any means, an inbox that refuses, a fan-out that is killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.load import TOPIC, assert_once, has_all, load, source
from tests.world import World, small_policy, wait_until
from tocsin.deploy.policy.acls import delete_acls, read_acls

ACLS = "org.apache.kafka.tools.AclCommand"
BOUND_S = 5.0
MEMBER = "reader-02"
USER = f"User:{MEMBER}"


def _acl_removed(world: World) -> None:
    for topic in ("alerts.se.site-taken-down.green", "alerts.se.site-taken-down.clear"):
        words = ["--force", "--allow-principal", USER, "--allow-host", "192.0.2.1", "--operation", "Read"]
        world.cluster.run_kafka_tool(ACLS, "--remove", *words, "--topic", topic)


def _deny_on_topic(world: World) -> None:
    world.cluster.run_kafka_tool(
        ACLS, "--add", "--force", "--deny-principal", USER, "--deny-host", "*", "--operation", "Read", "--topic", TOPIC
    )


def _deny_on_prefix(world: World) -> None:
    words = ["--topic", "alerts.se.", "--resource-pattern-type", "prefixed"]
    world.cluster.run_kafka_tool(
        ACLS, "--add", "--force", "--deny-principal", USER, "--deny-host", "*", "--operation", "All", *words
    )


def _all_acls_deleted(world: World) -> None:
    admin = world.admin()
    delete_acls(admin, [row for row in read_acls(admin) if row.principal == USER])


def _restore(world: World) -> None:
    admin = world.admin()
    delete_acls(admin, [row for row in read_acls(admin) if row.permission == "DENY"])
    world.apply()


@pytest.mark.parametrize("take_away", [_acl_removed, _deny_on_topic, _deny_on_prefix, _all_acls_deleted])
def test_last_copy_is_appended_within_the_bound(world: World, take_away: Callable[[World], None]) -> None:
    """Under load, no copy is appended later than 5 s after sight is gone; given back, all follow once."""
    for _ in range(3):
        with load(world) as published:
            time.sleep(0.5)
            take_away(world)
            gone_at = time.time()
            before = len(published)
            time.sleep(BOUND_S + 1)
            assert len(published) > before + 20, "there was no load"
        wait_until(lambda: has_all(world, "reader-00", published), 30, "the others' copies")
        late = [m for m in world.inbox(MEMBER) if m.timestamp()[1] / 1000 > gone_at + BOUND_S]
        assert late == []
        assert not has_all(world, MEMBER, published)
        _restore(world)
        wait_until(lambda: has_all(world, MEMBER, published), 30, "the missing alerts")
        assert_once(world.inbox(MEMBER))


def test_no_copy_before_its_decision_even_for_a_reader_of_uncommitted_data(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Over five kills of the fan-out, every copy, committed or not, belongs to a decision that is on record."""
    world = World(tmp_path_factory.mktemp("kills") / "home", small_policy())
    try:
        world.up()
        fanout = world.start_fanout(name="worker")
        world.wait_lanes(2)
        with load(world, 0.005):
            for _ in range(5):
                time.sleep(1.3)
                world.stop_fanout(fanout, signal.SIGKILL)
                fanout = world.start_fanout(name="worker")
                time.sleep(2)
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
