"""The sealer on a real exchange: every record is sealed, in its order, and every head that it hands out is of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from tests.attempts import Attempts
from tests.load import publish_decided
from tests.world import World, takedown, tocsin, wait_until
from tocsin.consumers.audit.facts import seal_of
from tocsin.consumers.audit.logs import is_sealed, origin_of
from tocsin.consumers.audit.merkle import Edge, leaf_hash
from tocsin.consumers.audit.note import Checkpoint, Verifier, open_checkpoint
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import CHECKPOINTS_TOPIC


def records(world: World, topic: str) -> list[BusRecord]:
    """What is on record, as any reader of committed records has it."""
    return [
        BusRecord(topic, cast("int", one.offset()), one.key(), one.value(), (), one.timestamp()[1])
        for one in world.read([topic])
    ]


def roots(world: World, topic: str) -> list[bytes]:
    """The root of the log of a topic at every size."""
    edge = Edge()
    found = [edge.root()]
    for record in records(world, topic):
        edge.append(leaf_hash(seal_of(record)))
        found.append(edge.root())
    return found


def heads(world: World) -> dict[str, list[Checkpoint]]:
    """All heads that were handed out, by topic, in order; each signed by the key that the directory has for the log."""
    public = world.service("sealer").signing_key().public
    names = {origin_of("test", topic): topic for topic in world.topics("audit.") if is_sealed(topic)}
    found: dict[str, list[Checkpoint]] = {topic: [] for topic in names.values()}
    for message in world.read([CHECKPOINTS_TOPIC]):
        origin = (message.key() or b"").decode()
        found[names[origin]].append(open_checkpoint(message.value() or b"", Verifier(origin, public)))
    return found


def test_all_that_is_decided_is_sealed_and_each_head_is_of_it(world: World) -> None:
    """Of every topic of the record; what is decided meanwhile is sealed the next time."""
    publisher = world.member("hotline-se")
    for number in range(3):
        publish_decided(world, publisher, *(takedown(publisher, 100 * number + each) for each in range(4)))
        [*rows] = tocsin("audit", "seal", "--once", "--home", str(world.home))
        assert {row["topic"] for row in rows} == {topic for topic in world.topics("audit.") if is_sealed(topic)}
        assert all(row["sealed"] for row in rows)
    for topic, handed_out in heads(world).items():
        by_size = roots(world, topic)
        assert [head.root for head in handed_out] == [by_size[head.size] for head in handed_out]
        assert [head.size for head in handed_out] == sorted(head.size for head in handed_out)


def test_the_service_seals_within_seconds_and_ends_when_told(world: World) -> None:
    """And two of them do not seal the same logs."""
    words = [sys.executable, "-m", "tocsin.deploy", "audit", "seal", "--home", str(world.home)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        publisher = world.member("hotline-se")
        publish_decided(world, publisher, takedown(publisher, 999))
        wait_until(
            lambda: heads(world)["audit.se"][-1:] != [] and _newest(world) == len(records(world, "audit.se")),
            20,
            "a head of all that was decided",
        )
        second = subprocess.run([*words, "--once"], capture_output=True, timeout=60, check=False)
        assert second.returncode == 3
        assert b"in use by another process" in second.stderr
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _newest(world: World) -> int:
    return heads(world)["audit.se"][-1].size


def test_a_topic_that_was_made_anew_is_refused_and_the_others_are_sealed(world: World, tmp_path: Path) -> None:
    """Its log stays as evidence of what there was."""
    state = tmp_path / "state"
    tocsin("audit", "seal", "--once", "--state", str(state), "--home", str(world.home))
    (state / "audit.de" / "topic-id").write_text("that of another one")
    rows = tocsin("audit", "seal", "--once", "--state", str(state), "--home", str(world.home), code=3)
    others = dict.fromkeys(("audit.se", "audit.policy", "audit.access"), True)
    assert {row["topic"]: row["sealed"] for row in rows} == {"audit.de": False, **others}


@pytest.mark.parametrize("reader", ["reader-00", "hotline-se"])
def test_every_member_can_read_the_heads(world: World, reader: str) -> None:
    """They are for everybody: whoever keeps one can tell a record that was changed since."""
    tocsin("audit", "seal", "--once", "--home", str(world.home))

    assert Attempts(world.member(reader).kafka_config(), f"{reader}.x").read([CHECKPOINTS_TOPIC]) == {CHECKPOINTS_TOPIC}
