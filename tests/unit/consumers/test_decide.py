"""The decision: who is given an alert, who matched and is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tocsin.consumers.decide import Audience, audience
from tocsin.consumers.subscriptions import Subscription, Subscriptions
from tocsin.schemas.names import AlertTopic

TOPIC = AlertTopic.parse("alerts.de.site-taken-down.amber")
TYPES, PLACES, LABELS = {"site-taken-down"}, {"de"}, {"AMBER"}


RECORD: dict[str, object] = {"header": {}, "details": {}}


def _audience(readers: dict[str, str], *asking: Subscription) -> Audience:
    return audience(TOPIC, readers, Subscriptions(asking), lambda _: True)


def _wish(member: str, **asks: object) -> Subscription:
    sets: dict[str, Any] = {name: frozenset(value) for name, value in asks.items() if isinstance(value, set)}
    return Subscription(member, everything=not sets, own=bool(asks.get("own")), **sets)


@pytest.mark.parametrize(
    ("types", "places", "labels"),
    [*product((set(), TYPES, {"merchant-terminated"}), (set(), PLACES, {"fr"}), (set(), LABELS, {"GREEN"}))],
)
def test_an_explicit_wish_is_all_of_its_parts(types: set[str], places: set[str], labels: set[str]) -> None:
    """An empty part is any; what is said must hold."""
    one = Subscription(
        "m", everything=False, types=frozenset(types), jurisdictions=frozenset(places), tlps=frozenset(labels)
    )
    expected = all(part <= here for part, here in ((types, TYPES), (places, PLACES), (labels, LABELS)))
    assert one.wants(TOPIC) is expected
    everything = Subscription("m", types=one.types, jurisdictions=one.jurisdictions, tlps=one.tlps)
    assert everything.wants(TOPIC)


# asks, may see -> given, refused
VERDICTS = [
    ({}, True, True, False),
    ({}, False, False, False),
    ({"types": TYPES}, True, True, False),
    ({"types": TYPES}, False, False, True),
    ({"types": {"merchant-terminated"}}, True, False, False),
    ({"types": {"merchant-terminated"}}, False, False, False),
]


@pytest.mark.parametrize(("asks", "sees", "is_given", "is_refused"), VERDICTS)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("publisher", ["other", "m"])
def test_each_verdict(
    asks: dict[str, set[str]],
    sees: bool,  # noqa: FBT001  # a table's column
    is_given: bool,  # noqa: FBT001  # a table's column
    is_refused: bool,  # noqa: FBT001  # a table's column
    own: bool,  # noqa: FBT001  # a table's column
    publisher: str,
) -> None:
    """Not the publisher unless it asks; then subscribed; then sight. Only an explicit wish can be refused."""
    who = _audience({"m": "rule"} if sees else {}, _wish("m", own=own, **asks))
    counts = own or publisher != "m"
    assert who.for_alert(publisher, RECORD) == ((("m",), ("rule",)) if is_given and counts else ((), ()))
    assert who.refused_for(publisher, RECORD) == (("m",) if is_refused and counts else ())


def test_who_asks_for_nothing_is_nobody() -> None:
    """Sight without a subscription gives nothing, and is no refusal."""
    who = _audience({"m": "rule"})
    assert (who.members, who.refused) == ((), ())


def test_members_keep_their_rules_when_the_publisher_is_left_out() -> None:
    """The two tuples stay parallel, wherever the publisher stood, and whoever was asked about before."""
    readers = {member: f"rule of {member}" for member in "abc"}
    who = _audience(readers, *(_wish(member, own=member == "b") for member in "cab"))
    for publisher in ("a", "b", "c", "d", "a"):
        members, rules = who.for_alert(publisher, RECORD)
        assert members == tuple(member for member in "abc" if member != publisher or member == "b")
        assert rules == tuple(f"rule of {member}" for member in members)


def test_the_refused_are_named_in_order() -> None:
    """So that the same decision has the same bytes."""
    wishes = [_wish(member, types=TYPES) for member in "cab"]
    assert _audience({"b": "rule"}, *wishes).refused == ("a", "c")
