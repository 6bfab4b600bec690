"""What the frame of the drills must be able to find, and how it reads the clock; no Kafka."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from tests.drills.clock import Trip, going_on, recovery
from tests.drills.evidence import Copy, Evidence, Written, faults, planted
from tocsin.consumers.lane import SUPERSEDED

TOPIC = "alerts.se.site-taken-down.green"
SEES = {"reader": frozenset({"se"}), "blind": frozenset[str](), "unsure": None}


def _decision(offset: int, value: bytes, given: list[str], kind: str = "ALERT") -> dict[str, Any]:
    return {
        "seq": offset + 1,
        "kind": kind,
        "outcome": "ACCEPTED",
        "topic": TOPIC,
        "offset": offset,
        "sha256": hashlib.sha256(value).digest(),
        "publisher": "p",
        "lineage_id": f"{offset}",
        "revision": 1,
        "worker": "host",
        "given": [{"member": member} for member in given],
        "refused": [],
    }


def _whole() -> Evidence:
    """Ten alerts, each given to the one who may have it."""
    sent = [b"%d" % number for number in range(10)]
    return Evidence(
        sent={"se": sent, "de": []},
        written=[Written(TOPIC, offset, value) for offset, value in enumerate(sent)],
        decisions=[_decision(offset, value, ["reader"]) for offset, value in enumerate(sent)],
        inboxes={
            "reader": [Copy(f"p/{offset}", 1, TOPIC, offset, value) for offset, value in enumerate(sent)],
            "blind": [],
            "unsure": [],
        },
    )


def test_where_all_is_well_nothing_is_found() -> None:
    """A count that always finds something proves nothing."""
    assert faults(_whole(), SEES) == []


@pytest.mark.parametrize("number", range(6))
def test_each_planted_fault_is_found(number: int) -> None:
    """One copy lost, twice or out of order; one alert or decision gone."""
    what, false = list(planted(_whole(), "reader"))[number]
    assert faults(false, SEES) != [], what


def test_of_what_is_missing_the_record_is_told() -> None:
    """Where it was written and what was decided, so that a drill that failed can be understood afterwards."""
    whole = _whole()
    decisions = [_decision(0, b"0", []), *whole.decisions[1:]]
    lost = replace(whole, decisions=decisions, inboxes={**whole.inboxes, "reader": whole.inboxes["reader"][1:]})
    count, story = faults(lost, SEES)
    assert count == "inbox.reader: 1 of 10 copies are missing"
    assert story.startswith(
        f"inbox.reader: missing: written at ['{TOPIC}/0']; decided: #1 ALERT ACCEPTED 0 revision 1 by host"
    )


def test_what_nobody_may_see_is_found_in_an_inbox() -> None:
    """A copy without a decision, and one with a decision that no ACL allows."""
    whole = _whole()
    leaked = replace(whole, inboxes={**whole.inboxes, "blind": whole.inboxes["reader"][:1]})
    assert any("nobody decided" in fault for fault in faults(leaked, SEES))
    given = [_decision(0, b"0", ["reader", "blind"]), *whole.decisions[1:]]
    assert faults(replace(leaked, decisions=given), SEES) == ["inbox.blind: 1 copies that its ACLs do not allow"]


def test_what_a_later_revision_overtook_is_not_lost() -> None:
    """Where the record says so of this member, and the later one has come to it."""
    whole = _whole()
    withheld = _decision(0, b"0", [], "WITHHELD") | {"seq": 11, "refused": [{"member": "reader", "reason": SUPERSEDED}]}
    first, second, *others = whole.inboxes["reader"]
    overtaken = replace(
        whole,
        decisions=[*whole.decisions, withheld],
        inboxes={**whole.inboxes, "reader": [second._replace(key=first.key, revision=2), *others]},
    )
    assert faults(overtaken, SEES) == []
    assert faults(replace(overtaken, decisions=whole.decisions), SEES) != []
    assert faults(replace(overtaken, inboxes={**whole.inboxes, "reader": [second, *others]}), SEES) != []


def test_revisions_out_of_order_are_found() -> None:
    """Of one lineage, though each topic's offsets rise."""
    whole = _whole()
    copies = [*whole.inboxes["reader"]]
    copies[0], copies[1] = copies[0]._replace(key="p/x", revision=2), copies[1]._replace(key="p/x", revision=1)
    assert faults(replace(whole, inboxes={**whole.inboxes, "reader": copies}), SEES) == [
        "inbox.reader: revisions out of order"
    ]


def _trips(stall: tuple[float, float]) -> list[Trip]:
    """Ten alerts a second, each in 20 ms, but for those of a stall, which all come when it ends."""
    begin, end = stall
    ats = [number / 10 for number in range(400)]
    return [Trip(at, end - at + 0.02 if begin <= at < end else 0.02) for at in ats]


def test_it_is_as_before_once_the_stall_is_over() -> None:
    """Seconds since the fault, and the longest that an alert took."""
    found = recovery(_trips((10.0, 17.0)), 10.0, 40.0)
    assert found is not None
    assert (round(found.after_s), round(found.worst_s)) == (7, 7)


def test_it_goes_on_with_the_first_alert_that_was_published_since() -> None:
    """Not with one from before that came late; and not while there is none."""
    assert going_on([Trip(1.0, 9.0), Trip(2.0, inf)], 1.5) is None
    assert going_on([Trip(1.0, 9.0), Trip(2.0, inf), Trip(3.0, 0.5)], 1.5) == 2.0


def test_it_is_not_as_before_while_alerts_are_missing() -> None:
    """Neither while they are on their way, nor when they never come."""
    assert recovery(_trips((10.0, 17.0)), 10.0, 17.0) is None
    lost = [trip._replace(took=inf) if 10 <= trip.at < 11 else trip for trip in _trips((10.0, 10.0))]
    assert recovery(lost, 10.0, 40.0) is None


def test_without_alerts_before_nothing_can_be_compared() -> None:
    """It is said, not guessed."""
    with pytest.raises(ValueError, match="before the fault"):
        recovery(_trips((10.0, 17.0)), 0.0, 40.0)
