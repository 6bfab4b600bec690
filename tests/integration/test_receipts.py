"""Receipts on a real exchange: an honest fan-out is found innocent, and two that are not are found out by name."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.load import publish
from tests.world import World, revised, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.inbox import Inbox
from tocsin.schemas.models import SiteTakenDown

READERS = ("reader-00", "reader-01", "reader-02", "reader-03")


@contextmanager
def _exchange(home: Path, module: str) -> Generator[World]:
    world = World(home, small_policy())
    try:
        world.up()
        world.start_fanout(module, name="worker-0")
        world.wait_lanes(2)
        yield world
    finally:
        world.down()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where an exchange of the test's own lives."""
    return tmp_path / "home"


def _read(world: World, *members: str, **options: Any) -> None:
    for member in members:
        with Inbox(world.member(member), follow=False, **options) as inbox:
            assert sum(1 for _ in inbox) >= 0
            assert inbox.unverified == {}


def _compared(world: World, *words: str, code: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    rows = tocsin("audit", "receipts", "--home", str(world.home), *words, code=code)
    found = [row for row in rows if "finding" in row]
    return found, {row["member"]: row for row in rows if "finding" not in row}


def _published(world: World, count: int, first: int = 0) -> list[SiteTakenDown]:
    bundle = world.member("hotline-se")
    alerts = [takedown(bundle, first + number) for number in range(count)]
    for alert in alerts:  # one by one, so that each has a transaction of its own
        publish(bundle, alert)
    return alerts


def test_an_honest_fan_out_is_found_innocent(world: World) -> None:
    """Restarts of a reader leave no gap, and who sends no receipts is named as not covered."""
    alerts = _published(world, 4)
    world.wait_inbox("reader-00", 4)
    _read(world, "reader-00")
    alerts += _published(world, 2, 10)
    publish(world.member("hotline-se"), revised(alerts[0], 2))
    wait_until(lambda: revised_in(world, "reader-00", alerts[0]), 20, "the revision")
    _read(world, "reader-00", receipts=False)
    _published(world, 1, 20)
    time.sleep(2)
    _read(world, "reader-00")
    found, coverage = _compared(world, "--member", "reader-00", "--member", "reader-01", code=0)
    assert found == []
    assert coverage["reader-00"]["covered"] == "100.0%"
    assert coverage["reader-00"]["given"] == coverage["reader-00"]["came"] >= 8
    assert coverage["reader-01"]["given"] >= 8
    assert _compared(world, "--member", "nobody-xx", code=2) == ([], {})


def revised_in(world: World, member: str, alert: SiteTakenDown) -> bool:
    """Whether a later revision of `alert` has come to `member`."""
    key = f"{alert.header.publisher}/{alert.header.lineage_id}".encode()
    return [message.key() for message in world.inbox(member)].count(key) > 1


def test_a_copy_outside_any_decision_is_found(home: Path) -> None:
    """It is named by its source and by where it lies, in the inbox of who was never given it."""
    with _exchange(home, "tests.faults.leaking") as world:
        [alert] = _published(world, 1)
        world.wait_inbox("reader-03", 1)
        _read(world, *READERS)
        found, coverage = _compared(world, code=3)
        [one] = found
        assert (one["finding"], one["member"], one["place"]) == ("UNDECIDED", "reader-03", f"{alert.topic.name}/0")
        assert one["inbox_offset"] is not None
        assert coverage["reader-00"]["covered"] == "100.0%"


def test_a_copy_that_was_decided_and_never_came_is_found(home: Path) -> None:
    """It is named by its decision, once a later one's copy has come."""
    with _exchange(home, "tests.faults.omitting") as world:
        alerts = _published(world, 5)
        world.wait_inbox("reader-01", 5)
        world.wait_inbox("reader-00", 4)
        _read(world, *READERS)
        found, coverage = _compared(world, code=3)
        [decision] = [one for one in world.decisions() if one["alert_id"] == alerts[2].header.alert_id]
        [one] = found
        assert (one["finding"], one["member"], one["lane"]) == ("MISSING", "reader-00", "se")
        assert (one["decision"], one["place"]) == (decision["seq"], f"{alerts[2].topic.name}/2")
        assert coverage["reader-01"]["covered"] == "100.0%"
        assert coverage["reader-00"]["covered"] == "80.0%"
