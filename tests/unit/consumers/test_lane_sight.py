"""Members are told of their own sight: whenever it changes, once, across take-overs, and never of anybody else's."""

from __future__ import annotations

import random
from typing import Final

import pytest

from tests.unit.consumers.lane_world import AMBER, GREEN, LANE, MEMBERS, MERCHANT, TOPICS, LaneWorld
from tocsin.consumers.ledger import Ledger
from tocsin.schemas.codec import decode

BANK, ISP = "bank-de", "isp-de"
Told = dict[str, list[str]]
NOTHING: Final[Told] = {}
NEVER_MS: Final = 2**62


def _tell(world: LaneWorld) -> Told:
    """One transaction of the lane, committed: who is told what."""
    context = world.context()
    tx = world.lane.begin(context)
    world.lane.tell_sight(tx, context)
    assert not (tx.empty and tx.copies)
    told: Told = {}
    for copy in tx.copies:
        kind, record = decode(copy.value or b"")
        assert (kind.subject, copy.key, copy.topic) == ("sight", f"sight/{LANE}".encode(), f"inbox.{copy.member}")
        assert (record["member"], record["jurisdiction"]) == (copy.member, LANE)
        told[copy.member] = sorted(record["topics"])
    world.ledger += tx.ledger_records()
    world.lane.commit(tx)
    return told


def test_each_member_is_told_its_own_sight_and_no_more() -> None:
    """Who has none is told nothing; nobody is told twice, by the next owner of the lane either."""
    world = LaneWorld([(BANK, GREEN), (BANK, MERCHANT), (ISP, GREEN)])
    assert _tell(world) == {BANK: [MERCHANT, GREEN], ISP: [GREEN]}
    assert _tell(world) == NOTHING
    world.take_over()
    assert _tell(world) == NOTHING


def test_many_are_told_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all are."""
    monkeypatch.setattr("tocsin.consumers.lane_sight.TOLD_MAX", 1)
    world = LaneWorld([(BANK, GREEN), (ISP, GREEN)])
    first = _tell(world)
    assert world.lane.has_to_tell(world.context(), NEVER_MS)
    assert sorted([*first, *_tell(world)]) == [BANK, ISP]
    assert _tell(world) == NOTHING
    assert not world.lane.has_to_tell(world.context(), NEVER_MS)
    assert world.lane.has_to_tell(world.context(), 1_000), "a test of the line is due"
    world.grants -= {(ISP, GREEN)}
    world.look()
    assert world.lane.has_to_tell(world.context(), NEVER_MS)


def test_a_change_is_told_to_whom_it_concerns() -> None:
    """A right that is new counts at the second look, one that is gone at the first; none left is told as well."""
    world = LaneWorld([(BANK, GREEN), (ISP, GREEN)])
    _tell(world)
    world.grants |= {(BANK, AMBER)}
    world.grants -= {(ISP, GREEN)}
    world.look()
    assert _tell(world) == {ISP: []}
    world.look()
    assert _tell(world) == {BANK: [AMBER, GREEN]}
    world.standing(BANK, "SUSPENDED")
    assert _tell(world) == {BANK: []}
    assert _tell(world) == NOTHING


def test_what_was_not_committed_is_told_by_the_next_owner() -> None:
    """An abort takes the word and the memory of it together."""
    world = LaneWorld([(BANK, GREEN)])
    context = world.context()
    world.lane.tell_sight(world.lane.begin(context), context)
    world.take_over()
    assert _tell(world) == {BANK: [GREEN]}


def test_an_inbox_that_refuses_is_told_later_and_holds_nobody_up() -> None:
    """One that is gone too; one that was made anew is told anew."""
    world = LaneWorld([(BANK, GREEN), (ISP, GREEN)])
    world.gone = {ISP}
    world.lane.set_behind([BANK])
    assert _tell(world) == NOTHING
    world.gone = set()
    assert _tell(world) == {ISP: [GREEN]}
    world.take_over()
    assert _tell(world) == {BANK: [GREEN]}
    world.remake(BANK)
    assert _tell(world) == {BANK: [GREEN]}


def test_an_empty_inbox_that_was_made_anew_is_told_nothing_of_no_sight() -> None:
    """There is nothing to take back in it."""
    world = LaneWorld([(BANK, GREEN)])
    _tell(world)
    world.remake(BANK)
    world.grants = set()
    world.settle()
    assert _tell(world) == NOTHING


@pytest.mark.parametrize("copies_max", [1, 2, 100])
@pytest.mark.parametrize("seed", range(20))
def test_what_members_were_told_last_is_what_they_may_be_given(seed: int, copies_max: int) -> None:
    """After any changes, aborts and take-overs; in transactions as small as they are bounded to be."""
    rng = random.Random(seed)
    pairs = [(member, topic) for member in MEMBERS for topic in TOPICS]
    world = LaneWorld(copies_max=copies_max)
    last: Told = {}
    for _ in range(15):
        world.grants = set(rng.sample(pairs, rng.randint(0, len(pairs))))
        rng.choice([world.look, world.settle])()
        if rng.random() < 0.3:
            world.take_over()
        if rng.random() < 0.3:
            world.standing(rng.choice(MEMBERS), rng.choice(["ACTIVE", "SUSPENDED"]))
        while told := _tell(world):
            assert len(told) <= copies_max
            assert all(last.get(member, []) != topics for member, topics in told.items())
            last |= told
        may = {member: sorted(topic for topic in TOPICS if world.sees(member, topic)) for member in MEMBERS}
        assert {member: last.get(member, []) for member in MEMBERS} == may


def test_what_was_told_is_read_again_from_the_ledger() -> None:
    """Any number of times."""
    world = LaneWorld([(BANK, GREEN)])
    _tell(world)
    ledger = Ledger()
    for _ in range(2):
        for key, value in world.ledger:
            ledger.apply(key, value)
    assert ledger.sights == world.lane.ledger.sights
    assert [*ledger.sights] == [BANK]
