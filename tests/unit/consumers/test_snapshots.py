"""ACL snapshots on record: what was written is read back by digest, whoever else writes, and in whatever order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from tests.acl_cases import cases
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.errors import SnapshotUnknown
from tocsin.consumers.sight import Snapshot
from tocsin.consumers.snapshots import PART_BYTES, WHOLE_EVERY_MS, Register, Snapshots, records
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode

SEED = 20_261_104
ROW = AclRow("TOPIC", "alerts.se.", "PREFIXED", "User:bank-fr", "192.0.2.1", "READ", "ALLOW")
NO_SNAPSHOT = AclSet([]).digest()


def _of(rows: Iterable[AclRow], read_at_ms: int = 0) -> Snapshot:
    acls = AclSet(rows)
    return Snapshot(acls, acls.digest(), 0.0, read_at_ms)


def _read(values: Iterable[bytes]) -> Snapshots:
    found = Snapshots()
    for value in values:
        found.apply(value)
    return found


def _many(count: int, of: str = "x") -> list[AclRow]:
    return [replace(ROW, name=f"alerts.se.{of}.{number}") for number in range(count)]


def _states(rng: random.Random, count: int) -> list[frozenset[AclRow]]:
    """Sets of rows, each some rows away from the one before; some come again."""
    pool = [row for case in cases(rng.randrange(10_000), 40) for row in case.rows] + _many(600)
    now, found = frozenset(rng.sample(pool, 20)), list[frozenset[AclRow]]()
    for _ in range(count):
        now = rng.choice(found) if found and rng.random() < 0.2 else now ^ {*rng.sample(pool, rng.randint(1, 400))}
        found.append(now)
    return found


class Writer:
    """One process that puts on record what it sees."""

    def __init__(self, name: str, topic: Iterable[bytes] = ()) -> None:
        self.name = name
        self.register = Register()
        for value in topic:
            self.register.apply(value)

    def keep(self, snapshot: Snapshot) -> list[bytes]:
        """What it writes."""
        values = self.register.missing(snapshot, self.name)
        self.register.wrote(snapshot)
        return values


def _mixed(rng: random.Random, queues: Sequence[list[bytes]]) -> list[bytes]:
    """What several writers have written, each in its order."""
    order = [at for at, queue in enumerate(queues) for _ in queue]
    rng.shuffle(order)
    waiting = [iter(queue) for queue in queues]
    return [next(waiting[at]) for at in order]


def test_a_set_of_rows_is_read_back_whatever_its_words_are() -> None:
    """Spaces, separators, nothing, other alphabets: rows of anybody's making."""
    for case in cases(SEED, 200):
        snapshot = _of(case.rows)
        assert _read(records(snapshot, None, "w")).rows(snapshot.digest) == frozenset(case.rows)
    odd = [replace(ROW, principal="User:CN=a b,O=ALLOW READ"), replace(ROW, name=""), replace(ROW, host="\n\t ")]
    assert _read(records(_of(odd), None, "w")).rows(_of(odd).digest) == frozenset(odd)


def test_a_large_set_comes_in_parts_and_counts_with_the_last() -> None:
    """Parts may come in any order, and twice; with one missing there is nothing."""
    snapshot = _of([*_many(2_000), replace(ROW, principal="User:" + "x" * 2 * PART_BYTES)])
    values = records(snapshot, None, "w")
    assert 5 < len(values) < 20
    assert sorted(len(value) > PART_BYTES + 1_000 for value in values) == [*[False] * (len(values) - 1), True]
    random.Random(SEED).shuffle(values)
    assert _read([*values, *values]).rows(snapshot.digest) == frozenset(snapshot.acls.rows)
    with pytest.raises(SnapshotUnknown, match="not on record, or not whole"):
        _read(values[1:]).rows(snapshot.digest)


def test_a_change_is_recorded_as_the_difference_and_costs_as_much() -> None:
    """Of thousands of rows, one more and one less."""
    writer, rows = Writer("w"), _many(5_000)
    whole = writer.keep(_of(rows))
    changed = _of([*rows[1:], ROW])
    [difference] = writer.keep(changed)
    assert len(difference) < 500
    content = decode(difference)[1]
    assert (content["base"], len(content["added"]), len(content["removed"])) == (_of(rows).digest, 1, 1)
    assert _read([*whole, difference]).rows(changed.digest) == frozenset(changed.acls.rows)


def test_what_is_on_record_is_not_written_again() -> None:
    """By the same writer when rows come back, and by one that has read the topic, whole sets and differences alike."""
    first, writer = _of(_many(3)), Writer("w")
    second = _of(_many(4))
    topic = [*writer.keep(first), *writer.keep(second)]
    assert len(topic) == 2
    assert [*writer.keep(first), *writer.keep(second), *writer.keep(second)] == []
    other = Writer("other", topic)
    assert [*other.keep(second), *other.keep(first)] == []
    third = _of(_many(5))
    [difference] = other.keep(third)
    assert decode(difference)[1]["base"] == first.digest
    assert _read([*topic, difference]).rows(third.digest) == frozenset(third.acls.rows)


def test_a_difference_is_not_counted_when_what_it_stands_on_was_not_read() -> None:
    """A topic that is read from its middle: written again, whole."""
    writer = Writer("w")
    writer.keep(_of(_many(3)))
    latter = writer.keep(_of(_many(4)))
    assert decode(Writer("other", latter).keep(_of(_many(4)))[0])[1]["base"] is None


def test_nothing_that_a_decision_needs_is_older_than_the_bound() -> None:
    """Rows that never change, and rows that change all the while, are written whole again in time."""
    day = 86_400_000
    writer, topic = Writer("w"), list[tuple[int, bytes]]()
    for now in range(0, 100 * day, day // 2):
        quiet = now > 50 * day
        snapshot = _of(_many(3 if quiet else 3 + now % 11), now)
        topic += [(now, value) for value in writer.keep(snapshot)]
        kept = [value for at, value in topic if at > now - WHOLE_EVERY_MS]
        assert _read(kept).rows(snapshot.digest) == frozenset(snapshot.acls.rows)
        assert Writer("restarted", kept).keep(snapshot) == []
    whole = [at for at, value in topic if decode(value)[1]["base"] is None]
    assert 3 < len(whole) < 8


@pytest.mark.parametrize("seed", range(20))
def test_several_writers_at_a_time_hide_nothing_from_each_other(seed: int) -> None:
    """Each sees some of the states, in its own order, one begins later; every digest is resolved from the mixture."""
    rng = random.Random(f"{SEED}/{seed}")
    states = _states(rng, 15)
    written: list[list[bytes]] = []
    seen: set[frozenset[AclRow]] = set()
    for number in range(3):
        mine = [state for state in states if rng.random() < 0.7]
        writer = Writer(f"w{number}", written[0] if number == 2 else ())
        written.append([value for state in mine for value in writer.keep(_of(state, rng.randrange(1_000)))])
        seen |= {*mine}
    snapshots = _read(_mixed(rng, written))
    for state in seen:
        assert snapshots.rows(_of(state).digest) == state
    # a difference that comes before what it stands on is no worse
    snapshots = _read(reversed([value for values in written for value in values]))
    for state in seen:
        assert snapshots.rows(_of(state).digest) == state


def test_a_lost_base_is_said_clearly() -> None:
    """So is a digest of which nothing is there."""
    writer = Writer("w")
    writer.keep(_of(_many(3)))
    difference = writer.keep(_of(_many(4)))
    digest = _of(_many(4)).digest
    with pytest.raises(SnapshotUnknown, match=f"{digest.hex()} is on record as a difference, and what it differs from"):
        _read(difference).rows(digest)
    with pytest.raises(SnapshotUnknown, match=f"{NO_SNAPSHOT.hex()} is not on record"):
        _read(difference).rows(NO_SNAPSHOT)


def test_a_circle_of_differences_comes_to_an_end() -> None:
    """Each stands on the other, and neither on rows."""
    one, other = _of(_many(3)), _of(_many(4))
    with pytest.raises(SnapshotUnknown, match="what it differs from is not"):
        _read([*records(one, other, "w"), *records(other, one, "w")]).rows(one.digest)


def test_rows_that_were_made_up_are_told_from_those_that_were_there() -> None:
    """A digest proves its rows: a forged record is passed over, and nothing but forged ones is an error."""
    honest, writer = _of(_many(3)), Writer("w")
    later = _of(_many(4))
    topic = [*writer.keep(honest), *writer.keep(later)]
    forged = records(replace(_of([ROW]), digest=honest.digest), None, "w")
    forged += records(replace(_of([ROW]), digest=later.digest), None, "w")
    for values in ([*forged, *topic], [*topic, *forged]):
        snapshots = _read(values)
        assert snapshots.rows(later.digest) == frozenset(later.acls.rows)
        assert snapshots.rows(honest.digest) == frozenset(honest.acls.rows)
    with pytest.raises(SnapshotUnknown, match="do not have this digest"):
        _read(forged).rows(honest.digest)


def test_other_records_of_the_topic_are_passed_over() -> None:
    """The journal's, of a later release, and anybody's bytes."""
    snapshot = _of(_many(3))
    others = [b"", b"a record", b"\0\0\0\xff\xff", b"\0\0\0\0\xd7cut short"]
    others.append(encode(schema("ledger-position"), {"topic_id": "x", "topic": "y", "next_offset": 1}))
    assert _read([*others, *records(snapshot, None, "w"), *others]).rows(snapshot.digest) == {*_many(3)}
    assert Writer("w", [*others, *records(snapshot, None, "w")]).keep(snapshot) == []
