"""A service of the exchange changes its password while it runs: both work, until the old one is deleted."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.world import World, tocsin, wait_until
from tocsin.deploy.policy.users import scram_users
from tocsin.schemas.bundle import KafkaConfig

SERVICE = "auditor"


def _connects(config: KafkaConfig) -> bool:
    try:
        AdminClient(config).list_topics(timeout=2)
    except KafkaException:
        return False
    return True


def test_a_service_has_two_passwords_until_the_old_one_is_deleted(world: World) -> None:
    """What is in its bundle is the new one; applying the policy leaves it; a second rotation waits for the first."""
    words = ["service", "rotate", SERVICE, "--home", str(world.home)]
    old = world.service(SERVICE).kafka_config()
    [row] = tocsin(*words)
    new = world.service(SERVICE).kafka_config()
    assert row == {"login": SERVICE, "bundle": str(world.service(SERVICE).path), "by": new["sasl.mechanism"]}
    assert old["sasl.mechanism"] != new["sasl.mechanism"]
    assert old["sasl.password"] != new["sasl.password"]
    wait_until(lambda: _connects(new), 10, "the new password to be known")
    assert _connects(old)
    assert tocsin(*words, code=1) == [], "the first is not finished"
    world.apply()
    assert world.service(SERVICE).kafka_config() == new
    assert tocsin(*words, "--finish") == [{"login": SERVICE, "old password": "deleted"}]
    wait_until(lambda: not _connects(old), 10, "the old password to be refused")
    assert _connects(new)
    assert scram_users(world.admin())[SERVICE] == {new["sasl.mechanism"]}
    assert tocsin(*words, "--finish") == [{"login": SERVICE, "old password": "none"}]


def test_what_is_no_service_is_named_as_such(world: World) -> None:
    """And nothing is changed."""
    users = scram_users(world.admin())
    for login in ("nobody", "../members/reader-00"):
        tocsin("service", "rotate", login, "--home", str(world.home), code=1)
    assert scram_users(world.admin()) == users
