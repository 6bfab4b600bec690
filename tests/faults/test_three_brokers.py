"""Three brokers: each topic on all of them, and the path from publisher to inbox goes on when one is killed."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tests.load import LONG, TOPIC, assert_once, has_all, load
from tests.world import World, small_policy, wait_until

ANSWER_S = 20.0


@pytest.mark.skipif(not LONG, reason="three brokers take a minute: make faults")
def test_the_path_goes_on_when_one_of_three_brokers_is_killed(tmp_path: Path) -> None:
    """After kill -9 of the broker that leads the alert topic, under load, nothing is lost and nothing comes twice."""
    world = World(tmp_path / "home", small_policy(), brokers=3)
    try:
        world.up()
        admin = world.admin()
        names = [name for name in world.topics("") if name != "__consumer_offsets"]
        assert {name: _copies(admin, name) for name in names} == dict.fromkeys(names, (3, 3, "2"))
        world.start_fanout()
        world.wait_lanes(2)
        with load(world) as published:
            time.sleep(2)
            killed = _leader(admin, TOPIC)
            world.cluster.kill(killed, signal.SIGKILL)
            wait_until(lambda: _leader(admin, TOPIC) not in (killed, -1), 30, "another leader")
            before = len(published)
            wait_until(lambda: len(published) >= before + 100, 60, "alerts after the kill")
        for member in ("reader-00", "reader-01", "reader-02"):
            wait_until(partial(has_all, world, member, published), 60, f"copies for {member}")
            assert_once(world.inbox(member))
        assert [broker.node for broker in world.cluster.status() if broker.pid is None] == [killed]
        world.cluster.up(3)
        wait_until(lambda: _copies(admin, TOPIC) == (3, 3, "2"), 30, "three copies in sync again")
    finally:
        world.down()


def _partition(admin: AdminClient, topic: str) -> Any:
    return admin.describe_topics(TopicCollection([topic]), request_timeout=3)[topic].result(ANSWER_S).partitions[0]


def _leader(admin: AdminClient, topic: str) -> int:
    """The broker that leads `topic`; -1 while nobody does, or the one that was asked is gone."""
    try:
        leader = _partition(admin, topic).leader
    except (KafkaException, TimeoutError):
        return -1
    return -1 if leader is None else int(leader.id)


def _copies(admin: AdminClient, topic: str) -> tuple[int, int, str]:
    """Replicas, those in sync, and how many must be for a write."""
    partition = _partition(admin, topic)
    [settings] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return len(partition.replicas), len(partition.isr), settings.result(ANSWER_S)["min.insync.replicas"].value
