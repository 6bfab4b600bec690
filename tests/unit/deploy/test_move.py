"""What is carried to a new cluster lies where it lay, whatever was written before, and no lane begins elsewhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tocsin.consumers.entry import Inbox
from tocsin.consumers.ledger import (
    MARK_KEY,
    Ledger,
    Mark,
    Position,
    dispute_key,
    encode_inbox,
    encode_mark,
    encode_position,
    inbox_key,
    position_key,
    sight_key,
)
from tocsin.deploy.errors import MoveRefused
from tocsin.deploy.moving.carried import (
    FILLER,
    Carrying,
    Ids,
    LedgerCarried,
    Put,
    There,
    Way,
    place_of,
    put_of,
    way_of,
)
from tocsin.schemas.bus import BusRecord

ALERTS = "alerts.se.site-taken-down.green"
OTHER = "alerts.se.site-taken-down.amber"
INBOX = "inbox.bank-se"
IDS = Ids({ALERTS: "old/a", OTHER: "old/o", INBOX: "old/i"}, {ALERTS: "new/a", OTHER: "new/o", INBOX: "new/i"})


def _records(offsets: Sequence[int]) -> list[BusRecord]:
    return [BusRecord(ALERTS, at, b"key", bytes([at % 256]), (("name", b"said"),), 1_000 + at) for at in offsets]


def _carried(records: Sequence[BusRecord], way: Way, there: There, end: int) -> list[Put]:
    carrying = Carrying(ALERTS, way, there)
    found = [put for record in records for put in carrying.take(record.offset, put_of(record))]
    if way is Way.WHOLE:
        found += carrying.fill(end)
    carrying.finish()
    return found


def _there(puts: Sequence[Put], way: Way, first: int = 0) -> There:
    """A topic in which these lie from its beginning, of which those before `first` are gone."""
    there = There(first, len(puts))
    for at, put in enumerate(puts[first:], first):
        there.note(BusRecord(ALERTS, at, put.key, put.value, put.headers, put.at_ms), way)
    return there


@pytest.mark.parametrize("way", [Way.WHOLE, Way.PACKED])
def test_wherever_it_is_interrupted_it_ends_the_same(way: Way) -> None:
    """Every record at its offset, or one after another; nothing twice, and fillers where there was none."""
    rng = random.Random(1)
    for _ in range(50):
        offsets = sorted(rng.sample(range(40), rng.randint(0, 20)))
        records, end = _records(offsets), 40
        whole = _carried(records, way, There(), end)
        places = [at for at, put in enumerate(whole) if put != FILLER]
        assert [whole[at] for at in places] == [put_of(record) for record in records]
        assert places == (offsets if way is Way.WHOLE else [*range(len(records))])
        assert len(whole) == (end if way is Way.WHOLE else len(records))
        for done in range(len(whole) + 1):
            assert [*whole[:done], *_carried(records, way, _there(whole[:done], way), end)] == whole


def test_what_is_deleted_by_age_there_is_not_missed() -> None:
    """The oldest, fillers and records, are gone; the rest goes on."""
    records = _records([3, 4, 5, 9])
    whole = _carried(records, Way.WHOLE, There(), 12)
    for first in range(8):
        assert _carried(records, Way.WHOLE, _there(whole[:8], Way.WHOLE, first), 12) == whole[8:]


@pytest.mark.parametrize("way", [Way.WHOLE, Way.PACKED])
def test_a_topic_in_which_something_else_lies_is_refused(way: Way) -> None:
    """Another record, one in place of a filler, one more, and one too few before others."""
    records = _records([1, 2, 5])
    whole = _carried(records, way, There(), 6)
    other = Put(b"key", b"other", (), 1)
    for at in range(len(whole)):
        with pytest.raises(MoveRefused, match="make the new cluster anew"):
            _carried(records, way, _there([*whole[:at], other, *whole[at + 1 :]], way), 6)
    with pytest.raises(MoveRefused, match=f"at offset {len(whole)}"):
        _carried(records, way, _there([*whole, other], way), 6)
    with pytest.raises(MoveRefused, match=ALERTS):
        _carried(records[1:], way, _there(whole, way), 6)


def test_of_what_lies_with_its_time_the_time_is_compared() -> None:
    """A key counts by it."""
    [record] = _records([0])
    later = _there([put_of(record)._replace(at_ms=5)], Way.WHOLE)
    with pytest.raises(MoveRefused):
        _carried([record], Way.WHOLE, later, 1)
    assert _carried([record], Way.PACKED, _there([put_of(record)._replace(at_ms=5)], Way.PACKED), 1) == []


def test_a_topic_that_is_only_begun_goes_on_with_the_next_number() -> None:
    """Whatever part of the fillers is there."""
    for done in range(6):
        carrying = Carrying("audit.se", Way.BEGUN, _there([FILLER] * done, Way.BEGUN))
        assert [*carrying.fill(5)] == [FILLER] * (5 - done)


def test_every_topic_is_carried_in_a_way_of_its_own() -> None:
    """And none that is not the exchange's."""
    assert {way_of(name) for name in (ALERTS, "outbox.bank-se", "audit.policy", "audit.acls")} == {Way.WHOLE}
    assert {way_of(name) for name in ("audit.access", "audit.checkpoints")} == {Way.WHOLE}
    assert {way_of(name) for name in ("inbox.bank-se", "ledger.se", "directory")} == {Way.PACKED}
    assert way_of("audit.se") is Way.BEGUN
    assert {way_of(name) for name in ("__consumer_offsets", "payments", "audit.other")} == {None}


def test_a_reader_stands_where_it_stood() -> None:
    """Before the first record that it has not read."""
    assert [place_of([2, 5, 9], offset) for offset in (0, 2, 3, 6, 9, 10)] == [0, 0, 1, 2, 2, 3]


def _ledger(records: Sequence[tuple[bytes, bytes | None]]) -> tuple[Ledger, LedgerCarried]:
    carried, ledger = LedgerCarried(IDS), Ledger()
    for at, (key, value) in enumerate(records):
        put = carried.take(BusRecord("ledger.se", at, key, value, (), 0))
        if put is not None:
            ledger.apply(put.key or b"", put.value)
    return ledger, carried


def test_a_ledger_goes_on_at_the_same_offsets_of_the_new_topics() -> None:
    """The mark and what was passed on stay as they are."""
    position, inbox, mark = Position("old/a", ALERTS, 17), Inbox("old/i", 3), Mark(4, {"bank-se": 2}, 5, 6)
    ledger, carried = _ledger(
        [
            (position_key(position), encode_position(position)),
            (inbox_key("bank-se"), encode_inbox(inbox)),
            (inbox_key("bank-de"), encode_inbox(inbox)),
            (sight_key("bank-se"), b"old/i/abc"),
            (dispute_key("bank-se/hotline-se/1"), b"id"),
            (MARK_KEY, encode_mark(mark)),
        ]
    )
    carried.finish()
    assert ledger.positions == {ALERTS: replace(position, topic_id="new/a")}
    assert ledger.inboxes == {"bank-se": replace(inbox, topic_id="new/i"), "bank-de": inbox}
    assert ledger.sights == {"bank-se": "new/i/abc"}
    assert ledger.disputes == {"bank-se/hotline-se/1": "id"}
    assert ledger.mark == mark


def test_a_position_in_a_topic_that_there_is_no_more_is_left() -> None:
    """One that was deleted, or made again and decided since; not one that the lane cannot go on from."""
    before, now = Position("older", ALERTS, 90), Position("old/a", ALERTS, 2)
    gone = Position("gone", "alerts.se.site-taken-down.clear", 5)
    records = [(position_key(one), encode_position(one)) for one in (before, gone, now)]
    ledger, carried = _ledger([*records, (position_key(before), None)])
    carried.finish()
    assert ledger.positions == {ALERTS: replace(now, topic_id="new/a")}
    _, stopped = _ledger(records[:1])
    with pytest.raises(MoveRefused, match="deleted and made again"):
        stopped.finish()
