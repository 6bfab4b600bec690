"""The lane in single scenes: what the long random lives of the model meet now and then."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.consumers.lane_world import (
    AMBER,
    GREEN,
    LIFE_MS,
    MEMBERS,
    MERCHANT,
    PUBLISHERS,
    READERS,
    LaneWorld,
    alert,
    rule_of,
)
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.disputes import Disputed
from tocsin.consumers.lane import REMEMBERED_MS
from tocsin.consumers.lane_transaction import RULE_HEADER, SOURCE_HEADER
from tocsin.consumers.subscriptions import Subscription
from tocsin.schemas.codec import decode
from tocsin.schemas.errors import Reason, Rejection

ALL_GREEN = [(reader, GREEN) for reader in READERS]
BANK, OTHER, ISP, POLICE = READERS
PUBLISHER = PUBLISHERS[0]
FOUL = Rejection(Reason.CONTENT, "header.note: a link", signer=PUBLISHER)


def _values(world: LaneWorld, member: str) -> list[bytes]:
    return [copy.value for copy in world.inboxes[member] if copy.value and not copy.key.startswith(b"withdrawn/")]


def _withdrawn(world: LaneWorld, member: str) -> list[bytes]:
    return [copy.key for copy in world.inboxes[member] if copy.value is None or copy.key.startswith(b"withdrawn/")]


def _withheld(world: LaneWorld) -> list[tuple[str, str]]:
    return [
        (who["member"], who["reason"]) for one in world.audit if one["kind"] == "WITHHELD" for who in one["refused"]
    ]


def test_the_copies_of_a_decision_wait_for_the_next_transaction() -> None:
    """The first holds the decision, its entry and position; the second the copies and the mark; the third nothing."""
    world = LaneWorld(ALL_GREEN)
    first = alert("one")
    world.publish(GREEN, first)
    world.read()
    _, tx = world.make()
    assert (len(tx.decisions), tx.copies) == (1, [])
    assert [key for key, _ in tx.ledger_records() if not key.startswith(b"inbox/")] == [
        f"{PUBLISHER}/one".encode(),
        f"position/id-of-{GREEN}/{GREEN}".encode(),
        b"mark",
    ]
    world.lane.commit(tx)
    _, tx = world.make()
    assert {copy.member for copy in tx.copies} == set(READERS)
    assert [key for key, _ in tx.ledger_records()] == [b"mark"]
    copy = tx.copies[0]
    assert (copy.topic, copy.key, copy.value) == (f"inbox.{copy.member}", f"{PUBLISHER}/one".encode(), first.value)
    assert copy.headers == [
        *first.headers,
        (SOURCE_HEADER, f"{GREEN}/0/0".encode()),
        (RULE_HEADER, rule_of(copy.member, GREEN).text().encode()),
    ]
    world.lane.commit(tx)
    _, tx = world.make()
    assert tx.empty
    assert not tx.copies


def test_an_abort_needs_no_undoing() -> None:
    """A transaction that is thrown away leaves the lane as it was: the next one is the same."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.read()
    world.step()
    _, thrown_away = world.make()
    _, again = world.make()
    assert again == thrown_away
    assert len(again.copies) == len(READERS)


def test_a_notice_to_an_inbox_that_is_gone_follows_when_it_is_back() -> None:
    """What is decided and not written is owed, notices too, and across a take-over."""
    world = LaneWorld()
    world.gone = {PUBLISHER}
    world.publish(GREEN, FOUL)
    world.read()
    for _ in range(3):
        world.step()
        world.pay_refusing()
    assert world.inboxes[PUBLISHER] == []
    world.take_over()
    world.rest()
    assert [copy.key for copy in world.inboxes[PUBLISHER]] == [f"notice/{GREEN}/0".encode()]
    assert not [key for key in world.lane.ledger.entries if key.startswith("notice/")]


def test_nobody_is_told_of_a_record_whose_signer_is_unknown_or_suspended_or_repeats() -> None:
    """A notice goes to an active member whose signature held, and not for a duplicate."""
    world = LaneWorld()
    world.standing(PUBLISHERS[1], "SUSPENDED")
    first = alert("one")
    for outcome in (
        Rejection(Reason.UNKNOWN_KEY),
        Rejection(Reason.CONTENT, signer=PUBLISHERS[1]),
        first,
        first,
        alert("one", content="other"),
    ):
        world.publish(GREEN, outcome)
    world.rest()
    assert [(one["outcome"], one["reason"]) for one in world.audit] == [
        ("REJECTED", "unknown-key"),
        ("REJECTED", "content"),
        ("ACCEPTED", None),
        ("DUPLICATE", "replayed"),
        ("REJECTED", "conflict"),
    ]
    assert [copy.key for copy in world.inboxes[PUBLISHER]] == [f"notice/{GREEN}/4".encode()]
    assert world.inboxes[PUBLISHERS[1]] == []


def test_who_asks_for_its_own_alerts_later_is_given_those_that_live() -> None:
    """An inbox converges to what its member asks for, one's own included."""
    world = LaneWorld([(PUBLISHER, GREEN)])
    world.publish(GREEN, alert("one"))
    world.rest()
    assert world.inboxes[PUBLISHER] == []
    world.ask(Subscription(PUBLISHER, own=True))
    world.rest()
    assert len(world.inboxes[PUBLISHER]) == 1
    assert [one["kind"] for one in world.audit] == ["ALERT", "GAINED"]


@pytest.mark.parametrize("gained", ["sight", "subscription", "standing"])
def test_what_is_gained_brings_the_live_alerts_once(gained: str) -> None:
    """A grant, a subscription or a member is new: the missing alerts follow, but no retracted or expired one."""
    nothing = Subscription(BANK, everything=False, jurisdictions=frozenset({"fr"}))
    world = LaneWorld(ALL_GREEN[gained == "sight" :], asking={BANK: nothing} if gained == "subscription" else {})
    if gained == "standing":
        world.standing(BANK, "SUSPENDED")
    world.publish(GREEN, alert("one"))
    world.publish(GREEN, alert("expired", expires_at=NOW_MS + 1))
    world.publish(GREEN, alert("retracted"))
    world.publish(GREEN, alert("retracted", 2, status="RETRACTED"))
    world.rest()
    world.now_ms += 1
    assert world.inboxes[BANK] == []
    world.grants |= {(BANK, GREEN)}
    world.settle()
    world.ask(Subscription(BANK))
    world.standing(BANK, "ACTIVE")
    world.rest()
    world.rest()
    assert _values(world, BANK) == [alert("one").value]
    assert [one["kind"] for one in world.audit].count("GAINED") == 1


def test_sight_lost_between_decision_and_copy_is_on_record_and_may_come_back() -> None:
    """WITHHELD instead of the copy; gained again, the copy follows by a new decision."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.read()
    world.step()
    world.grants -= {(BANK, GREEN)}
    world.look()
    world.step()
    assert world.inboxes[BANK] == []
    assert _withheld(world) == [(BANK, "sight-lost")]
    assert {member for member in READERS if world.inboxes[member]} == {OTHER, ISP, POLICE}
    world.take_over()
    world.grants |= {(BANK, GREEN)}
    world.look()
    world.rest()
    assert len(world.inboxes[BANK]) == 1
    assert _withheld(world) == [(BANK, "sight-lost")]


def test_an_inbox_that_refuses_delays_nobody_and_is_paid_in_order() -> None:
    """The others have every alert while one refuses; its debts come in order, in transactions of its own."""
    world = LaneWorld(ALL_GREEN, copies_max=4)
    world.denied = {BANK}
    sent = [alert(f"l{number}") for number in range(9)]
    for one in sent:
        world.publish(GREEN, one)
    aborted = 0
    for _ in range(30):
        world.read()
        aborted += not world.step()
    assert aborted == 1
    assert all(_values(world, member) == [one.value for one in sent] for member in (OTHER, ISP, POLICE))
    assert world.inboxes[BANK] == []
    world.denied.clear()
    world.take_over()
    for _ in range(3):
        before = len(world.inboxes[BANK])
        world.pay_refusing()
        assert len(world.inboxes[BANK]) - before <= 4
        world.take_over()
    assert _values(world, BANK) == [one.value for one in sent]


def test_a_debt_that_a_newer_revision_supersedes_is_withheld() -> None:
    """The refusing member is owed the newest revision only; the older one's fate is on the record."""
    world = LaneWorld(ALL_GREEN)
    world.gone = {BANK}
    world.publish(GREEN, alert("one"))
    world.read()
    world.step()
    world.step()
    world.publish(GREEN, alert("one", 2))
    world.rest()
    assert _values(world, BANK) == [alert("one", 2).value]
    assert _values(world, OTHER) == [alert("one").value, alert("one", 2).value]
    assert _withheld(world) == [(BANK, "superseded")]


def test_a_second_revision_waits_until_the_first_is_paid() -> None:
    """Else the ledger would no longer hold the first one's bytes; other lineages behind it wait too, in order."""
    world = LaneWorld(ALL_GREEN)
    for one in (alert("one"), alert("one", 2), alert("two")):
        world.publish(GREEN, one)
    world.read()
    world.step()
    assert len(world.audit) == 1
    world.step()
    assert len(world.audit) == 3
    assert _values(world, BANK) == [alert("one").value]
    world.rest()
    assert _values(world, BANK) == [alert("one").value, alert("one", 2).value, alert("two").value]


def test_a_transaction_is_bounded_by_its_copies() -> None:
    """Neither what it owes nor what it pays goes far beyond the bound: by one alert's audience at most."""
    world = LaneWorld(ALL_GREEN, copies_max=5)
    for number in range(20):
        world.publish(GREEN, alert(f"l{number}"))
    world.read()
    sizes: Counter[int] = Counter()
    while world.pending or world.lane.has_work(world.context()):
        context, tx = world.make()
        assert tx.owed <= 5 + len(READERS) - 1
        sizes[len(tx.copies)] += 1
        world.append(context, tx)
        world.lane.commit(tx)
    assert max(sizes) == 8
    assert sum(size * count for size, count in sizes.items()) == 20 * len(READERS)


def test_an_alert_that_moves_to_another_label_is_caught_up_there() -> None:
    """Its newest revision decides which topic's sight counts."""
    world = LaneWorld([(BANK, GREEN), (OTHER, AMBER)])
    world.publish(GREEN, alert("one"))
    world.rest()
    world.publish(AMBER, alert("one", 2))
    world.rest()
    world.grants |= {(ISP, GREEN), (POLICE, AMBER)}
    world.rest()
    assert [_values(world, member) for member in READERS] == [
        [alert("one").value],
        [alert("one", 2).value],
        [],
        [alert("one", 2).value],
    ]


def test_a_retraction_that_comes_first_wins() -> None:
    """The original that is read later is stale, and reaches nobody; so nobody is told of the retraction either."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one", 2, status="RETRACTED"))
    world.publish(GREEN, alert("one"))
    world.rest()
    assert world.inboxes[BANK] == []
    assert [one["reason"] for one in world.audit] == [None, "stale"]


def test_a_member_that_left_is_owed_nothing_more() -> None:
    """Suspended between decision and copy: withheld, as if its ACLs were gone."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.read()
    world.step()
    world.standing(BANK, "WITHDRAWN")
    world.rest()
    assert world.inboxes[BANK] == []
    assert _withheld(world) == [(BANK, "sight-lost")]


def test_a_flicker_of_sight_costs_nothing() -> None:
    """Lost and found again between two transactions: the copy is written, and nothing is caught up twice."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one", expires_at=NOW_MS + LIFE_MS))
    world.read()
    world.step()
    world.grants -= {(BANK, GREEN)}
    world.look()
    world.grants |= {(BANK, GREEN)}
    world.settle()
    world.rest()
    assert len(world.inboxes[BANK]) == 1
    assert [one["kind"] for one in world.audit] == ["ALERT"]


def test_a_retraction_is_told_to_everyone_who_was_ever_given_any_revision() -> None:
    """With sight or without, active or not: the copy goes, and a notice comes that names the lineage and no more."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.grants -= {(BANK, GREEN)}
    world.settle()
    world.publish(GREEN, alert("one", 2, status="CORRECTED"))
    world.rest()
    world.standing(OTHER, "WITHDRAWN")
    world.publish(GREEN, alert("one", 5, status="RETRACTED"))
    world.publish(GREEN, alert("one", 6))
    world.rest()
    key = f"{PUBLISHER}/one".encode()
    assert _withdrawn(world, BANK) == [key, b"withdrawn/" + key] * 2
    assert _withdrawn(world, OTHER) == _withdrawn(world, ISP) == [key, b"withdrawn/" + key]
    assert [(one["reason"], sorted(one["erased"])) for one in world.audit] == [
        (None, []),
        (None, [BANK]),
        (None, sorted(READERS)),
        ("transition", []),
    ]
    assert world.lane.ledger.entries[key.decode()].value == b""


def test_a_correction_goes_to_who_holds_the_original_whatever_it_asks_for_now() -> None:
    """A member that no longer asks for such alerts must still hear that one was wrong."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.ask(Subscription(BANK, everything=False, jurisdictions=frozenset({"fr"})))
    world.publish(GREEN, alert("one", 2, status="CORRECTED"))
    world.publish(GREEN, alert("two"))
    world.rest()
    assert _values(world, BANK) == [alert("one").value, alert("one", 2, status="CORRECTED").value]


def test_who_loses_sight_before_the_correction_is_written_is_told_that_the_original_is_withdrawn() -> None:
    """Decided for it and withheld: else it would go on holding what is known to be wrong."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.publish(GREEN, alert("one", 2, status="CORRECTED"))
    world.read()
    world.step()
    world.grants -= {(BANK, GREEN)}
    world.look()
    world.rest()
    assert _values(world, BANK) == [alert("one").value]
    assert len(_withdrawn(world, BANK)) == 2
    assert _withheld(world) == [(BANK, "sight-lost")]


def test_what_has_expired_goes_from_inboxes_and_ledger_and_is_told_when_retracted_later() -> None:
    """The content goes without a word; who was given it is remembered until nothing can be replayed any more."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.now_ms += LIFE_MS
    world.rest()
    key = f"{PUBLISHER}/one"
    assert _withdrawn(world, BANK) == [key.encode()]
    assert world.audit[-1]["kind"] == "EXPIRED"
    assert world.lane.ledger.entries[key].value == b""
    world.publish(GREEN, alert("one", 2, status="RETRACTED", expires_at=world.now_ms + LIFE_MS))
    world.rest()
    assert _withdrawn(world, BANK)[1:] == [key.encode(), b"withdrawn/" + key.encode()]
    world.now_ms += LIFE_MS + REMEMBERED_MS
    world.rest()
    assert key not in world.lane.ledger.entries
    world.check_take_over()


def test_debts_of_a_refusing_inbox_stay_in_the_order_of_their_numbers() -> None:
    """A lineage that is owed twice is owed last, so that the mark never passes a debt that is not paid."""
    world = LaneWorld([(BANK, GREEN), (BANK, AMBER)], copies_max=1)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.gone = {BANK}
    for topic, lineage, revision in ((MERCHANT, "one", 2), (GREEN, "two", 1)):
        world.publish(topic, alert(lineage, revision))
        for _ in range(3):
            world.read()
            world.step()
    world.grants |= {(BANK, MERCHANT)}
    world.settle()
    for _ in range(6):
        world.step()
    for _ in range(2):
        numbers = list(world.lane.behind[BANK].values())
        assert len(numbers) == 2
        assert numbers == sorted(numbers)
        world.take_over()
    world.rest()
    assert _values(world, BANK) == [alert("one").value, alert("two").value, alert("one", 2).value]


def test_a_line_is_tested_now_and_then_and_never_owed() -> None:
    """To this jurisdiction's members, once per interval, across a take-over; a test that cannot be given is missed."""
    world = LaneWorld(ALL_GREEN)
    world.gone = {BANK}
    for passed in (0, 1, 999, 1):
        world.head = f"the head at {passed}" if passed else None
        world.now_ms += passed
        context = world.context()
        tx = world.lane.begin(context)
        world.lane.test_line(tx, context, 1_000)
        assert {copy.member for copy in tx.copies} == ({*MEMBERS} - {BANK} if passed in (0, 999) else set())
        assert {decode(copy.value or b"")[1]["checkpoint"] for copy in tx.copies} <= {world.head}
        assert tx.lines == ({one: one != BANK for one in MEMBERS} if tx.copies else {})
        world.ledger += tx.ledger_records()
        world.take_over()
    assert not world.lane.due


def test_an_inbox_that_was_made_again_has_been_given_nothing() -> None:
    """The live alerts follow, once, and across a take-over; what was owed comes once too."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.publish(GREEN, alert("gone", status="ACTIVE", expires_at=NOW_MS + 1))
    world.rest()
    world.now_ms += 1
    world.rest()
    world.publish(GREEN, alert("two"))
    world.read()
    world.step()
    world.remake(BANK)
    world.step()
    world.take_over()
    world.rest()
    assert sorted(_values(world, BANK)) == [alert("one").value, alert("two").value]
    assert [one["kind"] for one in world.audit].count("GAINED") == 1
    assert len(_values(world, OTHER)) == 3


def test_who_gains_more_than_its_bound_waits_for_the_operators_word() -> None:
    """Nothing of it is given, visibly; others and new alerts are not delayed; with the word all of it follows, once."""
    world = LaneWorld([(OTHER, GREEN)])
    for number in range(5):
        world.publish(GREEN, alert(f"l{number}"))
    world.rest()
    world.gains_max = 4
    world.grants |= {(BANK, GREEN)}
    world.rest()
    assert world.inboxes[BANK] == []
    assert world.lane.gains.held(world.context().gains_max) == {BANK: 5}
    world.publish(GREEN, alert("new"))
    world.publish(AMBER, alert("amber"))
    world.grants |= {(ISP, AMBER)}
    world.rest()
    assert _values(world, BANK) == [alert("new").value]
    assert _values(world, ISP) == [alert("amber").value]
    world.take_over()
    world.rest()
    assert world.lane.gains.held(world.context().gains_max) == {BANK: 5}
    world.released = {BANK: 5}
    world.rest()
    assert len(_values(world, BANK)) == 6
    assert world.lane.gains.held(world.context().gains_max) == {}


def test_a_wrong_rule_that_is_put_right_leaves_nothing_held() -> None:
    """What was gained and lost again does not count against what is gained later."""
    world = LaneWorld([(OTHER, GREEN), (OTHER, AMBER)])
    for number in range(5):
        world.publish(GREEN, alert(f"l{number}"))
    world.publish(AMBER, alert("amber"))
    world.rest()
    world.gains_max = 4
    world.grants |= {(BANK, GREEN)}
    world.rest()
    world.grants -= {(BANK, GREEN)}
    world.grants |= {(BANK, AMBER)}
    world.rest()
    assert _values(world, BANK) == [alert("amber").value]


def test_an_inbox_that_is_made_again_while_it_refuses_is_given_each_alert_once() -> None:
    """Its debts are paid into the new one, and not caught up a second time."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.denied = {BANK}
    world.read()
    for _ in range(3):
        world.step()
    world.remake(BANK)
    world.denied.clear()
    world.pay_refusing()
    world.rest()
    assert _values(world, BANK) == [alert("one").value]
    world.check_rest()


def test_who_is_behind_and_loses_sight_takes_no_place_of_what_is_due_to_another() -> None:
    """The erasure that a second member is owed of the same lineage comes, too."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    world.publish(GREEN, alert("one", 2, status="CORRECTED"))
    world.read()
    world.step()
    world.denied = {BANK}
    world.step()
    assert BANK in world.lane.behind
    world.grants -= {(BANK, GREEN), (OTHER, GREEN)}
    world.settle()
    world.denied.clear()
    world.step()
    world.pay_refusing()
    world.rest()
    assert {member for member in READERS if _withdrawn(world, member)} == {BANK, OTHER}
    world.check_rest()


def test_a_dispute_is_passed_on_once_without_saying_whose_it_is() -> None:
    """To the publisher, across a take-over; another one of the same member is another word."""
    world = LaneWorld(ALL_GREEN)
    world.publish(GREEN, alert("one"))
    world.rest()
    for dispute in ("first", "first", "second"):
        world.disputes = (Disputed(BANK, PUBLISHER, "one", dispute, "FALSE_POSITIVE"),)
        for _ in range(4):
            world.append(*(made := world.make()))
            world.lane.commit(made[1])
        world.take_over()
    notices = [decode(copy.value or b"")[1] for copy in world.inboxes[PUBLISHER]]
    assert [(one["kind"], one["lineage_id"], one["reason"]) for one in notices] == [
        ("DISPUTED", "one", "FALSE_POSITIVE"),
        ("DISPUTED", "one", "FALSE_POSITIVE"),
    ]
    assert BANK not in repr(notices)
    assert [one["kind"] for one in world.audit] == ["ALERT", "DISPUTED", "DISPUTED"]
    world.check_take_over()


def test_who_was_never_given_it_cannot_dispute_it() -> None:
    """On the record, and nobody is told: else anybody could ask what exists."""
    world = LaneWorld(ALL_GREEN[1:])
    world.publish(GREEN, alert("one"))
    world.rest()
    world.disputes = (
        Disputed(BANK, PUBLISHER, "one", "id", "ERROR"),
        Disputed(OTHER, PUBLISHER, "never published", "id", "ERROR"),
    )
    for _ in range(3):
        world.append(*(made := world.make()))
        world.lane.commit(made[1])
    assert world.inboxes[PUBLISHER] == []
    assert world.audit[-1]["refused"] == [{"member": BANK, "reason": "never-given"}]
