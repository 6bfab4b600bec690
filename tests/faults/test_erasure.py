"""After a retraction the bytes are gone from every disk of the exchange, within the bound that the settings make.

The settings are those of docs/withdrawal.md, "When the bytes are gone", scaled down to seconds.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
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
LAG: Final = {"max.compaction.lag.ms": str(LAG_MS)}
AGE: Final = {"retention.ms": str(RETENTION_MS), "segment.ms": str(SEGMENT_MS)}


class Erasing:
    """An exchange with one alert and its correction, each marked by the token of the site that it names."""

    def __init__(self, home: Path, *, lag: bool = True, line_test_ms: int = LINE_TEST_MS) -> None:
        self.world = World(home, small_policy(), settings=BROKER)
        self._compacted = {**PLAIN, **(LAG if lag else {})}
        self._line_test_ms = line_test_ms

    def tell(self) -> None:
        """Start everything and have a reader read both revisions."""
        self.world.up()
        self.world.set_topics([*self.world.topics("inbox."), *self.world.topics("ledger.")], self._compacted)
        self.world.set_topics([TOPIC], PLAIN)
        self.world.start_fanout(words=("--line-test", str(self._line_test_ms / 1_000)))
        self.world.wait_lanes(2)
        bundle = self.world.member("hotline-se")
        self.first = takedown(bundle, 1)
        other = takedown(bundle, 2)
        self.second = SiteTakenDown(header=revised(self.first, 2).header, details=other.details)
        self.lineage_id = self.first.header.lineage_id
        self.key = f"hotline-se/{self.lineage_id}".encode()
        wait_until(lambda: all(self._tested(place) for place in ("se", "de")), 20, "the first test of the lines")
        with Publisher(bundle) as publisher:
            for alert in (self.first, self.second):
                publisher.publish(alert)
        for member in HOLDERS:
            self.world.wait_inbox(member, 2)
        with Inbox(self.world.member(HOLDERS[0]), follow=False, group="erasure") as inbox:
            assert [one.alert for one in inbox if one.alert] != []

    def _tested(self, place: str) -> bool:
        member = {"se": "reader-00", "de": "hotline-de"}[place]
        records = self.world.read([f"inbox.{member}"])
        return any(record.key() == f"line-test/{place}".encode() for record in records)

    def retract(self) -> None:
        """Retract; when this returns it is decided, and every inbox has been told to erase."""
        with Publisher(self.world.member("hotline-se")) as publisher:
            publisher.retract(self.lineage_id, "ERASURE")
        for member in HOLDERS:
            wait_until(partial(self._is_erased, member), 20, f"the erasure in {member}'s inbox")
        # what is not decided yet may not go by age: the lane would stop
        self.world.set_topics([TOPIC], AGE)

    def _is_erased(self, member: str) -> bool:
        return any((one.key(), one.value()) == (self.key, None) for one in self.world.inbox(member))

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


@contextmanager
def exchange(home: Path, *, lag: bool = True, line_test_ms: int = LINE_TEST_MS) -> Generator[Erasing]:
    """An exchange that was told an alert, and holds its bytes."""
    erasing = Erasing(home, lag=lag, line_test_ms=line_test_ms)
    try:
        erasing.tell()
        for marker in erasing.markers():
            held = "\n".join(erasing.holding(marker))
            assert all(place in held for place in (TOPIC, "ledger.se", *(f"inbox.{one}" for one in HOLDERS))), held
        yield erasing
    finally:
        erasing.world.down()


def test_after_a_retraction_no_file_holds_a_byte_of_it(tmp_path: Path) -> None:
    """Neither data and deleted segments of the broker, nor spools, nor state; what was decided stays."""
    with exchange(tmp_path / "home") as erasing:
        erasing.retract()
        first, second = erasing.markers()
        wait_until(lambda: erasing.holding(first) + erasing.holding(second) == [], BOUND_S, "no file with a marker")
        erasing.check_decisions()


@pytest.mark.parametrize(
    ("lag", "line_test_ms"), [(False, LINE_TEST_MS), (True, NEVER_MS)], ids=["no-compaction-lag", "no-line-tests"]
)
def test_what_the_bound_rests_on_is_missed(tmp_path: Path, lag: bool, line_test_ms: int) -> None:  # noqa: FBT001
    """Without the lag, or without line tests, readers' inboxes still hold the bytes when the bound is over."""
    with exchange(tmp_path / "home", lag=lag, line_test_ms=line_test_ms) as erasing:
        erasing.retract()
        time.sleep(BOUND_S)
        held = "\n".join(erasing.holding(erasing.markers()[1]))
        assert all(f"inbox.{one}" in held for one in HOLDERS), held
        assert TOPIC not in held, "what goes by age has nothing to do with it"
