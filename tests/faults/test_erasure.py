"""After a retraction the bytes are gone from every disk of the exchange, within the bound that the settings make.

The settings are those of docs/withdrawal.md, "When the bytes are gone", scaled down to seconds.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import pytest

from tests.load import TOPIC
from tests.world import World, revised, small_policy, takedown, wait_until
from tocsin.consumers.inbox import Inbox
from tocsin.producers.publisher import Publisher
from tocsin.schemas.models import SiteTakenDown

HOLDERS: Final = ("reader-00", "reader-01", "reader-02")
LAG_MS, LINE_TEST_MS, BACKOFF_MS, DELETE_MS = 2_000, 2_000, 500, 1_000
RETENTION_MS, SEGMENT_MS, CHECK_MS = 1_000, 1_000, 1_000
# the steps of docs/withdrawal.md, one after the other, of what is compacted and of what goes by age
COMPACTED_MS: Final = LAG_MS + LINE_TEST_MS + BACKOFF_MS + DELETE_MS
AGED_MS: Final = RETENTION_MS + SEGMENT_MS + CHECK_MS + DELETE_MS
# twice that, for the cleaning itself and a machine that is busy with other things
BOUND_S: Final = 2 * max(COMPACTED_MS, AGED_MS) / 1_000
NEVER_MS: Final = 100_000_000
BROKER: Final = {
    "log.cleaner.backoff.ms": BACKOFF_MS,
    "log.retention.check.interval.ms": CHECK_MS,
    "log.initial.task.delay.ms": CHECK_MS,
}
# what lies compressed could not be found
PLAIN: Final = {"compression.type": "uncompressed", "file.delete.delay.ms": str(DELETE_MS)}
AGE: Final = {"retention.ms": str(RETENTION_MS), "segment.ms": str(SEGMENT_MS)}
AGELESS: Final = dict.fromkeys(AGE, str(NEVER_MS))


class Erasing:
    """One alert and its correction, each marked by the token of the site that it names."""

    def __init__(self, world: World, *, lag_ms: int = LAG_MS, line_test_ms: int = LINE_TEST_MS) -> None:
        self.world = world
        self._compacted = {**PLAIN, "max.compaction.lag.ms": str(lag_ms)}
        self._words = ("--line-test", str(line_test_ms / 1_000))
        bundle = world.member("hotline-se")
        self.first = takedown(bundle, random.randrange(10**9))
        other = takedown(bundle, random.randrange(10**9))
        self.second = SiteTakenDown(header=revised(self.first, 2).header, details=other.details)
        self.lineage_id = self.first.header.lineage_id
        self.key = f"hotline-se/{self.lineage_id}".encode()

    def tell(self) -> subprocess.Popen[bytes]:
        """Start a fan-out and have a reader read both revisions."""
        world = self.world
        world.set_topics([*world.topics("inbox."), *world.topics("ledger.")], self._compacted)
        world.set_topics([TOPIC], {**PLAIN, **AGELESS})
        taken = world.log().count("lane_taken")
        fanout = world.start_fanout(words=self._words)
        world.wait_lanes(taken + 2)
        wait_until(lambda: all(self._tested(place) for place in ("se", "de")), 20, "the first test of the lines")
        with Publisher(world.member("hotline-se")) as publisher:
            for alert in (self.first, self.second):
                publisher.publish(alert)
        for member in HOLDERS:
            wait_until(partial(self._has, member, self.second.to_avro()), 20, f"the correction in {member}'s inbox")
        with Inbox(world.member(HOLDERS[0]), follow=False, group="erasure") as inbox:
            assert self.second in [one.alert for one in inbox]
        return fanout

    def _tested(self, place: str) -> bool:
        member = {"se": "reader-00", "de": "hotline-de"}[place]
        records = self.world.read([f"inbox.{member}"])
        return any(record.key() == f"line-test/{place}".encode() for record in records)

    def retract(self) -> None:
        """Retract; when this returns it is decided, and every inbox has been told to erase."""
        with Publisher(self.world.member("hotline-se")) as publisher:
            publisher.retract(self.lineage_id, "ERASURE")
        for member in HOLDERS:
            wait_until(partial(self._has, member, None), 20, f"the erasure in {member}'s inbox")
        # what is not decided yet may not go by age: the lane would stop
        self.world.set_topics([TOPIC], AGE)

    def _has(self, member: str, value: bytes | None) -> bool:
        return any((one.key(), one.value()) == (self.key, value) for one in self.world.inbox(member))

    def markers(self) -> tuple[bytes, bytes]:
        """What only the first and only the second revision holds."""
        return _token(self.first), _token(self.second)

    def holding(self, marker: bytes) -> list[str]:
        """Every file under the exchange's home, of broker, publisher, reader or fan-out, that holds `marker`."""
        return next(found for found in self._looks(marker) if found is not None)

    def _looks(self, marker: bytes) -> Iterator[list[str] | None]:
        """Look again and again: files, or None where one went away, or took another name, before it was read."""
        while True:
            try:
                files = sorted(path for path in self.world.home.rglob("*") if path.is_file())
                found = [str(path.relative_to(self.world.home)) for path in files if marker in path.read_bytes()]
                after = sorted(path for path in self.world.home.rglob("*") if path.is_file())
            except FileNotFoundError:
                yield None
            else:
                yield found if files == after else None

    def check_decisions(self) -> None:
        """What was decided can be read all the same, and names the lineage and who was told."""
        mine = [one for one in self.world.decisions() if one["lineage_id"] == self.lineage_id]
        assert [one["revision"] for one in mine][:2] == [1, 2]
        assert [one["publisher"] for one in mine] == ["hotline-se"] * 3
        assert [sorted(to["member"] for to in one["given"]) for one in mine] == [[*HOLDERS], [*HOLDERS], []]
        assert sorted(mine[2]["erased"]) == [*HOLDERS]


def _token(alert: SiteTakenDown) -> bytes:
    assert alert.details is not None
    return alert.details.url_tokens[0].encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One Kafka with hasty brokers for all; each test has its own alert and fan-out."""
    made = World(tmp_path_factory.mktemp("erasure") / "home", small_policy(), settings=BROKER)
    try:
        made.up()
        yield made
    finally:
        made.down()


@contextmanager
def told(world: World, *, lag_ms: int = LAG_MS, line_test_ms: int = LINE_TEST_MS) -> Generator[Erasing]:
    """An exchange that was told an alert, and holds its bytes."""
    erasing = Erasing(world, lag_ms=lag_ms, line_test_ms=line_test_ms)
    fanout = erasing.tell()
    first, second = erasing.markers()
    assert erasing.holding(first) != []
    held = "\n".join(erasing.holding(second))
    assert all(place in held for place in (TOPIC, "ledger.se", *(f"inbox.{one}" for one in HOLDERS))), held
    try:
        yield erasing
    finally:
        world.stop_fanout(fanout)


def test_after_a_retraction_no_file_holds_a_byte_of_it(world: World) -> None:
    """Neither data and deleted segments of the broker, nor spools, nor state; what was decided stays."""
    with told(world) as erasing:
        erasing.retract()
        first, second = erasing.markers()
        wait_until(lambda: erasing.holding(first) + erasing.holding(second) == [], BOUND_S, "no file with a marker")
        erasing.check_decisions()


@pytest.mark.parametrize(
    ("lag_ms", "line_test_ms"),
    [(NEVER_MS, LINE_TEST_MS), (LAG_MS, NEVER_MS)],
    ids=["no-compaction-lag", "no-line-tests"],
)
def test_what_the_bound_rests_on_is_missed(world: World, lag_ms: int, line_test_ms: int) -> None:
    """Without the lag, or without line tests, readers' inboxes still hold the bytes when the bound is over."""
    with told(world, lag_ms=lag_ms, line_test_ms=line_test_ms) as erasing:
        # past the lag, so that it is the erasure that rolls the segment of the copies, and nothing rolls its own
        time.sleep(LAG_MS / 1_000)
        erasing.retract()
        time.sleep(BOUND_S)
        held = "\n".join(erasing.holding(erasing.markers()[1]))
        assert all(f"inbox.{one}" in held for one in HOLDERS), held
        assert TOPIC not in held, "what goes by age has nothing to do with it"
