"""What is sealed of a record: facts that can be shown one by one, and tell nothing of the others."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.consumers.lane_world import GREEN, LaneWorld, alert
from tocsin.consumers.audit.facts import (
    FACTS_MIN,
    entry_of,
    fact_about,
    fact_hash,
    facts_of,
    seal_of,
    sealed_offset,
)
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode

DECISION: Final[dict[str, Any]] = {
    "seq": 5,
    "kind": "ALERT",
    "outcome": "ACCEPTED",
    "reason": None,
    "detail": None,
    "decided_at": 1_700_000_000_000,
    "topic": GREEN,
    "topic_id": "id",
    "partition": 0,
    "offset": 4,
    "appended_at": 1_699_999_999_000,
    "sha256": b"\1" * 32,
    "key_id": "key",
    "publisher": "hotline-de",
    "lineage_id": "one",
    "alert_id": "first",
    "revision": 1,
    "status": "ACTIVE",
    "given": [],
    "refused": [],
    "erased": [],
    "acl_digest": b"\2" * 32,
    "acl_read_at": 1_700_000_000_000,
    "directory_version": 3,
    "worker": "w",
    "salt": b"salt" * 4,
}
NAMES = st.lists(st.text(min_size=1, max_size=12), max_size=20, unique=True)


def _record(place: int = 7, at_ms: int = 1_700_000_000_001, **changed: Any) -> BusRecord:
    value = encode(schema("decision"), {**DECISION, **changed})
    return BusRecord("audit.de", place, None, value, (), at_ms)


def _given(*members: str) -> list[dict[str, str]]:
    return [{"member": member, "rule": f"ALLOW READ User:{member}"} for member in members]


@given(NAMES, NAMES, NAMES)
def test_the_facts_say_all_of_a_decision(given_to: list[str], refused: list[str], erased: list[str]) -> None:
    """Each once; a power of two of them; the first says everything that is not about one member."""
    record = _record(
        given=_given(*given_to),
        refused=[{"member": member, "reason": "no-sight"} for member in refused],
        erased=erased,
    )
    first, *others = map(json.loads, facts_of(record))
    assert first["decision"] == {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in DECISION.items()
        if name not in ("given", "refused", "erased", "salt")
    }
    assert (first["topic"], first["offset"], first["appended_at"]) == ("audit.de", 7, 1_700_000_000_001)
    assert sorted(one["given"] for one in others if "given" in one) == sorted(given_to)
    assert sorted(one["refused"] for one in others if "refused" in one) == sorted(refused)
    assert sorted(one["erased"] for one in others if "erased" in one) == sorted(erased)
    assert {one["rule"] for one in others if "rule" in one} == {f"ALLOW READ User:{one}" for one in given_to}
    count = len(others) + 1
    assert count >= FACTS_MIN
    assert count & (count - 1) == 0
    assert len({one["salt"] for one in (first, *others)}) == count


@given(NAMES)
def test_facts_are_written_as_json_libraries_write_them(members: list[str]) -> None:
    """Keys in order and no spaces: whoever parses and writes one again gets the same bytes."""
    for fact in facts_of(_record(given=_given(*members))):
        assert json.dumps(json.loads(fact), sort_keys=True, separators=(",", ":")) == fact


@pytest.mark.parametrize(
    "changed",
    [
        {"seq": 6},
        {"place": 8},
        {"at_ms": 1_700_000_000_002},
        {"given": _given("aa", "cc")},
        {"given": _given("aa")},
        {"given": [{"member": "aa", "rule": "another"}, *_given("bb")]},
        {"refused": [{"member": "dd", "reason": "no-sight"}]},
        {"erased": ["aa"]},
        {"salt": b"s" * 16},
        {"appended_at": None},
    ],
    ids=str,
)
def test_whatever_is_changed_changes_the_seal(changed: dict[str, Any]) -> None:
    """Each part of a decision, its place and its time."""
    plain: dict[str, Any] = {"given": _given("aa", "bb"), "place": 7}
    assert seal_of(_record(**(plain | changed))) != seal_of(_record(**plain))


def test_a_seal_names_the_offset_and_the_hash_of_the_facts_hashes() -> None:
    """As the manual says it: what `sha256sum` makes of the hashes, one after another."""
    record = _record(given=_given("aa"))
    hashes = [hashlib.sha256(fact.encode()).digest() for fact in facts_of(record)]
    assert seal_of(record) == f"7 {hashlib.sha256(b''.join(hashes)).hexdigest()}\n".encode()
    assert seal_of(record) == entry_of(7, map(fact_hash, facts_of(record)))
    assert sealed_offset(seal_of(record)) == 7


@pytest.mark.parametrize("entry", [b"", b"7", b"07 " + b"a" * 64 + b"\n", b"7 " + b"a" * 64, b"7 " + b"A" * 64 + b"\n"])
def test_what_is_no_seal_is_refused(entry: bytes) -> None:
    """There is one way to write one."""
    with pytest.raises(NoteInvalid, match="not the seal of a record"):
        sealed_offset(entry)


def test_the_place_of_a_fact_says_nothing_of_who_it_is_about() -> None:
    """Under another salt the same members stand in another order."""
    members = [f"m{number:02}" for number in range(15)]
    orders = {
        tuple(
            json.loads(fact)["given"] for fact in facts_of(_record(given=_given(*members), salt=bytes([one] * 16)))[1:]
        )
        for one in range(10)
    }
    assert len(orders) == 10
    assert all(sorted(order) == members for order in orders)


def test_the_fact_about_a_member_is_found() -> None:
    """That it was given it, refused it, or lost its copy; of who is not concerned there is none."""
    facts = facts_of(_record(given=_given("aa"), refused=[{"member": "bb", "reason": "no-sight"}], erased=["cc"]))
    assert [json.loads(fact_about(facts, member) or "{}").keys() - {"salt"} for member in ("aa", "bb", "cc", "dd")] == [
        {"given", "rule"},
        {"refused", "reason"},
        {"erased"},
        set(),
    ]


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\0\1x", b"anything", encode(schema("decision"), DECISION)[:-1]])
def test_any_other_record_is_sealed_by_its_hash(value: bytes | None) -> None:
    """Nothing on record goes unsealed for what it holds."""
    [fact] = facts_of(BusRecord("audit.policy", 3, None, value, (), 9))
    said = json.loads(fact)
    assert said == {
        "topic": "audit.policy",
        "offset": 3,
        "appended_at": 9,
        "sha256": hashlib.sha256(value or b"").hexdigest(),
    }


def test_what_a_lane_decides_has_a_salt_of_its_own() -> None:
    """Of 16 bytes, and another one for each decision."""
    world = LaneWorld([("bank-de", GREEN)])
    for name in ("one", "two", "three"):
        world.publish(GREEN, alert(name))
    world.read()
    _, tx = world.make()
    salts = [decode(decision)[1]["salt"] for decision in tx.decisions]
    assert len(salts) == len({*salts}) == 3
    assert {len(salt) for salt in salts} == {16}
