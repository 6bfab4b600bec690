"""Packed entries: equal when read back, and no byte of what is dropped is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.consumers.test_ledger import ENTRIES, entry
from tocsin.consumers.contents import FileContents, MemoryContents, Place
from tocsin.consumers.entries import Entries
from tocsin.consumers.entry import Entry, Given


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[FileContents]:
    """In a file."""
    made = FileContents(tmp_path)
    yield made
    made.close()


def _all_bytes(contents: FileContents) -> bytes:
    return contents.get(Place(0, 10_000))


# a lineage has the same key in the ledger and in every inbox
@given(st.lists(ENTRIES.map(lambda one: replace(one, inbox_key=one.key)), max_size=8), st.data())
@settings(deadline=None)
def test_entries_are_what_was_put_packed_or_not(made: list[Entry], data: st.DataObject) -> None:
    """Put over each other, packed at any time, deleted: the same as a dictionary."""
    entries, plain = Entries(MemoryContents()), dict[str, Entry]()
    for one in made:
        entries[one.key] = plain[one.key] = one
        if data.draw(st.booleans()):
            entries.pack(one.key)
        assert entries == plain
        head = entries.head(one.key)
        assert head is not None
        assert (head.revision, head.given, head.standing()) == (one.revision, one.given, one.standing())
        [outline] = entries.outlines()
        assert (outline.topic, outline.ended, outline.ends_at) == (one.topic, one.ended, one.ends_at)
        if data.draw(st.booleans()):
            del entries[one.key], plain[one.key]
    assert entries == plain


def test_an_outline_names_the_last_decision() -> None:
    """Packed or not."""
    entries = Entries(MemoryContents())
    entries["p/1"] = entry("p/1", Given(3, 1, ("a",), ("r",)), Given(7, 1, ("b",), ("r",)))
    entries["p/2"] = entry("p/2")
    before = [*entries.outlines()]
    for key in entries:
        entries.pack(key)
    assert [*entries.outlines()] == before
    assert [outline.seq for outline in before] == [7, 0]


def test_no_byte_is_left_of_what_was_replaced_or_deleted(contents: FileContents, tmp_path: Path) -> None:
    """Its room is used again, and the file has no name."""
    entries = Entries(contents)
    for key in ("p/1", "p/2"):
        entries[key] = entry(key, value=f"marker of {key}".encode())
        entries.pack(key)
    assert b"marker of p/1" in _all_bytes(contents)
    size = len(_all_bytes(contents))
    entries["p/1"] = entry("p/1", value=b"", headers=(), status="RETRACTED")
    entries.pack("p/1")
    assert b"marker of p/1" not in _all_bytes(contents)
    assert entries["p/2"].value == b"marker of p/2"
    del entries["p/2"]
    assert not any(_all_bytes(contents))
    entries["p/3"] = entry("p/3", value=b"third")
    entries.pack("p/3")
    assert entries["p/3"].value == b"third"
    assert len(_all_bytes(contents)) <= size
    assert [*tmp_path.iterdir()] == []


def test_a_full_disk_loses_nothing_that_was_kept(contents: FileContents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry stays as it is, unpacked, and the error is told."""
    entries = Entries(contents)
    entries["p/1"] = entry("p/1", value=b"kept")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tocsin.consumers.contents.os.pwrite", full)
    with pytest.raises(OSError, match="No space"):
        entries.pack("p/1")
    assert entries["p/1"].value == b"kept"
