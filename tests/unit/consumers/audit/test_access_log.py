"""A shipper that is killed anywhere: what is on record of a log that is rolled all the while is each line, once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.consumers.audit.test_access_lines import line
from tocsin.consumers.audit import access_parts
from tocsin.consumers.audit.access_files import LIVE, log_files, sources
from tocsin.consumers.audit.access_log import AccessTopic, Part, Position, claim_of, value_of
from tocsin.consumers.audit.access_parts import IDLE_MS, bytes_behind, parts
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.names import ACCESS_AUDIT_TOPIC

SOURCE = "broker-1"


class Log:
    """A broker's log in a folder: lines that differ, rolled now and then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / SOURCE
        self.folder.mkdir()
        self.written: list[str] = []
        self._rolled = 0

    def write(self, count: int = 1) -> None:
        """So many more lines."""
        with (self.folder / LIVE).open("ab") as file:
            for _ in range(count):
                name = f"alerts.se.t{len(self.written)}"
                file.write(line(name))
                self.written.append(name)

    def roll(self) -> None:
        """As log4j does: the live file takes the next number."""
        if (self.folder / LIVE).exists():
            self._rolled += 1
            (self.folder / LIVE).rename(self.folder / f"access-{self._rolled}.log")

    def delete_oldest(self) -> None:
        """As log4j does when all are too large."""
        min(self.folder.glob("access-*.log"), key=lambda path: int(path.stem.partition("-")[2])).unlink()

    def parts(self, position: Position | None, now_ms: int = 0) -> list[Part]:
        """What it says from a position on."""
        with log_files(self.folder) as files:
            return [*parts(files, position, now_ms)]


class Topic:
    """Records in their order."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def records(self) -> Iterator[BusRecord]:
        """As a reader has them."""
        for offset, value in enumerate(self.values):
            yield BusRecord(ACCESS_AUDIT_TOPIC, offset, None, value, (), 0)

    def told(self) -> Counter[str]:
        """How often each line is on record."""
        topic, found = AccessTopic(), Counter[str]()
        for record in self.records():
            part = topic.take(record)
            for one in part["accesses"] if part is not None else ():
                found[one["resource"] or ""] += one["count"]
        return found

    def begin(self, run: str) -> tuple[int, Position | None]:
        """What a shipper does first: its claim, and where the log was left."""
        self.values.append(claim_of(SOURCE, run, 0))
        topic = AccessTopic()
        for record in self.records():
            topic.take(record)
        claim = topic.claim(SOURCE, run)
        assert claim is not None
        return claim, topic.position(SOURCE)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """An empty log."""
    return Log(tmp_path)


@pytest.mark.parametrize("seed", range(40))
def test_killed_anywhere_each_line_is_on_record_once(log: Log, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was on its way when its shipper was killed, and arrives at any later time; or is sent twice."""
    monkeypatch.setattr(access_parts, "PART_BYTES_MAX", 3_000)
    assert _killed(log, random.Random(seed)) == Counter(log.written)


def test_a_shipper_that_keeps_its_place_in_memory_is_found_out(log: Log) -> None:
    """By the same comparison, once it has been in the middle of a file."""
    topic = Topic()
    for run in ("a", "b"):
        log.write(5)
        claim, _ = topic.begin(run)
        topic.values += [value_of(SOURCE, run, claim, part) for part in log.parts(None)]
    assert topic.told() > Counter(log.written)


def _killed(log: Log, chance: random.Random) -> Counter[str]:
    """How often each line is on record after shippers that were killed at random while the log was rolled."""
    topic = Topic()
    late: list[bytes] = []
    for run in range(12):
        log.write(chance.randint(0, 30))
        claim, position = topic.begin(f"run {run}")
        for part in log.parts(position):
            value = value_of(SOURCE, f"run {run}", claim, part)
            if chance.random() < 0.2:
                late += [value] if chance.random() < 0.7 else []
                break
            topic.values += [value] * chance.choice((1, 1, 1, 2))
        while late and chance.random() < 0.5:
            topic.values.append(late.pop(chance.randrange(len(late))))
        if chance.random() < 0.4:
            log.roll()
    claim, position = topic.begin("last")
    topic.values += [value_of(SOURCE, "last", claim, part) for part in log.parts(position)]
    topic.values += late
    return topic.told()


def test_a_claim_that_is_not_the_last_one_is_no_claim() -> None:
    """A shipper whose log was taken over is told so."""
    topic = Topic()
    topic.begin("a")
    topic.begin("b")
    seen = AccessTopic()
    for record in topic.records():
        seen.take(record)
    assert (seen.claim(SOURCE, "a"), seen.claim(SOURCE, "b"), seen.claim("broker-2", "b")) == (None, 1, None)


def test_whoever_begins_in_the_middle_has_the_same_from_there_on(log: Log) -> None:
    """A part names its claim, so the claim itself need not be read."""
    topic = Topic()
    claim, _ = topic.begin("a")
    log.write(3)
    [part] = log.parts(None)
    old = value_of(SOURCE, "a", claim, part)
    later, position = topic.begin("b")
    [same] = log.parts(position)
    topic.values += [value_of(SOURCE, "b", later, same), old]
    seen = AccessTopic()
    taken = [seen.take(record) for record in topic.records() if record.offset > later]
    assert [part is not None for part in taken] == [True, False]


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00\x00\xda", b"text", b"\x00\x00\x00\x00\xca" + b"\x00" * 9])
def test_what_is_no_part_is_passed_over(value: bytes | None) -> None:
    """And counted."""
    topic = AccessTopic()
    assert topic.take(BusRecord(ACCESS_AUDIT_TOPIC, 0, None, value, (), 0)) is None
    assert topic.passed_over == 1


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_line_that_is_being_written_waits(log: Log) -> None:
    """Until it is whole; in a file that was rolled, what is there is all that will be."""
    log.write(2)
    with (log.folder / LIVE).open("ab") as file:
        file.write(b"half of a line")
    [part] = log.parts(None)
    position = Position(part.file, part.end, 0)
    assert (part.lines, log.parts(position)) == (2, [])
    log.roll()
    [rest] = log.parts(position)
    assert [one["text"] for one in rest.unread] == ["half of a line"]


def test_files_come_in_the_order_in_which_they_were_written(log: Log) -> None:
    """By their numbers, not by their names; the live one is the last, and a strange file is none."""
    for _ in range(12):
        log.write()
        log.roll()
    log.write()
    (log.folder / "access-x.log").write_bytes(line("stranger"))
    names = [one["resource"] for part in log.parts(None) for one in part.accesses]
    assert names == log.written


def test_what_was_deleted_before_it_was_read_is_told_as_lost(log: Log) -> None:
    """From when to when; and once, wherever the shipper is killed next."""
    log.write(4)
    [read] = log.parts(None, now_ms=5)
    log.write(4)
    log.roll()
    log.write(4)
    log.roll()
    log.delete_oldest()
    lost, rest = log.parts(Position(read.file, read.end, 1_000))
    assert (lost.kind, lost.lines, lost.log_from, rest.lines) == ("LOST", 0, 1_000, 4)
    assert lost.log_to == rest.log_from == rest.accesses[0]["first_at"]
    [again] = log.parts(Position(lost.file, lost.end, lost.log_to))
    assert (again.kind, again.lines) == ("READ", 4)


def test_a_quiet_log_is_said_to_be_so(log: Log) -> None:
    """Once a minute, so that silence on record is not silence of the shipper."""
    log.write()
    [read] = log.parts(None, now_ms=2_000_000_000_000)
    position = Position(read.file, read.end, read.log_to)
    assert log.parts(position, read.log_to + IDLE_MS - 1) == []
    [quiet] = log.parts(position, read.log_to + IDLE_MS)
    assert (quiet.begin, quiet.end, quiet.lines) == (read.end, read.end, 0)
    assert (quiet.log_from, quiet.log_to) == (read.log_to, read.log_to + IDLE_MS)


def test_how_far_behind_it_is(log: Log) -> None:
    """In bytes, over all files."""
    log.write(2)
    log.roll()
    log.write(3)
    total = sum(path.stat().st_size for path in log.folder.iterdir())
    with log_files(log.folder) as files:
        first, second = parts(files, None, 0)
        assert bytes_behind(files, None) == total
        assert bytes_behind(files, Position(first.file, first.end, 0)) == second.end
        assert bytes_behind(files, Position(second.file, second.end, 0)) == 0


def test_whose_logs_there_are(tmp_path: Path) -> None:
    """Folders with a log, rolled or not; nothing else that lies beside them."""
    for name, file in (("broker-1", LIVE), ("broker-2", "access-7.log"), ("tls", "ca.pem")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    (tmp_path / "cluster.json").touch()
    assert sources(tmp_path) == ["broker-1", "broker-2"]
    assert sources(tmp_path / "nothing") == []
