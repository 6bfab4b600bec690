"""More ACLs than can be read are refused and said; nobody's process ends by them, and fewer are read again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.load import LONG, publish
from tests.world import World, small_policy, takedown, wait_until
from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import acl_client, answer_bytes
from tocsin.consumers.acl_reader import read_topic_acls
from tocsin.consumers.errors import TooManyAcls
from tocsin.deploy.policy.acls import create_acls, delete_acls, read_acls, strange_acls

OURS = 10_000  # Kafka deletes no more at once
BATCH = 1_000
ROOMY = ("-Xms512m", "-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_ANY: Any = None  # no condition; the library's annotation forgets that it may be left out


def test_an_answer_above_the_bound_is_refused_and_a_smaller_one_read(tmp_path: Path) -> None:
    """With a lowered bound, in the fan-out's way of reading and in the policy tool's, by the same client."""
    world = World(tmp_path / "home", small_policy())
    try:
        world.up()
        admin = world.admin()
        rows = [row for row in read_acls(admin) if row.resource_type == "TOPIC"]
        more = [AclRow("TOPIC", f"many.{n}", "LITERAL", "User:x", "*", "READ", "ALLOW") for n in range(200)]
        bounded = acl_client(world.cluster.admin_config(), answer_bytes_max=answer_bytes([*rows, *more[:150]]))
        assert {*read_topic_acls(bounded)} == {*rows}
        create_acls(admin, more)
        for read in (read_topic_acls, read_acls, strange_acls):
            with pytest.raises(TooManyAcls, match=r"more ACL rows than an answer of 4 MB holds.*remove those"):
                read(bounded)
        delete_acls(admin, more[100:])
        assert {*read_topic_acls(bounded)} == {*rows, *more[:100]}
    finally:
        world.down()


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[World]:
    """An exchange with 150,000 ACLs too many on topics, and a fan-out that worked before they came."""
    world = World(tmp_path / "home", small_policy(), java_options=ROOMY)
    try:
        world.up()
        world.start_fanout()
        world.wait_lanes(2)
        _crowd(world, range(15))
        yield world
    finally:
        world.down()


def _crowd(world: World, principals: range) -> None:
    admin = world.admin()
    for number in principals:
        for start in range(0, OURS, BATCH):
            made = admin.create_acls([_binding(number, at) for at in range(start, start + BATCH)], request_timeout=60)
            for future in made.values():
                future.result(70)


def _principal(number: int) -> str:
    return f"User:nobody-with-a-name-{number:02}"


def _binding(number: int, at: int) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        f"alerts.de.merchant-terminated.amber.{at:05}",
        ResourcePatternType.LITERAL,
        _principal(number),
        "192.0.2.1",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )


def _clear(world: World, principals: range) -> None:
    admin = acl_client(world.cluster.admin_config())
    for number in principals:
        whose = AclBindingFilter(
            ResourceType.TOPIC,
            _ANY,
            ResourcePatternType.ANY,
            _principal(number),
            _ANY,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for future in admin.delete_acls([whose], request_timeout=60).values():
            assert len(future.result(70)) == OURS


def _plan(world: World) -> subprocess.CompletedProcess[str]:
    program = "import sys; from tocsin.deploy.cli import main; main()"
    words = ["policy", "plan", str(world.policy_file), "--home", str(world.home)]
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not LONG, reason="150,000 and 300,000 ACLs take minutes: make faults")
@pytest.mark.timeout(1_800)
def test_no_number_of_acls_ends_a_process(crowded: World) -> None:
    """Deliveries stop with a log that says why, the policy tool says what to do, and both go on when there are fewer.

    The client library's own client dies of them.
    """
    home, plain = crowded.home, [sys.executable, "-m", "tests.faults.many_acls"]
    words = [*plain, str(crowded.cluster.admin().path)]
    assert subprocess.run(words, check=False, cwd=Path(__file__).parents[2]).returncode == -signal.SIGSEGV, home
    _refused(crowded)
    _crowd(crowded, range(15, 30))
    _refused(crowded)
    _clear(crowded, range(30))
    hotline = crowded.member("hotline-se")
    publish(hotline, takedown(hotline))
    crowded.wait_inbox("reader-00", 1)
    assert crowded.log().count("lane_taken") == 2
    assert _plan(crowded).returncode == 0


def _refused(world: World) -> None:
    wait_until(lambda: "deliveries_stopped" in world.log(), 30, "deliveries stopped")
    # a broker that takes longer than the fan-out waits is told of otherwise
    said = ("can be read safely; remove those that nobody needs", "fewer than 100000 ACL rows")
    wait_until(lambda: any(words in world.log() for words in said), 30, "why")
    told = _plan(world)
    assert told.returncode == 1
    assert said[0] in told.stderr
    with pytest.raises(TooManyAcls):
        read_topic_acls(acl_client(world.cluster.admin_config()), timeout_s=30.0)
