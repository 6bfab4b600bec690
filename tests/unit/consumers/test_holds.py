"""Legal holds keep the exchange's own copy of what it would erase; a quarantine lets nobody new be given it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.consumers.lane_world import AMBER, GREEN, LIFE_MS, PUBLISHERS, READERS, LaneWorld, alert
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.gains import Release, Releases
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.ledger import HELD_PREFIX, decode_held

PUBLISHER, OTHER_PUBLISHER = PUBLISHERS
BANK = READERS[0]
ALL_GREEN = [(member, GREEN) for member in READERS]
HELD = f"sec/case/{PUBLISHER}/one"


def _hold(
    kind: HoldKind = HoldKind.LEGAL, hold_id: str = "case", *, lineage: str | None = "one", lifted: bool = False
) -> Hold:
    return Hold("sec", hold_id, kind, PUBLISHER, lineage, reference="A 1/26", lifted=lifted)


def _kept(world: LaneWorld) -> dict[str, bytes]:
    """What the ledger topic holds of it, by name."""
    newest = dict(world.ledger)
    names = {key.decode().removeprefix(HELD_PREFIX): key for key in newest if key.startswith(HELD_PREFIX.encode())}
    return {name: decode_held(name, value).value for name, key in names.items() if (value := newest[key]) is not None}


def _told(world: LaneWorld, kind: str) -> list[tuple[int, str]]:
    return [(one["revision"], one["detail"]) for one in world.audit if one["kind"] == kind]


def test_what_is_superseded_retracted_or_expires_is_kept_while_a_legal_hold_is_on_it() -> None:
    """Each revision, on record; members lose it as ever; what is not on hold is not kept."""
    world = LaneWorld(ALL_GREEN)
    first, second, other = alert("one"), alert("one", 2, status="CORRECTED"), alert("two")
    for one in (first, other):
        world.publish(GREEN, one)
    world.rest()
    world.holds = Holds([_hold()])
    for one in (second, alert("two", 2, status="RETRACTED")):
        world.publish(GREEN, one)
    world.rest()
    assert _kept(world) == {f"{HELD}/1": first.value}
    world.now_ms += LIFE_MS
    world.rest()
    assert _kept(world) == {f"{HELD}/1": first.value, f"{HELD}/2": second.value}
    assert _told(world, "HELD") == [(1, "sec/case"), (2, "sec/case")]
    world.check_rest()
    world.check_take_over()
    assert not any(entry.value for entry in world.lane.ledger.held.values())


def test_a_hold_that_is_lifted_lets_go_of_what_it_kept_and_only_that() -> None:
    """On record before; another hold on the same keeps its own; across a take-over; once."""
    world = LaneWorld(ALL_GREEN)
    world.holds = Holds([_hold(), _hold(hold_id="other", lineage=None)])
    world.publish(GREEN, alert("one"))
    world.rest()
    world.publish(GREEN, alert("one", 2, status="RETRACTED"))
    world.rest()
    assert set(_kept(world)) == {f"{HELD}/1", f"sec/other/{PUBLISHER}/one/1"}
    world.take_over()
    world.holds = Holds([_hold(lifted=True), _hold(hold_id="other", lineage=None)])
    for _ in range(3):
        world.step()
    assert set(_kept(world)) == {f"sec/other/{PUBLISHER}/one/1"}
    assert _told(world, "LIFTED") == [(1, "sec/case")]
    world.check_take_over()


def test_a_hold_that_is_not_seen_any_more_is_not_lifted() -> None:
    """An outbox that was deleted, or a tombstone, lets go of nothing that is kept: only a signed word does."""
    world = LaneWorld(ALL_GREEN)
    world.holds = Holds([_hold()])
    world.publish(GREEN, alert("one"))
    world.rest()
    world.publish(GREEN, alert("one", 2, status="RETRACTED"))
    world.rest()
    world.holds = Holds()
    world.rest()
    assert set(_kept(world)) == {f"{HELD}/1"}


def test_many_revisions_are_let_go_of_in_parts() -> None:
    """A transaction stays small."""
    world = LaneWorld(ALL_GREEN)
    world.holds = Holds([_hold(lineage=None)])
    for number in range(5):
        world.publish(GREEN, alert(f"n{number}"))
        world.publish(GREEN, alert(f"n{number}", 2, status="RETRACTED"))
    world.rest()
    world.holds = Holds([_hold(lineage=None, lifted=True)])
    left = []
    for _ in range(4):
        world.step(lineages_max=2)
        left.append(len(_kept(world)))
    assert left == [3, 1, 0, 0]


def test_in_quarantine_nobody_is_newly_given_it_and_who_holds_it_is_told_of_revisions() -> None:
    """Lifted, it is given to everybody who may see it and asks for it."""
    world = LaneWorld(ALL_GREEN[:1])
    world.publish(GREEN, alert("one"))
    world.rest()
    world.holds = Holds([_hold(HoldKind.QUARANTINE, lineage=None)])
    world.grants |= {*ALL_GREEN}
    world.settle()
    corrected, new, beside = (
        alert("one", 2, status="DISPUTED"),
        alert("new"),
        alert("else", publisher=OTHER_PUBLISHER),
    )
    for one in (corrected, new, beside):
        world.publish(GREEN, one)
    world.rest()
    world.check_rest()
    assert [_values(world, member) for member in READERS[:2]] == [
        [alert("one").value, corrected.value, beside.value],
        [beside.value],
    ]
    world.check_take_over()
    world.holds = Holds([replace(hold, lifted=True) for hold in world.holds.all])
    world.rest()
    world.check_rest()
    assert sorted(_values(world, READERS[1])) == sorted([beside.value, corrected.value, new.value])


def _values(world: LaneWorld, member: str) -> list[bytes]:
    return [copy.value for copy in world.inboxes[member] if copy.value]


@pytest.mark.parametrize(
    ("hold", "on"),
    [
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER), True),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, "one"), True),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, "two"), False),
        (Hold("sec", "a", HoldKind.LEGAL, OTHER_PUBLISHER), False),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, lifted=True), False),
        (Hold("sec", "a", HoldKind.QUARANTINE, PUBLISHER), False),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, since={GREEN: 5}), True),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, since={GREEN: 6}), False),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, since={AMBER: 6}), True),
    ],
)
def test_what_a_hold_is_on(hold: Hold, *, on: bool) -> None:
    """By kind, publisher, lineage and position."""
    assert bool([*Holds([hold]).on(HoldKind.LEGAL, f"{PUBLISHER}/one", GREEN, 5)]) is on


def test_a_release_raises_the_bound_of_one_member_in_one_lane_for_a_time() -> None:
    """And never lowers it."""
    releases = Releases([Release(BANK, "de", 500, NOW_MS), Release(READERS[1], "de", 5, NOW_MS)])
    bound = releases.bound("de", 100, NOW_MS)
    assert [bound(member) for member in READERS[:3]] == [500, 100, 100]
    assert releases.bound("se", 100, NOW_MS)(BANK) == 100
    assert releases.bound("de", 100, NOW_MS + 1)(BANK) == 100
