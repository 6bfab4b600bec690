"""What every bus keeps to, stated once: run on the in-memory bus and on a real Kafka."""

from __future__ import annotations

import time
from typing import Protocol

import pytest

from tocsin.schemas.bus import BusRecord, Failure, Headers, Kind, OnDone, Reader, ReadFailed, Writer

WAIT_S = 30.0


class Stage(Protocol):
    """A bus, and what its administrator can do."""

    def topic(self) -> str:
        """A new topic."""
        ...

    def login(self) -> str:
        """A new login, which may use its own groups and nothing else."""
        ...

    def allow(self, login: str, operation: str, topic: str) -> None:
        """Add a right, READ or WRITE."""
        ...

    def deny(self, login: str, operation: str, topic: str) -> None:
        """Add a denial."""
        ...

    def remove(self, login: str, operation: str, topic: str) -> None:
        """Remove rights and denials."""
        ...

    def writer(self, login: str) -> Writer:
        """A writer of that login."""
        ...

    def reader(self, login: str, topic: str, group: str | None) -> Reader:
        """A reader of that login."""
        ...

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Append in the administrator's name."""
        ...


def send(writer: Writer, topic: str, *values: bytes, key: bytes = b"k", headers: Headers | None = None) -> list[object]:
    """Send `values` and wait: what became of each, in the order in which that was known."""
    done: list[object] = []
    for value in values:
        writer.send(topic, key, value, headers or [], done.append)
    assert writer.flush(WAIT_S) == 0
    return done


def read(reader: Reader, count: int, wait_s: float = WAIT_S) -> list[BusRecord]:
    """The next `count` records, or fewer when they do not come in time."""
    found: list[BusRecord] = []
    deadline = time.monotonic() + wait_s
    while len(found) < count and time.monotonic() < deadline:
        record = reader.poll(0.1)
        if record is not None:
            found.append(record)
    return found


def read_to_end(reader: Reader) -> list[BusRecord]:
    """Everything up to the end of the topic."""
    found: list[BusRecord] = []
    end = reader.end(WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while (reader.position or 0) < end or reader.position is None:
        assert time.monotonic() < deadline, f"position {reader.position}, end {end}"
        found += read(reader, 1, 0.2)
    return found


def values(records: list[BusRecord]) -> list[bytes | None]:
    """The values of `records`."""
    return [record.value for record in records]


def failure_of(reader: Reader) -> Kind:
    """Why `reader` cannot read."""
    with pytest.raises(ReadFailed) as failed:
        read(reader, 1)
    return failed.value.kind


class BusContract:
    """Subclasses give the fixture `stage`."""

    def test_records_come_in_order_as_they_were_sent(self, stage: Stage) -> None:
        """Key, value and headers are the same bytes, repeated and empty headers included; offsets and times rise."""
        login, topic = _writer_and_reader(stage)
        headers = [("a", b"\x00\xff"), ("b", b""), ("a", b"2")]
        sent = [bytes([n]) * n for n in range(20)]
        began_ms = time.time_ns() // 1_000_000
        assert send(stage.writer(login), topic, *sent, key=b"\x80key", headers=headers) == [None] * 20
        reader = stage.reader(login, topic, None)
        records = read_to_end(reader)
        reader.close()
        assert values(records) == sent
        assert [record.offset for record in records] == list(range(20))
        assert {(record.topic, record.key, record.headers) for record in records} == {
            (topic, b"\x80key", tuple(headers))
        }
        assert began_ms - 5_000 <= records[0].appended_ms <= records[-1].appended_ms <= began_ms + 60_000

    def test_what_is_sent_twice_is_there_twice(self, stage: Stage) -> None:
        """The bus does not know duplicates: telling them apart is the exchange's work."""
        login, topic = _writer_and_reader(stage)
        send(stage.writer(login), topic, b"same", b"same")
        reader = stage.reader(login, topic, None)
        assert values(read_to_end(reader)) == [b"same", b"same"]
        reader.close()

    def test_each_send_is_answered_once(self, stage: Stage) -> None:
        """`on_done` is called once for each record, by `poll` or `flush`, refused ones included."""
        login, topic = _writer_and_reader(stage)
        writer = stage.writer(login)
        done: list[int] = []

        def note(number: int) -> OnDone:
            return lambda _: done.append(number)

        for number in range(50):
            writer.send(topic, b"k", b"v", [], note(number))
            writer.poll(0)
        assert writer.flush(WAIT_S) == 0
        writer.close()
        assert sorted(done) == list(range(50))

    def test_writing_needs_the_right(self, stage: Stage) -> None:
        """Without WRITE nothing is written; a denial wins over the right; with the right alone it works again."""
        login, topic = stage.login(), stage.topic()
        stage.allow(login, "READ", topic)
        writer = stage.writer(login)
        assert _kinds(send(writer, topic, b"1")) == [Kind.DENIED]
        stage.allow(login, "WRITE", topic)
        assert _eventually(writer, topic, b"2")
        stage.deny(login, "WRITE", topic)
        assert _kinds(send(writer, topic, b"3")) == [Kind.DENIED]
        writer.close()
        reader = stage.reader(login, topic, None)
        assert values(read_to_end(reader)) == [b"2"]
        reader.close()

    def test_writing_to_no_topic_fails(self, stage: Stage) -> None:
        """A topic that does not exist is not made by writing to it."""
        login = stage.login()
        stage.allow(login, "WRITE", "no-such-topic")
        writer = stage.writer(login)
        assert _kinds(send(writer, "no-such-topic", b"1")) == [Kind.NO_TOPIC]
        writer.close()

    def test_what_is_too_large_is_refused(self, stage: Stage) -> None:
        """A record of 3 MB is refused, and the next one written."""
        login, topic = _writer_and_reader(stage)
        writer = stage.writer(login)
        assert _kinds(send(writer, topic, bytes(3_000_000))) == [Kind.TOO_LARGE]
        assert send(writer, topic, b"small") == [None]
        writer.close()

    def test_reading_needs_the_right(self, stage: Stage) -> None:
        """Without READ on the topic, and in a group of somebody else's, a reader fails and says why."""
        login, topic = _writer_and_reader(stage)
        stranger = stage.login()
        for reader, kind in (
            (stage.reader(stranger, topic, f"{stranger}.inbox"), Kind.DENIED),
            (stage.reader(stranger, topic, None), Kind.DENIED),
            (stage.reader(login, topic, f"{stranger}.inbox"), Kind.DENIED),
        ):
            assert failure_of(reader) is kind
            reader.close()

    def test_reading_no_topic_fails(self, stage: Stage) -> None:
        """A topic that does not exist is an error, not an empty topic."""
        login = stage.login()
        stage.allow(login, "READ", "no-such-topic")
        reader = stage.reader(login, "no-such-topic", f"{login}.inbox")
        assert failure_of(reader) is Kind.NO_TOPIC
        reader.close()

    def test_a_right_taken_away_ends_reading(self, stage: Stage) -> None:
        """A reader at work fails once its right is gone, and gets nothing that was written afterwards."""
        login, topic = _writer_and_reader(stage)
        reader = stage.reader(login, topic, f"{login}.inbox")
        send(stage.writer(login), topic, b"before")
        assert values(read(reader, 1)) == [b"before"]
        stage.deny(login, "READ", topic)
        stage.append(topic, b"k", b"after", [])
        assert failure_of(reader) is Kind.DENIED
        reader.close()

    def test_what_was_not_committed_comes_again(self, stage: Stage) -> None:
        """The next reader of the group begins where the group's place is: at the first record, if it never said."""
        login, topic = _writer_and_reader(stage)
        send(stage.writer(login), topic, b"1", b"2", b"3")
        assert values(_read_once(stage, login, topic, 2)) == [b"1", b"2"]
        assert values(_read_once(stage, login, topic, 3)) == [b"1", b"2", b"3"]

    def test_what_was_committed_does_not_come_again(self, stage: Stage) -> None:
        """The place is the group's: committed at once, or stored and then closed; others have their own."""
        login, topic = _writer_and_reader(stage)
        send(stage.writer(login), topic, b"1", b"2", b"3", b"4")
        reader = stage.reader(login, topic, f"{login}.inbox")
        read(reader, 3)
        assert reader.commit(1)
        reader.close()
        reader = stage.reader(login, topic, f"{login}.inbox")
        assert values(read(reader, 1)) == [b"2"]
        reader.store(2)
        reader.close()
        assert values(_read_once(stage, login, topic, 2)) == [b"3", b"4"]
        assert values(_read_once(stage, login, topic, 1, group="other")) == [b"1"]

    def test_one_reader_of_a_group_reads(self, stage: Stage) -> None:
        """A second reader of a group stands by, without a position, and goes on when the first leaves."""
        login, topic = _writer_and_reader(stage)
        send(stage.writer(login), topic, b"1", b"2")
        first = stage.reader(login, topic, f"{login}.inbox")
        assert values(read(first, 1)) == [b"1"]
        first.store(1)
        second = stage.reader(login, topic, f"{login}.inbox")
        # joining moves the group: whichever reads afterwards, the other stands by
        seen = _read_both(first, second, 2.0)
        assert values([record for record in seen if record.offset == 1]) in ([b"2"], [b"2", b"2"])
        assert (first.position is None) != (second.position is None)
        reading, waiting = (first, second) if second.position is None else (second, first)
        reading.store(2)
        reading.close()
        stage.append(topic, b"k", b"3", [])
        assert values(read(waiting, 1)) == [b"3"]
        waiting.close()

    def test_tombstones_are_records_without_value(self, stage: Stage) -> None:
        """A tombstone has its key and no value."""
        login, topic = _writer_and_reader(stage)
        stage.append(topic, b"gone", None, [])
        reader = stage.reader(login, topic, None)
        [record] = read_to_end(reader)
        assert (record.key, record.value, record.headers) == (b"gone", None, ())
        reader.close()

    def test_the_end_of_an_empty_topic_is_found(self, stage: Stage) -> None:
        """Position and end meet at 0, with a group and without."""
        login, topic = _writer_and_reader(stage)
        for group in (None, f"{login}.inbox"):
            reader = stage.reader(login, topic, group)
            assert reader.position is None
            assert read_to_end(reader) == []
            assert reader.position == reader.end(WAIT_S) == 0
            reader.close()


def _writer_and_reader(stage: Stage) -> tuple[str, str]:
    """A new login that may read and write a new topic."""
    login, topic = stage.login(), stage.topic()
    stage.allow(login, "READ", topic)
    stage.allow(login, "WRITE", topic)
    return login, topic


def _kinds(done: list[object]) -> list[Kind]:
    return [one.kind for one in done if isinstance(one, Failure)]


def _eventually(writer: Writer, topic: str, value: bytes) -> bool:
    """Whether a record is written within a while: clients remember for a moment that they were refused."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if send(writer, topic, value) == [None]:
            return True
        time.sleep(0.2)
    return False


def _read_once(stage: Stage, login: str, topic: str, count: int, *, group: str = "inbox") -> list[BusRecord]:
    reader = stage.reader(login, topic, f"{login}.{group}")
    try:
        return read(reader, count)
    finally:
        reader.close()


def _read_both(first: Reader, second: Reader, wait_s: float) -> list[BusRecord]:
    """What two readers read, until one has a position and has read to the end, for `wait_s` at least."""
    found: list[BusRecord] = []
    began = time.monotonic()
    while time.monotonic() - began < wait_s or (first.position is None) == (second.position is None):
        assert time.monotonic() - began < WAIT_S, (first.position, second.position)
        found += read(first, 1, 0.1) + read(second, 1, 0.1)
    return found
