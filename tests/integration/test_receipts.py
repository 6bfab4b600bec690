"""Receipts on a real exchange: an honest fan-out is found innocent, and two that are not are found out by name."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import pytest

from tests.load import LONG, publish
from tests.world import World, revised, small_policy, takedown, tocsin, wait_until
from tocsin.consumers.errors import InboxError
from tocsin.consumers.inbox import Inbox
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown

SHORT_S, LONG_S = 30.0, 600.0
READERS = ("reader-00", "reader-01", "reader-02", "reader-03")


@contextmanager
def _exchange(home: Path, *modules: str) -> Generator[World]:
    world = World(home, small_policy())
    try:
        world.up()
        for number, module in enumerate(modules):
            world.start_fanout(module, name=f"worker-{number}")
        if modules:
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


def _exported(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    """What is found in an export, offline; nothing is sealed here, which is a fault as well."""
    folder = world.home / "exported"
    tocsin("audit", "export", str(folder), "--home", str(world.home), "--settle", "0")
    rows = tocsin("audit", "verify", str(folder), "--bundle", str(world.member("reader-00").path), code=3)
    found = {(row["check"], row["of"]): row for row in rows}
    told = {of: row["result"] for (check, of), row in found.items() if check == "receipts"}
    assert told == {f"outbox.{reader}": "passed" for reader in READERS if f"outbox.{reader}" in told}
    assert "outbox.reader-00" in told
    return found


def _published(world: World, count: int, first: int = 0) -> list[SiteTakenDown]:
    bundle = world.member("hotline-se")
    alerts = [takedown(bundle, first + number) for number in range(count)]
    for alert in alerts:  # one by one, so that each has a transaction of its own
        publish(bundle, alert)
    return alerts


def test_an_honest_fan_out_is_found_innocent(home: Path) -> None:
    """Restarts of a reader leave no gap, and who sends no receipts is named as not covered."""
    with _exchange(home, "tocsin.deploy.cli") as world:
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
        month = datetime.now(UTC).strftime("%Y-%m")
        report = tocsin("audit", "report", "--month", month, "--receipts", "--home", str(world.home))
        told = {row["member"]: row for row in report if row["table"] == "receipts"}
        assert told["reader-00"] == coverage["reader-00"] | {"table": "receipts", "findings": 0}


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
        exported = _exported(world)
        fault = exported["delivered", "inbox.reader-03"]
        assert fault["result"] == "failed"
        assert fault["what"].startswith(
            f"UNDECIDED: offset {one['inbox_offset']} of the inbox, of {alert.topic.name}/0: no decision gives it"
        )
        assert fault["first fault"].startswith("outbox.reader-03.jsonl, line ")
        assert exported["delivered", "inbox.reader-00"]["result"] == "passed"


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
        exported = _exported(world)
        fault = exported["delivered", "inbox.reader-00"]
        assert fault["result"] == "failed"
        assert fault["what"].startswith(f"MISSING: a copy of {one['place']}, by decision {decision['seq']} of se: ")
        assert "(80.0% covered)" in fault["what"]
        assert exported["delivered", "inbox.reader-01"]["result"] == "passed"


def test_a_random_life_is_found_innocent(home: Path) -> None:
    """Fan-outs killed and stopped, readers that come and go, revisions, retractions, expiry, an inbox made anew."""
    with _exchange(home) as world:
        life = _Life(world, Random(7))
        readers = [Thread(target=life.read, args=(reader, Random(at))) for at, reader in enumerate(READERS[:3])]
        for thread in readers:
            thread.start()
        try:
            life.live(LONG_S if LONG else SHORT_S)
        finally:
            life.ended.set()
            for thread in readers:
                thread.join(60)
        wait_until(life.at_rest, 60, "the last alert in all inboxes")
        _read(world, *READERS)
        found, coverage = _compared(world, code=0)
        assert found == []
        assert coverage["reader-00"]["covered"] == coverage["reader-01"]["covered"] == "100.0%"
        assert coverage["reader-00"]["came"] > len(life.alerts) // 2
        assert life.failures == []


class _Life:
    """What happens to an exchange whose readers tell what comes."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.alerts: list[SiteTakenDown] = []
        self.failures: list[str] = []
        self.ended = Event()
        self._random = random
        self._killed = 0
        self._fanouts = [world.start_fanout(name=f"worker-{number}") for number in range(2)]
        world.wait_lanes(2)

    def live(self, seconds: float) -> None:
        """Something now and then, and at the end one more alert."""
        deadline, steps = time.monotonic() + seconds, 0
        # each at least once, and then by chance
        todo = [self._kill, self._remake, self._kill]
        with Publisher(self.world.member("hotline-se")) as publisher:
            while time.monotonic() < deadline:
                self._publish(publisher)
                time.sleep(self._random.random() / 4)
                steps += 1
                if steps % 40 == 20:  # every five seconds or so
                    (todo.pop(0) if todo else self._random.choice([self._kill, self._remake]))()
            assert publisher.flush(60) == 0
            self.alerts.append(takedown(self.world.member("hotline-se"), len(self.alerts)))
            publisher.publish(self.alerts[-1])
            assert publisher.flush(60) == 0

    def _publish(self, publisher: Publisher) -> None:
        bundle = self.world.member("hotline-se")
        match self._random.randrange(8):
            case 0 if self.alerts:
                at = self._random.randrange(len(self.alerts))
                alert = self.alerts[at] = revised(self.alerts[at], self.alerts[at].header.revision + 1)
                publisher.publish(alert)
            case 1 if len(self.alerts) > 4:
                alert = self.alerts.pop(self._random.randrange(len(self.alerts)))
                publisher.retract(alert.header.lineage_id, "ERROR", topic=alert.topic)
            case 2:
                ends = datetime.now(UTC) + timedelta(seconds=self._random.randrange(3, 8))
                publisher.publish(takedown(bundle, len(self.alerts), expires_at=ends))
            case _:
                self.alerts.append(takedown(bundle, len(self.alerts)))
                publisher.publish(self.alerts[-1])

    def _kill(self) -> None:
        """The process is killed or stopped, and another one takes its place."""
        self._killed += 1
        self.world.stop_fanout(self._fanouts.pop(0), self._random.choice([signal.SIGKILL, signal.SIGTERM]))
        self._fanouts.append(self.world.start_fanout(name=f"next-{self._killed}"))

    def _remake(self) -> None:
        """An inbox is deleted and made anew."""
        admin = self.world.admin()
        topic = "inbox.reader-02"
        for future in admin.delete_topics([topic]).values():
            future.result(20)
        self.world.apply()

    def read(self, reader: str, random: Random) -> None:
        """One reader after another, of which some keep their place and say nothing, as if killed before they tell."""
        while not self.ended.is_set():
            tells = random.random() > 0.3  # most do
            try:
                with Inbox(self.world.member(reader), receipts=tells, timeout_s=2 + random.random() * 3) as inbox:
                    for number, _ in enumerate(inbox):
                        if number > 30 or self.ended.is_set():  # the rest is the next one's
                            break
                    if inbox.unverified:
                        self.failures.append(f"{reader}: {inbox.unverified}")
            except InboxError:
                time.sleep(1)

    def at_rest(self) -> bool:
        """Whether the last alert has come to everybody who sees it."""
        value = self.alerts[-1].to_avro()
        return all(value in [message.value() for message in self.world.inbox(reader)] for reader in READERS[:3])
