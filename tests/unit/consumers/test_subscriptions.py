"""What members ask for: each part of a subscription, the index beside a slow reading, and what one alert costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.schemas.samples import SUBJECTS, TOKEN, put, sample
from tocsin.consumers.decide import Audience, audience
from tocsin.consumers.subscriptions import ALERT_FILTERS, Index, Subscription, Subscriptions, facts_of
from tocsin.schemas.names import AlertTopic

TOPIC = AlertTopic.parse("alerts.de.merchant-terminated.amber")
DETAILS: dict[str, dict[str, Any]] = {kind: sample(kind)["details"] for kind in SUBJECTS}

# type, filter, a value that holds, one that does not
MATCHES: list[tuple[str, str, Any, Any]] = [
    ("merchant-terminated", "reasons", "MATCH:13", "MATCH:04"),
    ("merchant-terminated", "countries", "DE", "FR"),
    ("merchant-terminated", "rails", "CARD", "CRYPTO"),
    ("merchant-terminated", "mccs", "5967", "5968"),
    ("merchant-terminated", "tokens", TOKEN, "k:0"),
    ("merchant-terminated", "tlds", None, "top"),
    ("merchant-terminated", "host_asns", None, 64_500),
    ("descriptor-reused", "countries", "FR", "SE"),
    ("descriptor-reused", "countries", "DE", "SE"),
    ("descriptor-reused", "mccs", "5967", "N"),
    ("descriptor-reused", "rails", "CARD", "CRYPTO"),
    ("descriptor-reused", "tokens", TOKEN, "k:0"),
    ("descriptor-reused", "reasons", None, "MATCH:13"),
    ("site-taken-down", "tlds", "top", "com"),
    ("site-taken-down", "countries", "NL", "DE"),
    ("site-taken-down", "host_asns", DETAILS["site-taken-down"]["host_asn"], 1),
    ("site-taken-down", "tokens", TOKEN, "k:0"),
]


@pytest.mark.parametrize(("kind", "part", "holds", "not_holds"), MATCHES)
def test_each_part_looks_where_its_values_stand(kind: str, part: str, holds: Any, not_holds: Any) -> None:
    """What is given must hold; one of several values is enough; a part that an alert lacks does not hold."""
    facts = facts_of(DETAILS[kind])

    def matches(*values: Any) -> bool:
        return _asking("m", **{part: frozenset(values)}).matches(facts)

    assert not matches(not_holds)
    if holds is not None:
        assert matches(holds)
        assert matches(not_holds, holds)


def _asking(member: str, **parts: Any) -> Subscription:
    return Subscription(member, everything=False, **parts)


def test_all_parts_must_hold_and_everything_asks_for_nothing() -> None:
    """The parts narrow each other; "everything I may see" looks into nothing."""
    facts = facts_of(DETAILS["site-taken-down"])
    tlds, elsewhere = frozenset({"top"}), frozenset({"SE"})
    assert not _asking("m", tlds=tlds, countries=elsewhere).matches(facts)
    assert not Subscription("m", tlds=frozenset({"com"})).alert_filters()


TOKEN_PLACES = [
    ("merchant-terminated", "details.mid_tokens.0"),
    ("merchant-terminated", "details.payfac.submerchant_token"),
    ("merchant-terminated", "details.dba_token"),
    ("merchant-terminated", "details.descriptors.0.key_token"),
    ("merchant-terminated", "details.descriptors.0.cut_tokens.0"),
    ("merchant-terminated", "details.principal_tokens.0"),
    ("descriptor-reused", "details.observed.mid_token"),
    ("descriptor-reused", "details.descriptor.skeleton_token"),
    ("site-taken-down", "details.url_tokens.0"),
    ("site-taken-down", "details.payment_links.0.mid_token"),
]


@pytest.mark.parametrize(("kind", "place"), TOKEN_PLACES)
def test_a_watch_list_sees_every_token_of_an_alert(kind: str, place: str) -> None:
    """Wherever it stands."""
    details = put(sample(kind), place, "k:watched")["details"]
    assert _asking("m", tokens=frozenset({"k:watched", "k:other"})).matches(facts_of(details))


# -- the index and the audience, beside a slow reading ----------------------------------------------------------------

VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "tokens": st.sampled_from(["k:1", "k:2", "k:3"]),
    "host_asns": st.sampled_from([1, 2]),
    "tlds": st.sampled_from(["top", "com"]),
    "mccs": st.sampled_from(["5967", "5968"]),
    "reasons": st.sampled_from(["MATCH:13", "VMSS:11"]),
    "countries": st.sampled_from(["DE", "FR"]),
    "rails": st.sampled_from(["CARD", "CRYPTO"]),
}
MEMBERS: tuple[str, ...] = ("a", "b", "c", "d")
WISHES = st.builds(
    Subscription,
    member=st.sampled_from(MEMBERS),
    everything=st.sampled_from([False, False, False, True]),
    types=st.sampled_from([frozenset[str](), frozenset({TOPIC.type.value}), frozenset({"site-taken-down"})]),
    own=st.booleans(),
    **{name: st.frozensets(values, max_size=2) for name, values in VALUES.items()},
)
RECORDS = st.builds(
    lambda tokens, country, mccs, reasons: {
        "details": {
            "mid_tokens": tokens,
            "country": country,
            "mccs": mccs,
            "reasons": [{"scheme": one.split(":")[0], "code": one.split(":")[1]} for one in reasons],
        }
    },
    st.lists(VALUES["tokens"], max_size=2),
    VALUES["countries"],
    st.lists(VALUES["mccs"], max_size=2),
    st.lists(VALUES["reasons"], max_size=2),
)


@given(st.lists(WISHES, max_size=12), RECORDS)
def test_index_finds_what_a_slow_reading_finds(wishes: list[Subscription], record: dict[str, Any]) -> None:
    """Each subscription that looks into alerts, once, when it matches."""
    facts = facts_of(record["details"])
    found = Index(wishes).matching(TOPIC, facts)
    expected = [one for one in wishes if one.alert_filters() and one.wants(TOPIC) and one.matches(facts)]
    assert sorted(map(id, found)) == sorted(map(id, expected))


@given(
    st.lists(WISHES, max_size=12),
    RECORDS,
    st.sets(st.sampled_from(MEMBERS)),
    st.sets(st.sampled_from(MEMBERS), min_size=2),
    st.sampled_from([*MEMBERS, "z"]),
)
def test_audience_is_each_member_judged_alone(
    wishes: list[Subscription], record: dict[str, Any], seeing: set[str], active: set[str], publisher: str
) -> None:
    """Subscriptions add up; own alerts need one that asks for them; an explicit one that matches is refused."""
    readers = {member: f"rule of {member}" for member in sorted(seeing & active)}
    who = audience(TOPIC, readers, Subscriptions(wishes), active.__contains__)
    members, rules = who.for_alert(publisher, record)
    matching = [
        one
        for one in wishes
        if one.member in active
        and one.wants(TOPIC)
        and one.matches(facts_of(record["details"]))
        and (one.own or one.member != publisher)
    ]
    assert sorted(members) == sorted({one.member for one in matching} & seeing)
    assert rules == tuple(readers[member] for member in members)
    refused = {one.member for one in matching if not one.everything} - seeing
    assert who.refused_for(publisher, record) == tuple(sorted(refused))


@given(st.lists(WISHES, max_size=8), st.lists(WISHES, max_size=8), RECORDS, st.sampled_from([*MEMBERS, "z"]))
def test_whoever_gains_an_alert_is_noticed(
    earlier: list[Subscription], later: list[Subscription], record: dict[str, Any], publisher: str
) -> None:
    """No member is given more than before without `gains`, or live alerts would never follow."""
    readers = dict.fromkeys(MEMBERS, "rule")
    before, after = Subscriptions(earlier), Subscriptions(later)
    known, now = _seen(before, readers), _seen(after, readers)
    had, has = known.for_alert(publisher, record)[0], now.for_alert(publisher, record)[0]
    assert set(has) <= set(had) or now.gains(known, after.changed_since(before))


def _seen(subscriptions: Subscriptions, readers: dict[str, str]) -> Audience:
    return audience(TOPIC, readers, subscriptions, lambda _: True)


def test_nothing_is_gained_where_nobody_asks_for_more() -> None:
    """A change of one member's wishes elsewhere, or to less, queues nothing."""
    mine = _asking("a", mccs=frozenset({"5967"}))
    before = Subscriptions([mine, Subscription("b")])
    elsewhere = _asking("b", types=frozenset({"site-taken-down"}))
    for wish in (elsewhere, _asking("b", mccs=frozenset({"5967"}))):
        after = Subscriptions([mine, wish])
        assert after.changed_since(before) == {"b"}
        readers = dict.fromkeys("ab", "rule")
        assert not _seen(after, readers).gains(_seen(before, readers), after.changed_since(before))


# -- what it costs -----------------------------------------------------------------------------------------------------


def _crowd(size: int) -> list[Subscription]:
    """`size` members who watch tokens of their own, some only in a country or trade that everybody names."""
    shared: list[dict[str, frozenset[Any]]] = [
        {},
        {"countries": frozenset({"DE"})},
        {"mccs": frozenset({"5967"}), "rails": frozenset({"CARD"})},
        {"reasons": frozenset({"MATCH:13"})},
    ]
    return [_asking(f"m{n}", tokens=frozenset({f"k:{n}", f"l:{n}"}), **shared[n % len(shared)]) for n in range(size)]


def test_an_alert_costs_the_same_among_ten_and_ten_thousand_subscriptions() -> None:
    """As many are looked at as match."""
    kind = "merchant-terminated"
    facts = facts_of(DETAILS[kind])
    asked = [
        _asking("watcher", tokens=frozenset({TOKEN})),
        _asking("country", countries=frozenset({"DE"})),
    ]
    few, many = Index([*asked, *_crowd(8)]), Index([*asked, *_crowd(9_998)])
    assert [one.member for one in many.matching(TOPIC, facts)] == [one.member for one in few.matching(TOPIC, facts)]
    assert len(many.candidates(facts)) == len(few.candidates(facts)) == len(asked)


def test_every_filter_is_a_part_of_the_subscription() -> None:
    """The table names what the class has."""
    assert set(ALERT_FILTERS) == set(VALUES)
    assert set(_asking("m", **{name: frozenset({1}) for name in ALERT_FILTERS}).alert_filters()) == set(ALERT_FILTERS)
