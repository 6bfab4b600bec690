"""The ledger: what is written is read back, whatever was compacted, and debts follow from the mark."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.consumers.entry import ERASED, Entry, Given, Inbox
from tocsin.consumers.entry_reader import EntryReader
from tocsin.consumers.ledger import (
    MARK_KEY,
    Ledger,
    Mark,
    Position,
    decode_entry,
    decode_mark,
    decode_position,
    encode_entry,
    encode_mark,
    encode_position,
    position_key,
)
from tocsin.schemas.codec import decode

NAMES = st.text("abc-", min_size=1, max_size=4)
LONGS = st.integers(0, 2**63 - 1)
GIVENS = st.builds(
    lambda seq, revision, pairs: Given(seq, revision, tuple(m for m, _ in pairs), tuple(r for _, r in pairs)),
    LONGS,
    st.integers(1, 2**31 - 1),
    st.lists(st.tuples(NAMES, st.text(max_size=5)), max_size=3),
)
ENTRIES = st.builds(
    Entry,
    key=st.just("p/l"),
    kind=st.sampled_from(["ALERT", "NOTICE"]),
    inbox_key=NAMES,
    revision=st.integers(0, 2**31 - 1),
    status=st.sampled_from(["ACTIVE", "CORRECTED", "DISPUTED", "RETRACTED", "EXPIRED"]),
    topic=NAMES,
    partition=st.integers(0, 9),
    offset=LONGS,
    appended_at=LONGS,
    sha256=st.binary(min_size=32, max_size=32),
    expires_at=LONGS,
    forget_at=LONGS,
    signer=st.text(max_size=5),
    test=st.booleans(),
    value=st.binary(max_size=20),
    headers=st.lists(st.tuples(NAMES, st.binary(max_size=5)), max_size=3).map(tuple),
    given=st.lists(GIVENS, max_size=3).map(tuple),
)
POSITIONS = st.builds(Position, topic_id=NAMES, topic=NAMES, next_offset=LONGS)


def entry(key: str, *given: Given, **changes: Any) -> Entry:
    """A plain entry."""
    plain: dict[str, Any] = {
        "kind": "ALERT",
        "inbox_key": key,
        "revision": 1,
        "status": "ACTIVE",
        "topic": "alerts.de.site-taken-down.green",
        "partition": 0,
        "offset": 0,
        "appended_at": 50,
        "sha256": bytes(32),
        "expires_at": 100,
        "forget_at": 200,
        "signer": "p.key",
        "test": False,
        "value": b"v",
        "headers": (),
    }
    return Entry(key=key, given=given, **{**plain, **changes})


@given(ENTRIES)
def test_an_entry_is_read_back(one: Entry) -> None:
    """Every field, several decisions included."""
    assert decode_entry(one.key, encode_entry(one)) == one


@given(LONGS, st.dictionaries(NAMES, LONGS))
def test_a_mark_is_read_back_and_has_one_form(paid: int, behind: dict[str, int]) -> None:
    """The order in which members fell behind is not in the bytes."""
    mark = Mark(paid, behind)
    assert decode_mark(encode_mark(mark)) == mark
    assert encode_mark(Mark(paid, dict(reversed(behind.items())))) == encode_mark(mark)


@given(POSITIONS)
def test_a_position_is_read_back_and_its_key_names_topic_and_incarnation(one: Position) -> None:
    """A topic that was made again has a position of its own."""
    assert decode_position(encode_position(one)) == one
    assert position_key(one) == f"position/{one.topic_id}/{one.topic}".encode()


def _history(seed: int) -> list[tuple[bytes, bytes | None]]:
    rng = random.Random(seed)
    records: list[tuple[bytes, bytes | None]] = []
    for seq in range(1, 60):
        kind = rng.randrange(4)
        if kind == 0:
            records.append((MARK_KEY, encode_mark(Mark(seq, {"b": rng.randrange(seq)} if rng.random() < 0.5 else {}))))
        elif kind == 1:
            place = Position("id", f"t{rng.randrange(3)}", seq)
            records.append((position_key(place), encode_position(place)))
        else:
            key = f"p/l{rng.randrange(5)}"
            value = encode_entry(entry(key, Given(seq, 1, ("a", "b"), ("", ""))))
            records.append((key.encode(), None if rng.random() < 0.2 else value))
    return records


def _state(records: list[tuple[bytes, bytes | None]]) -> tuple[Any, ...]:
    ledger = Ledger()
    for key, value in records:
        ledger.apply(key, value)
    return ledger.entries, ledger.positions, ledger.mark, sorted(ledger.unpaid())


@pytest.mark.parametrize("seed", range(20))
def test_neither_compaction_nor_reading_twice_changes_the_state(seed: int) -> None:
    """The last record of each key says it all."""
    records = _history(seed)
    last = {key: place for place, (key, _) in enumerate(records)}
    for cut in (10, 30, len(records)):
        head = {key: place for place, (key, _) in enumerate(records[:cut])}
        assert _state([records[at] for at in sorted(head.values())] + records[cut:]) == _state(records)
    assert _state([records[at] for at in sorted(last.values())]) == _state(records)
    assert _state(records + records[7:]) == _state(records)


def test_debts_follow_from_the_mark() -> None:
    """Above the mark for all; above its own for one that is behind, and below the mark too."""
    ledger = Ledger()
    ledger.apply(b"p/1", encode_entry(entry("p/1", Given(4, 1, ("a", "b"), ("", "")))))
    ledger.apply(b"p/2", encode_entry(entry("p/2", Given(5, 1, ("a", "b"), ("", "")), Given(7, 1, ("c",), ("",)))))
    ledger.mark = Mark(5, {"b": 4})
    assert sorted(ledger.unpaid()) == [(5, "p/2", "b"), (7, "p/2", "c")]
    ledger.mark = Mark(3)
    assert len([*ledger.unpaid()]) == 5
    ledger.mark = Mark(7, {"b": 7})
    assert not [*ledger.unpaid()]


def test_an_entry_that_is_erased_is_gone_and_an_erased_position_stays() -> None:
    """A tombstone ends an entry; a position can only go on."""
    ledger = Ledger()
    place = Position("id", "t", 5)
    ledger.apply(b"p/1", encode_entry(entry("p/1")))
    ledger.apply(position_key(place), encode_position(place))
    for key in (b"p/1", b"p/never", position_key(place)):
        ledger.apply(key, None)
    assert ledger.entries == {}
    assert ledger.positions == {"t": place}


def test_everyone_ever_given_it_and_those_who_hold_the_current_revision() -> None:
    """Who was given an older revision only, or was told that it is withdrawn, does not hold the current one."""
    one = entry("p/1", Given(1, 1, ("a", "b"), ("ra", "rb")), Given(2, 2, ("b", "c"), ("rb", "rc")), revision=2)
    assert one.standing() == {"a": (1, "ra", 1), "b": (2, "rb", 2), "c": (2, "rc", 2)}
    assert one.holds_current({}) == {"b", "c"}
    erased = replace(one, given=(*one.given, Given(3, 2, ("b",), (ERASED,))))
    assert erased.standing()["b"] == (2, ERASED, 3)
    assert erased.holds_current({}) == {"c"}
    assert one.holds_current({"b": Inbox("again", 2), "c": Inbox("again", 1)}) == {"c"}


def test_what_is_withheld_is_taken_from_its_own_decision_only() -> None:
    """Rules stay with their members, and a decision for nobody is none."""
    one = entry("p/1", Given(1, 1, ("a", "b"), ("ra", "rb")), Given(2, 2, ("a",), ("ra2",)))
    assert one.without(1, frozenset({"a"})).given == (Given(1, 1, ("b",), ("rb",)), Given(2, 2, ("a",), ("ra2",)))
    assert one.without(2, frozenset({"a", "b"})).given == (one.given[0],)
    assert one.without(3, frozenset({"a"})) == one


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({}, True),
        ({"status": "DISPUTED"}, True),
        ({"status": "RETRACTED"}, False),
        ({"status": "EXPIRED"}, False),
        ({"kind": "NOTICE"}, False),
        ({"expires_at": 51}, True),
        ({"expires_at": 50}, False),
    ],
)
def test_what_a_newcomer_may_be_given(changes: dict[str, Any], live: bool) -> None:  # noqa: FBT001  # a table's column
    """An alert that is neither retracted nor expired."""
    assert entry("p/1", **changes).live(50) is live


@given(st.lists(ENTRIES, max_size=6))
def test_the_quick_reader_reads_what_the_slow_one_does(made: list[Entry]) -> None:
    """Any number of decisions, audiences met before or not."""
    reader = EntryReader()
    for one in made * 2:
        value = encode_entry(one)
        record, groups = reader.read(value)
        slow = dict(decode(value)[1])
        given = slow.pop("given")
        assert record == slow
        assert groups == [(g["seq"], g["revision"], (tuple(g["members"]), tuple(g["rules"]))) for g in given]
