"""The in-memory bus keeps to the contract of every bus, and has failures on demand."""

from __future__ import annotations

from itertools import count
from typing import cast

import pytest

from tests.contract.bus import BusContract, read, send, values
from tocsin.schemas.bus import Failure, Headers, Kind
from tocsin.schemas.memory import MemoryBus, MemoryReader, MemoryWriter, Operation


class MemoryStage:
    """A `MemoryBus` as a stage."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self._numbers = count()

    def topic(self) -> str:
        """A new topic."""
        name = f"topic-{next(self._numbers)}"
        self.bus.create_topic(name)
        return name

    def login(self) -> str:
        """A new name; the bus wants nothing more."""
        return f"member-{next(self._numbers)}"

    def allow(self, login: str, operation: str, topic: str) -> None:
        """Add a right."""
        self.bus.rights.allow(login, cast("Operation", operation), topic)

    def deny(self, login: str, operation: str, topic: str) -> None:
        """Add a denial."""
        self.bus.rights.deny(login, cast("Operation", operation), topic)

    def remove(self, login: str, operation: str, topic: str) -> None:
        """Remove both."""
        self.bus.rights.remove(login, cast("Operation", operation), topic)

    def writer(self, login: str) -> MemoryWriter:
        """A writer."""
        return self.bus.writer(login)

    def reader(self, login: str, topic: str, group: str | None) -> MemoryReader:
        """A reader."""
        return self.bus.reader(login, topic, group)

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Append."""
        self.bus.append(topic, key, value, headers)


@pytest.fixture
def stage() -> MemoryStage:
    """A bus of its own for each test."""
    return MemoryStage()


class TestMemoryBus(BusContract):
    """The contract, on memory."""


@pytest.fixture
def bus() -> MemoryBus:
    """One topic that `bank` may use."""
    made = MemoryBus()
    made.create_topic("t")
    made.rights.allow("bank", "READ", "t")
    made.rights.allow("bank", "WRITE", "*")
    return made


def test_a_bus_that_is_down_writes_nothing_and_reads_on_later(bus: MemoryBus) -> None:
    """Writes are UNREACHABLE, readers say what is wrong; afterwards all goes on where it was."""
    writer, reader = bus.writer("bank"), bus.reader("bank", "t", "bank.inbox")
    send(writer, "t", b"1", b"2")
    assert values(read(reader, 1)) == [b"1"]
    bus.take_down()
    assert [cast("Failure", one).kind for one in send(writer, "t", b"lost")] == [Kind.UNREACHABLE]
    assert writer.trouble
    assert reader.trouble
    assert (reader.poll(0), reader.commit(1)) == (None, False)
    bus.bring_up()
    assert values(read(reader, 1)) == [b"2"]
    assert reader.trouble is None
    assert send(writer, "t", b"3") == [None]
    assert writer.trouble is None


def test_a_lost_answer_is_a_failure_of_what_was_written(bus: MemoryBus) -> None:
    """The writer must take it for unwritten, so it is sent again: this is how duplicates come about."""
    bus.lose_answers(1)
    [first, second] = send(bus.writer("bank"), "t", b"1", b"2")
    assert isinstance(first, Failure)
    assert first.kind is Kind.UNREACHABLE
    assert second is None
    assert [record.value for record in bus.records("t")] == [b"1", b"2"]


def test_compaction_keeps_the_last_of_each_key_and_its_offset(bus: MemoryBus) -> None:
    """Readers meet gaps in the offsets, and no tombstones."""
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None), (b"c", b"4")):
        bus.append("t", key, value)
    bus.compact("t")
    reader = bus.reader("bank", "t")
    assert [(record.offset, record.value) for record in read(reader, 2)] == [(2, b"3"), (4, b"4")]
    assert reader.position == reader.end(0) == 5


def test_a_topic_made_again_is_read_from_its_beginning(bus: MemoryBus) -> None:
    """Deleting a topic deletes the places in it."""
    send(bus.writer("bank"), "t", b"1", b"2")
    reader = bus.reader("bank", "t", "bank.inbox")
    read(reader, 2)
    reader.commit(2)
    bus.delete_topic("t")
    bus.create_topic("t")
    assert bus.place("bank.inbox", "t") is None
    send(bus.writer("bank"), "t", b"3")
    assert values(read(reader, 1, 1.0)) == [b"3"]


def test_an_authorizer_of_ones_own_is_asked(bus: MemoryBus) -> None:
    """It is asked about topics and groups, and has the last word."""
    asked: list[tuple[str, str, str, str]] = []

    def nobody(login: str, operation: str, resource: str, name: str) -> bool:
        asked.append((login, operation, resource, name))
        return resource == "GROUP"

    bus = MemoryBus(authorizer=nobody)
    bus.create_topic("t")
    bus.rights.allow("bank", "WRITE", "t")
    assert [cast("Failure", one).kind for one in send(bus.writer("bank"), "t", b"1")] == [Kind.DENIED]
    with pytest.raises(Exception, match="bank may not READ t"):
        bus.reader("bank", "t", "any").poll(0)
    assert asked == [("bank", "WRITE", "TOPIC", "t"), ("bank", "READ", "GROUP", "any"), ("bank", "READ", "TOPIC", "t")]
