"""An exchange is moved to another cluster: killed meanwhile and run again, it ends the same; nothing comes twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Message, Producer

from tests.load import TOPIC, publish, publish_decided
from tests.world import World, running, small_policy, takedown, tocsin
from tocsin.consumers.inbox import Inbox
from tocsin.producers.publisher import Publisher

HERE = Path(__file__).parents[2]
SHOWN = ("reader-00", "reader-01")
STILL_WRITTEN_S = 3.0


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition of its own: it is left."""
    with running(tmp_path_factory.mktemp("old") / "home", small_policy()) as made:
        yield made


@contextmanager
def _elsewhere(old: World, home: Path) -> Generator[World]:
    """Another cluster for a copy of its home, without a policy yet."""
    shutil.copytree(old.home, home, ignore=shutil.ignore_patterns("cluster", "admin", "policy", "drift", "fanout.log"))
    made = World(home, small_policy())
    try:
        made.cluster.up(1)
        yield made
    finally:
        made.down()


def _admin(world: World) -> str:
    return str(world.home / "services" / "admin")


def _move(old: World, new: World, code: int = 0) -> list[dict[str, Any]]:
    return tocsin("move", "--from", _admin(old), "--home", str(new.home), code=code)


def _killed(old: World, new: World, count: int) -> None:
    words = ["-m", "tests.faults.killed_move", _admin(old), _admin(new), str(count)]
    assert subprocess.run([sys.executable, *words], cwd=HERE, check=False).returncode == -signal.SIGKILL


def _given(world: World, most: int) -> list[str]:
    """What the reader of a member is handed, up to `most` records; it then keeps its place."""
    found: list[str] = []
    with Inbox(world.member(SHOWN[0]), include_erasures=True, follow=False) as inbox:
        for received in inbox:
            found.append(received.key)
            if len(found) == most:
                break
    return found


@contextmanager
def _written_to(world: World, topic: str, seconds: float) -> Generator[None]:
    """As long as brokers do not know yet that nobody may write any more, somebody does."""

    def write() -> None:
        producer = Producer(world.cluster.admin_config())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            producer.produce(topic, b"late", partition=0)
            assert producer.flush(10) == 0
            time.sleep(0.01)

    writer = Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        writer.join()


def _plain(records: list[Message]) -> list[tuple[Any, ...]]:
    return [(one.key(), one.value(), one.headers()) for one in records]


def _placed(world: World) -> list[tuple[Any, ...]]:
    return [(one.offset(), one.timestamp()[1]) for one in world.read([TOPIC])]


def _retract(world: World, *lineages: str) -> None:
    with Publisher(world.member("hotline-se")) as publisher:
        for lineage in lineages:
            publisher.retract(lineage, "ERROR")
        assert publisher.flush(20) == 0


def test_an_exchange_goes_on_on_another_cluster(old: World, tmp_path: Path) -> None:
    """The move is killed three times and run again; what was told before it is withdrawn after it, once."""
    bundle = old.member("hotline-se")
    told, gone, waiting = (takedown(bundle, number) for number in range(3))
    publish_decided(old, bundle, told, gone)
    _retract(old, gone.header.lineage_id)
    for member in SHOWN:
        old.wait_inbox(member, 4)  # two copies, an erasure and a notice
    assert len(_given(old, 2)) == 2
    old.stop_fanouts()
    publish(bundle, waiting)
    before = {member: _plain(old.inbox(member)) for member in SHOWN}
    decided, published = old.decisions(), _placed(old)
    with _elsewhere(old, tmp_path / "home") as new:
        for count in (1, 4, 12):
            _killed(old, new, count)
        with _written_to(old, "audit.access", STILL_WRITTEN_S):
            _move(old, new)
        assert all(row["written"] == 0 for row in _move(old, new))
        assert {member: _plain(new.inbox(member)) for member in SHOWN} == before
        assert _placed(new) == published
        new.apply()
        _goes_on(new, told.header.lineage_id)
        numbers = [one["seq"] for one in [*decided, *new.decisions()] if one["topic"].startswith("alerts.se.")]
        assert numbers == [*range(1, len(numbers) + 1)]
        assert [offset for offset, _ in _placed(new)] == [*range(len(published) + 1)]
        given = _given(new, 100)
        assert f"hotline-se/{told.header.lineage_id}" in given
        assert len(given) == 6, "it stands where it stood: only the first of seven was done with"
        _move(old, new, code=1)  # it is in use


def _goes_on(new: World, told: str) -> None:
    """What waited is given, and what was `told` before is withdrawn."""
    new.start_fanout()
    for member in SHOWN:
        new.wait_inbox(member, 5)
    _retract(new, told)
    for member in SHOWN:
        new.wait_inbox(member, 7)
        records = new.inbox(member)
        assert len(records) == 7, "an erasure and a notice more, and nothing twice"
        assert records[-1].key() == f"withdrawn/hotline-se/{told}".encode()
