"""One alert all the way: published, decided by the live ACLs, received, on the record."""

from __future__ import annotations

import time

import pytest

from tests.world import World, revised, takedown, wait_until
from tocsin.consumers.inbox import Inbox
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown
from tocsin.schemas.names import DELIVERY_HOST


def test_alert_reaches_exactly_those_who_may_see_it(world: World) -> None:
    """Readers with sight get the unchanged bytes once; the one who asked without sight is refused on the record."""
    alert = takedown(world.member("hotline-se"), 1)
    with Publisher(world.member("hotline-se")) as publisher:
        published = publisher.publish(alert, "case-1")
        assert publisher.publish(alert, "case-1").repeated
        assert publisher.flush(20) == 0
    key = f"hotline-se/{alert.header.lineage_id}".encode()
    for reader in ("reader-00", "reader-01", "reader-02"):
        assert _wait_copies(world, reader, key) == [alert.to_avro()]
    assert _copies(world, "reader-03", key) == []
    assert _copies(world, "hotline-se", key) == []
    [decision] = [one for one in world.decisions() if one["alert_id"] == published.alert_id]
    assert [one["member"] for one in decision["given"]] == ["reader-00", "reader-01", "reader-02"]
    assert decision["refused"] == [{"member": "reader-03", "reason": "no-sight"}]
    assert decision["given"][0]["rule"] == f"ALLOW READ User:reader-00 {DELIVERY_HOST} LITERAL {published.topic}"


def _wait_copies(world: World, member: str, key: bytes, count: int = 1) -> list[bytes | None]:
    wait_until(lambda: len(_copies(world, member, key)) >= count, 20, f"{count} copies for {member}")
    return _copies(world, member, key)


def _copies(world: World, member: str, key: bytes) -> list[bytes | None]:
    return [message.value() for message in world.inbox(member) if message.key() == key]


def test_inbox_verifies_and_remembers_its_place(world: World) -> None:
    """The inbox hands out verified alerts; what the body did not finish comes again, and nothing twice after that."""
    alert = takedown(world.member("hotline-de"), 2)
    with Publisher(world.member("hotline-de")) as publisher:
        publisher.publish(alert)
        assert publisher.flush(20) == 0
    key = f"hotline-de/{alert.header.lineage_id}".encode()
    _wait_copies(world, "reader-01", key)
    with pytest.raises(RuntimeError):
        _fail_on(world, alert)
    with Inbox(world.member("reader-01"), follow=False) as inbox:
        again = [received.alert for received in inbox]
        assert inbox.unverified == {}
    assert again.count(alert) == 1
    with Inbox(world.member("reader-01"), follow=False) as inbox:
        assert [received.alert for received in inbox] == []


def _fail_on(world: World, alert: SiteTakenDown) -> None:
    with Inbox(world.member("reader-01"), follow=False) as inbox:
        for received in inbox:
            if received.alert == alert:
                raise RuntimeError


def test_revisions_come_in_order_and_duplicates_do_not(world: World) -> None:
    """A second revision follows the first; a conflicting one is rejected and the publisher told."""
    bundle = world.member("hotline-se")
    first = takedown(bundle, 3)
    second = revised(first, 2)
    third, other_third = revised(first, 3), revised(first, 3)
    with Publisher(bundle) as publisher:
        for alert in (first, second, third, other_third):
            publisher.publish(alert)
        assert publisher.flush(20) == 0
    key = f"hotline-se/{first.header.lineage_id}".encode()
    _wait_copies(world, "reader-00", key, 3)
    wait_until(
        lambda: any(one["alert_id"] == other_third.header.alert_id for one in world.decisions()),
        20,
        "the conflict decided",
    )
    assert _copies(world, "reader-00", key) == [one.to_avro() for one in (first, second, third)]
    [conflict] = [one for one in world.decisions() if one["alert_id"] == other_third.header.alert_id]
    assert (conflict["outcome"], conflict["reason"]) == ("REJECTED", "conflict")
    notice_key = f"notice/{conflict['topic']}/{conflict['offset']}".encode()
    _wait_copies(world, "hotline-se", notice_key)
    with Inbox(bundle, follow=False, group="conflict") as inbox:
        notices = [received.notice for received in inbox if received.notice is not None]
    assert [notice["reason"] for notice in notices if notice["sha256"] == conflict["sha256"]] == ["conflict"]


def test_sight_removed_with_kafkas_own_tool_ends_and_returns(world: World) -> None:
    """A DENY made with kafka-acls ends deliveries within 5 s; once it is gone, the missing live alerts follow, once."""
    bundle = world.member("hotline-se")
    denied = _deny(world.cluster, "--add")
    try:
        missing = _publish_for(world, seconds=7)
        copies = [m for m in world.inbox("reader-02") if m.timestamp()[1] > denied * 1000 + 5_000]
        assert copies == []
    finally:
        _deny(world.cluster, "--remove")
    with Publisher(bundle) as publisher:
        assert publisher.flush(10) == 0
    keys = {f"hotline-se/{lineage}".encode() for lineage in missing}
    wait_until(lambda: keys <= {m.key() for m in world.inbox("reader-02")}, 30, "the missing alerts")
    bytes_of = [m.value() for m in world.inbox("reader-02") if m.value() is not None]
    assert len(bytes_of) == len(set(bytes_of))


def _deny(cluster: LocalCluster, verb: str) -> float:
    words = ["--force", "--deny-principal", "User:reader-02", "--deny-host", "*", "--operation", "Read"]
    cluster.run_kafka_tool(
        "org.apache.kafka.tools.AclCommand", verb, *words, "--topic", "alerts.", "--resource-pattern-type", "prefixed"
    )
    return time.time()


def _publish_for(world: World, seconds: float) -> list[str]:
    bundle = world.member("hotline-se")
    sent: list[str] = []
    with Publisher(bundle) as publisher:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            alert = takedown(bundle, len(sent))
            publisher.publish(alert)
            sent.append(alert.header.lineage_id)
            time.sleep(0.05)
        publisher.flush(20)
    return sent
