"""What refuses or cannot be read: one inbox, which must not cost the others; the ACLs, which stop deliveries."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
import yaml
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.load import TOPIC, assert_once, has_all, load, median_delay
from tests.world import World, takedown, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.producers.publisher import Publisher
from tocsin.schemas.errors import Reason

MEMBER, OTHER = "reader-02", "reader-00"
INBOX = f"inbox.{MEMBER}"
ANSWER_S = 20.0
# below it is the clock's and the machine's noise
USUAL_MS_MIN = 20.0
# how much slower a busy machine may make a lane that has nothing to do with the trouble
BUSY = 10


def _gone(world: World) -> None:
    admin = world.admin()  # a temporary one is gone before the answer comes
    admin.delete_topics([INBOX])[INBOX].result(ANSWER_S)


def _denied(world: World) -> None:
    create_acls(world.admin(), [_DENY_INBOX])


def _too_small(world: World) -> None:
    _set_size(world, "100")


_DENY_INBOX = AclRow("TOPIC", INBOX, "LITERAL", "User:fanout", "*", "WRITE", "DENY")
_DENY_READING_ACLS = AclRow("CLUSTER", "kafka-cluster", "LITERAL", "User:fanout", "*", "DESCRIBE", "DENY")


@contextmanager
def _restored(world: World) -> Generator[None]:
    """Whatever became of the inbox and the ACLs is put right at the end: the world serves other tests, too."""
    try:
        yield
    finally:
        delete_acls(world.admin(), [_DENY_INBOX, _DENY_READING_ACLS])
        world.apply()
        _set_size(world, None)


def _set_size(world: World, size_bytes: str | None) -> None:
    change = AlterConfigOpType.DELETE if size_bytes is None else AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", size_bytes, incremental_operation=change)
    admin = world.admin()
    [changed] = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, INBOX, incremental_configs=[entry])]
    ).values()
    changed.result(ANSWER_S)


@pytest.mark.parametrize("trouble", [_gone, _denied, _too_small])
def test_an_inbox_that_refuses_delays_nobody_and_is_paid_later(world: World, trouble: Callable[[World], None]) -> None:
    """From the moment it refuses, the others' median delay at most doubles; put right, it has everything.

    What it had before too, when it was deleted and made again. Germany's lane, which owes that inbox nothing, tells how
    much of a delay is the busy machine's.
    """
    with _restored(world), load(world) as published, load(world, publisher_id="hotline-de") as german:
        time.sleep(3)
        usual = list(published)
        trouble(world)
        began, german_began = len(published), len(german)
        time.sleep(8)
    troubled, control = published[began:], german[german_began:]
    wait_until(lambda: has_all(world, OTHER, published), 30, "the others' copies")
    wait_until(lambda: has_all(world, OTHER, german, "hotline-de"), 30, "the other lane's copies")
    calm, rough = median_delay(world, usual, OTHER), median_delay(world, troubled, OTHER)
    beside = median_delay(world, control, OTHER, "hotline-de")
    said = f"{calm} ms usually, {rough} ms with one inbox refusing, {beside} ms in the other lane"
    assert rough <= 2 * max(calm, beside, USUAL_MS_MIN), said
    assert beside <= BUSY * max(calm, USUAL_MS_MIN), said
    wait_until(lambda: has_all(world, MEMBER, published), 60, "the debt, and what it had before")
    assert_once(world.inbox(MEMBER))


def test_no_copies_while_the_acls_cannot_be_read(world: World) -> None:
    """The exchange says that it has stopped; what was published meanwhile follows, once."""
    said = world.log().count("deliveries_stopped")
    with _restored(world), load(world) as published:
        create_acls(world.admin(), [_DENY_READING_ACLS])
        wait_until(lambda: world.log().count("deliveries_stopped") > said, 20, "the exchange says so")
        time.sleep(1)  # what was already decided is written
        before, held = len(published), len(world.inbox(OTHER))
        wait_until(lambda: len(published) >= before + 100, 30, "more alerts")
        assert len(world.inbox(OTHER)) == held
        delete_acls(world.admin(), [_DENY_READING_ACLS])
        wait_until(lambda: len(world.inbox(OTHER)) > held, 20, "deliveries")
    wait_until(lambda: has_all(world, OTHER, published), 30, "what was held back")
    assert_once(world.inbox(OTHER))


def test_what_waited_is_decided_by_the_newest_directory(world: World) -> None:
    """A member that is suspended while deliveries have stopped is not heard, though its alert came before."""
    said = world.log().count("deliveries_stopped")
    with _restored(world):
        create_acls(world.admin(), [_DENY_READING_ACLS])
        wait_until(lambda: world.log().count("deliveries_stopped") > said, 20, "the exchange says so")
        bundle = world.member("hotline-se")
        with Publisher(bundle) as publisher:
            alert = takedown(bundle, 1)
            publisher.publish(alert)
            assert publisher.flush(30) == 0
        read = world.log().count("directory_read")
        with _suspended(world, "hotline-se"):
            wait_until(lambda: world.log().count("directory_read") > read, 20, "the new directory is read")
            delete_acls(world.admin(), [_DENY_READING_ACLS])
            wait_until(lambda: _last_reason(world) == Reason.KEY_NOT_VALID.value, 20, "the decision")
    assert not has_all(world, OTHER, [alert.header.lineage_id])


@contextmanager
def _suspended(world: World, member: str) -> Generator[None]:
    before = world.policy_file.read_text()
    policy = yaml.safe_load(before)
    policy["members"][member]["status"] = "suspended"
    world.policy_file.write_text(yaml.safe_dump(policy))
    try:
        world.apply()
        yield
    finally:
        world.policy_file.write_text(before)
        world.apply()


def _last_reason(world: World) -> str | None:
    reasons = [one["reason"] for one in world.decisions() if one["topic"] == TOPIC]
    return reasons[-1] if reasons else None
