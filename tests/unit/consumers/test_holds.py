"""Legal holds keep the exchange's own copy of what it would erase; a quarantine lets nobody new be given it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.consumers.lane_world import AMBER, GREEN, LIFE_MS, PUBLISHERS, READERS, LaneWorld, alert
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.gains import Release, Releases
from tocsin.consumers.holds import Hold, HoldKind, Holds, Published
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
        (Hold("sec", "a", HoldKind.LEGAL, recipient=BANK), True),
        (Hold("sec", "a", HoldKind.LEGAL, recipient=BANK, lifted=True), False),
        (Hold("sec", "a", HoldKind.LEGAL, recipient=READERS[1]), False),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, recipient=BANK), True),
        (Hold("sec", "a", HoldKind.LEGAL, OTHER_PUBLISHER, recipient=BANK), False),
        (Hold("sec", "a", HoldKind.LEGAL, PUBLISHER, recipient=READERS[1]), False),
        (Hold("sec", "a", HoldKind.LEGAL, published_from=NOW_MS, published_to=NOW_MS + 1), True),
        (Hold("sec", "a", HoldKind.LEGAL, published_from=NOW_MS + 1), False),
        (Hold("sec", "a", HoldKind.LEGAL, published_to=NOW_MS), False),
        (Hold("sec", "a", HoldKind.LEGAL, OTHER_PUBLISHER, published_from=NOW_MS), False),
        (Hold("sec", "a", HoldKind.LEGAL, recipient=BANK, published_to=NOW_MS), False),
    ],
)
def test_what_a_hold_is_on(hold: Hold, *, on: bool) -> None:
    """By kind, publisher, lineage, position, recipient and period; parts narrow each other."""
    one = Published(f"{PUBLISHER}/one", GREEN, 5, NOW_MS, {BANK})
    assert bool([*Holds([hold]).on(HoldKind.LEGAL, one)]) is on


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"publisher": None}, "publisher"),
        ({"publisher": None, "since": {GREEN: 1}}, "publisher"),
        ({"publisher": None, "recipient": BANK, "lineage_id": "one"}, "publisher"),
        ({"recipient": BANK, "kind": HoldKind.QUARANTINE}, "recipient"),
        ({"published_from": NOW_MS, "published_to": NOW_MS}, "published_to"),
    ],
)
def test_what_no_hold_can_mean(parts: dict[str, Any], word: str) -> None:
    """On everything, a lineage of nobody, a quarantine of what somebody has, a period that ends before it begins."""
    fault = replace(_hold(lineage=None), **parts).fault()
    assert fault is not None
    assert fault.startswith(f"{word}: ")


def test_a_hold_on_a_recipient_keeps_what_came_into_its_inbox_and_nothing_else() -> None:
    """Whoever published it; not what others alone were given, nor the revision that it was not given any more."""
    world = LaneWorld([(BANK, GREEN), (READERS[1], GREEN), (READERS[1], AMBER)])
    world.holds = Holds([Hold("sec", "case", HoldKind.LEGAL, recipient=BANK)])
    first, other = alert("one"), alert("two", publisher=OTHER_PUBLISHER)
    for topic, one in ((GREEN, first), (GREEN, other), (AMBER, alert("three"))):
        world.publish(topic, one)
    world.rest()
    world.grants.discard((BANK, GREEN))
    world.settle()
    world.publish(GREEN, alert("one", 2, status="CORRECTED"))
    world.rest()
    for topic, one in (
        (GREEN, alert("one", 3, status="RETRACTED")),
        (GREEN, alert("two", 2, publisher=OTHER_PUBLISHER, status="RETRACTED")),
        (AMBER, alert("three", 2, status="RETRACTED")),
    ):
        world.publish(topic, one)
    world.rest()
    kept = {f"{HELD}/1": first.value, f"sec/case/{OTHER_PUBLISHER}/two/1": other.value}
    assert _kept(world) == kept
    world.check_rest()
    world.check_take_over()
    world.holds = Holds([replace(hold, lifted=True) for hold in world.holds.all])
    world.rest()
    assert _kept(world) == {}


def test_a_hold_on_a_recipient_does_not_keep_what_it_was_never_given() -> None:
    """Its inbox was gone for as long as the alert lived: the copy was owed, and never written."""
    world = LaneWorld(ALL_GREEN)
    world.holds = Holds([Hold("sec", "case", HoldKind.LEGAL, recipient=BANK)])
    world.gone.add(BANK)
    world.publish(GREEN, alert("one"))
    for _ in range(3):
        world.step()
    world.publish(GREEN, alert("one", 2, status="RETRACTED"))
    for _ in range(3):
        world.step()
    world.check_take_over()
    assert _kept(world) == {}


def test_a_hold_on_a_period_keeps_what_was_published_in_it() -> None:
    """By the broker's time, of everybody: from its beginning on, and before its end; after a take-over, too."""
    world = LaneWorld(ALL_GREEN)
    hold = Hold("sec", "case", HoldKind.LEGAL, published_from=NOW_MS + 1, published_to=NOW_MS + 2)
    world.holds = Holds([hold])
    for name in ("before", "in", "after"):
        world.publish(GREEN, alert(name, publisher=OTHER_PUBLISHER))
        world.now_ms += 1
    world.rest()
    world.take_over()
    for name in ("before", "in", "after"):
        world.publish(GREEN, alert(name, 2, publisher=OTHER_PUBLISHER, status="RETRACTED"))
    world.rest()
    assert set(_kept(world)) == {f"sec/case/{OTHER_PUBLISHER}/in/1"}
    world.check_take_over()


def test_a_quarantine_of_a_period_is_on_what_was_published_in_it() -> None:
    """Of everybody; whatever comes later is given."""
    world = LaneWorld(ALL_GREEN)
    world.holds = Holds([Hold("sec", "case", HoldKind.QUARANTINE, published_to=NOW_MS + 1)])
    world.publish(GREEN, alert("one"))
    world.now_ms += 1
    later = alert("two", publisher=OTHER_PUBLISHER)
    world.publish(GREEN, later)
    world.rest()
    assert _values(world, BANK) == [later.value]


def test_holds_on_other_matters_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of one revision costs as many looks as there are holds on its lineage, publisher or recipients."""
    looked: list[str] = []
    is_on = Hold.is_on

    def look(hold: Hold, one: Published) -> bool:
        looked.append(hold.hold_id)
        return is_on(hold, one)

    monkeypatch.setattr(Hold, "is_on", look)
    others = [_hold(hold_id=f"l{number}", lineage=f"other-{number}") for number in range(1_000)]
    others += [Hold("sec", f"r{number}", HoldKind.LEGAL, recipient=f"m{number}") for number in range(1_000)]
    holds = Holds([*others, _hold(), Hold("sec", "bank", HoldKind.LEGAL, recipient=BANK)])
    found = [*holds.on(HoldKind.LEGAL, Published(f"{PUBLISHER}/one", GREEN, 0, NOW_MS, {BANK}))]
    assert [hold.hold_id for hold in found] == looked == ["case", "bank"]


def test_a_release_raises_the_bound_of_one_member_in_one_lane_for_a_time() -> None:
    """And never lowers it."""
    releases = Releases([Release(BANK, "de", 500, NOW_MS), Release(READERS[1], "de", 5, NOW_MS)])
    bound = releases.bound("de", 100, NOW_MS)
    assert [bound(member) for member in READERS[:3]] == [500, 100, 100]
    assert releases.bound("se", 100, NOW_MS)(BANK) == 100
    assert releases.bound("de", 100, NOW_MS + 1)(BANK) == 100
