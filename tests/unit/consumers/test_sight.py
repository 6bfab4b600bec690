"""Sight: narrow at once, widen with care; nothing on what cannot be understood, nothing on what is too old."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from tests.unit.consumers.lane_world import GREEN, READERS, LaneWorld, rule_of, snapshot
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.fanout_watch import SIGHT_AGE_MAX_S
from tocsin.consumers.sight import Sight, Snapshot
from tocsin.schemas.directory import Directory

DIRECTORY: Directory = LaneWorld().directory
BANK = READERS[0]
HAS, HAS_NOT = snapshot([(BANK, GREEN)]), snapshot([])


def _readers(sight: Sight) -> set[str]:
    return set(sight.readers(GREEN, DIRECTORY))


def _of(*rows: AclRow) -> Snapshot:
    acls = AclSet(rows)
    return Snapshot(acls, acls.digest(), 0.0, 0)


@pytest.mark.parametrize(("before", "now"), [*product((HAS, HAS_NOT), repeat=2)])
def test_a_right_counts_when_two_snapshots_agree(before: Snapshot, now: Snapshot) -> None:
    """Missing in either, it is not there."""
    assert _readers(Sight(before, now)) == ({BANK} if before is now is HAS else set())


def test_gained_after_two_looks_and_lost_after_one() -> None:
    """As snapshots come in, one after another, flickers included."""
    looks = [HAS_NOT, HAS, HAS, HAS_NOT, HAS, HAS_NOT, HAS, HAS, HAS]
    seen = [0, 0, 1, 0, 0, 0, 0, 1, 1]
    sight = Sight(HAS_NOT, HAS_NOT)
    for look, count in zip(looks, seen, strict=True):
        sight = sight.then(look)
        assert len(_readers(sight)) == count


def test_the_rule_is_that_of_the_latest_snapshot() -> None:
    """Allowed before by another row: still allowed, and on record under the row of now."""
    wide = AclRow("TOPIC", "alerts.", "PREFIXED", f"User:{BANK}", "*", "READ", "ALLOW")
    sight = Sight(_of(wide), HAS)
    assert sight.readers(GREEN, DIRECTORY) == {BANK: rule_of(BANK, GREEN).text()}


@pytest.mark.parametrize("row", [rule_of(BANK, GREEN), rule_of("*", "alerts.de.site-taken-down.green")])
def test_only_active_members_have_sight(row: AclRow) -> None:
    """Neither the suspended nor logins that are no members, though the ACLs name them, or everybody."""
    strangers = [rule_of(name, GREEN) for name in ("fanout", f"{BANK}.app", "stranger")]
    sight = Sight(_of(row, *strangers), _of(row, *strangers))
    active = _readers(sight)
    assert BANK in active
    assert active <= set(DIRECTORY.members)
    suspended = {**DIRECTORY.members, BANK: replace(DIRECTORY.members[BANK], status="SUSPENDED")}
    assert set(sight.readers(GREEN, replace(DIRECTORY, version=2, members=suspended))) == active - {BANK}


@pytest.mark.parametrize("host", ["*", "192.0.2.1", "10.0.0.0/8"])
def test_a_deny_ends_sight_in_one_look(host: str) -> None:
    """Also one whose host this release cannot read: taken at its worst."""
    deny = AclRow("TOPIC", "alerts.", "PREFIXED", f"User:{BANK}", host, "READ", "DENY")
    assert _readers(Sight(HAS, HAS).then(_of(rule_of(BANK, GREEN), deny))) == set()


def test_a_grant_for_a_clients_host_is_no_sight() -> None:
    """The question is asked for the delivery host."""
    elsewhere = _of(replace(rule_of(BANK, GREEN), host="192.0.2.2"))
    assert _readers(Sight(elsewhere, elsewhere)) == set()


def test_age_is_counted_from_before_the_question() -> None:
    """And from the latest snapshot; the bound is well inside 5 seconds less the 3 that a copy may take."""
    sight = Sight(replace(HAS, asked_at=1.0), replace(HAS, asked_at=7.5))
    assert sight.age(9.0) == 1.5
    assert sight.age(9.0) <= SIGHT_AGE_MAX_S < sight.age(9.1)
    assert SIGHT_AGE_MAX_S + 3.0 < 5.0


def test_what_was_worked_out_is_kept_only_while_nothing_changes() -> None:
    """A later look at the same ACLs answers at once; a change of either snapshot is worked out anew."""
    same = Sight(HAS, HAS)
    first = same.readers(GREEN, DIRECTORY)
    again = same.then(replace(HAS, read_at_ms=5))
    assert again.readers(GREEN, DIRECTORY) is first
    assert again.latest.read_at_ms == 5
    assert same.then(HAS_NOT).readers(GREEN, DIRECTORY) == {}
    assert same.then(HAS_NOT).then(HAS).readers(GREEN, DIRECTORY) == {}
    assert same.state == again.state != same.then(HAS_NOT).state
