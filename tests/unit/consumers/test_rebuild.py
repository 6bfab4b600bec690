"""A ledger can be rebuilt from the record and what lies in inboxes, and equals the kept one; every change is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant

from tests.load import LONG
from tests.unit.consumers.lane_world import GREEN, LANE, MEMBERS, PUBLISHERS, TOPICS, LaneWorld, alert
from tests.unit.consumers.test_lane_model import LaneLife
from tocsin.consumers.entry import ERASED, Entry, Given, Standing
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.ledger import Position
from tocsin.consumers.rebuild.copies import Copies
from tocsin.consumers.rebuild.fold import folded
from tocsin.consumers.rebuild.ledgers import Comparison, Difference, Kept, rebuilt_entry, rebuilt_mark, rebuilt_records
from tocsin.schemas.verify import Verified

KEY = f"{PUBLISHERS[0]}/one"


def header_of(value: bytes) -> Mapping[str, Any]:
    """What the bytes of `lane_world.alert` state."""
    *_, status, _, expires_at = value.decode().split("/")
    return {"status": status, "expires_at": int(expires_at), "test": False}


def copies_of(world: LaneWorld, *, alert_topics: bool = True) -> Copies:
    """What lies in its inboxes and, unless they have lost everything by age, its alert topics."""
    copies = Copies(LANE, header_of=header_of)
    for member, inbox in world.inboxes.items():
        for copy in inbox:
            copies.take_copy(member, copy.key, copy.value, cast("Any", copy.headers))
    for written in (one for records in world.topics.values() for one in records if alert_topics):
        if isinstance(written.outcome, Verified):
            copies.take_alert(str(written.source), written.outcome.value, written.outcome.headers)
    return copies


def kept_of(world: LaneWorld) -> Kept:
    """Its ledger, as it is read from the topic."""
    kept = Kept()
    for key, value in world.ledger:
        kept.apply(key, value)
    return kept


def comparison(world: LaneWorld, kept: Kept, *, alert_topics: bool = True) -> Comparison:
    """Its ledger `kept` beside everything else that there is."""
    fold = folded(world.audit, kept.ledger.mark.seq)
    inboxes = {member: f"{member}-{world.made[member]}" for member in MEMBERS if member not in world.gone}
    return Comparison(kept, fold, copies_of(world, alert_topics=alert_topics), inboxes, world.now_ms)


def found(world: LaneWorld, kept: Kept) -> list[Difference]:
    """In what `kept` differs."""
    return list(comparison(world, kept).differences())


def _told(entry: Entry) -> tuple[Entry, Mapping[str, Standing]]:
    """All of an entry, but of who was given it only what stands.

    Whether an erasure was written before a retraction that erases once more, the record does not say.
    """
    return replace(entry, given=()), entry.standing()


class RebuiltLife(LaneLife):
    """At every moment of any life."""

    @invariant()
    def ledger_says_what_the_lane_knows(self) -> None:
        """The ledger topic says what record and copies say; without alert topics nothing wrong is said of it."""
        kept = kept_of(self.world)
        whole = comparison(self.world, kept)
        assert list(whole.differences()) == []
        assert list(comparison(self.world, kept, alert_topics=False).differences()) == []
        for key, known in whole.fold.lineages.items():
            assert _told(rebuilt_entry(known, whole.copies)) == _told(kept.ledger.entries[key])

    def teardown(self) -> None:
        """In the end a lane goes on with the rebuilt ledger, and everybody has what it may have, once."""
        super().teardown()
        world = self.world
        kept = kept_of(world)
        whole = comparison(world, kept)
        records = list(rebuilt_records(whole.fold, whole.copies))
        if rebuilt_mark(whole.fold, whole.copies).behind:
            return  # somebody lost what it had with its inbox, and may not have it again: it is put on record once more
        world.ledger = [*records]
        world.take_over()
        assert {key: _told(one) for key, one in world.lane.ledger.entries.items()} == {
            key: _told(one) for key, one in kept.ledger.entries.items()
        }
        world.rest()
        for number, topic in enumerate(TOPICS):
            world.publish(topic, alert("one", 9, publisher=PUBLISHERS[number % 2], expires_at=world.now_ms + 10))
            world.publish(topic, alert(f"last-{number}", expires_at=world.now_ms + 1_000))
        world.rest()
        world.now_ms += 100
        world.rest()
        world.check_rest()
        assert list(comparison(world, kept_of(world)).differences()) == []


RebuiltLife.TestCase.settings = settings(
    max_examples=300 if LONG else 100, stateful_step_count=40, deadline=None, derandomize=True, phases=[Phase.generate]
)
TestRebuiltLife = RebuiltLife.TestCase


def settled_world() -> LaneWorld:
    """A lane at rest: corrected, retracted, expired, held; everybody sees everything."""
    world = LaneWorld((member, topic) for member in MEMBERS for topic in TOPICS)
    world.holds = Holds([Hold("sec", "case", HoldKind.LEGAL, PUBLISHERS[0], "one")])
    for one in (
        alert("one"),
        alert("one", 2, status="CORRECTED", expires_at=world.now_ms + 10**9),
        alert("two"),
        alert("two", 2, status="RETRACTED"),
        alert("three"),
        alert("one", 1),
    ):
        world.publish(GREEN, one)
        world.rest()
    world.now_ms += 2_000
    world.rest()
    world.check_rest()
    return world


def test_what_was_never_erased_is_told_from_what_was() -> None:
    """An erasure that an inbox refused until the next revision was decided leaves no trace but that it is repeated."""
    world = LaneWorld({("bank-de", GREEN), ("isp-de", GREEN)})
    world.publish(GREEN, alert("one"))
    world.rest()
    world.gone.add("bank-de")
    world.grants.remove(("bank-de", GREEN))
    world.settle()
    for revision in (2, 3):
        world.publish(GREEN, alert("one", revision, status="CORRECTED"))
        for _ in range(3):
            world.read()
            world.step()
    kept = kept_of(world)
    whole = comparison(world, kept)
    assert rebuilt_entry(whole.fold.lineages[KEY], whole.copies) == kept.ledger.entries[KEY]


def _entry(change: Callable[[Entry], Entry]) -> Callable[[Kept], None]:
    def apply(kept: Kept) -> None:
        kept.ledger.entries[KEY] = change(kept.ledger.entries[KEY])

    return apply


def _to_stranger(entry: Entry) -> Entry:
    return replace(entry, given=(*entry.given, Given(entry.given[-1].seq, entry.revision, ("police-fr",), ("rule",))))


def _under(rule: str) -> Callable[[Entry], Entry]:
    def change(entry: Entry) -> Entry:
        last = entry.given[-1]
        return replace(entry, given=(*entry.given[:-1], replace(last, rules=(rule, *last.rules[1:]))))

    return change


def _without_lineage(kept: Kept) -> None:
    del kept.ledger.entries[KEY]


def _extra_lineage(kept: Kept) -> None:
    kept.ledger.entries["hotline-de/nine"] = replace(kept.ledger.entries[KEY], key="hotline-de/nine")


def _position(kept: Kept) -> None:
    kept.ledger.positions[GREEN] = Position(f"id-of-{GREEN}", GREEN, 3)


def _mark(**changes: Any) -> Callable[[Kept], None]:
    def change(kept: Kept) -> None:
        kept.ledger.mark = replace(kept.ledger.mark, **changes)

    return change


def _without_held(kept: Kept) -> None:
    kept.ledger.held.clear()


def _other_held(kept: Kept) -> None:
    kept.digests = dict.fromkeys(kept.digests, b"other")


def _notice(kept: Kept) -> None:
    key = f"notice/{PUBLISHERS[0]}/{GREEN}/1"
    kept.ledger.entries[key] = replace(kept.ledger.entries[KEY], key=key, kind="NOTICE", inbox_key=f"notice/{GREEN}/1")


CHANGES: list[tuple[Callable[[Kept], None], str, str]] = [
    (_entry(_to_stranger), KEY, "given police-fr"),
    (_entry(lambda entry: replace(entry, given=())), KEY, "given bank-de"),
    (_entry(_under("another")), KEY, "given "),
    (_entry(_under(ERASED)), KEY, "given "),
    (_entry(lambda entry: replace(entry, sha256=bytes(32))), KEY, "sha256"),
    (_entry(lambda entry: replace(entry, revision=7)), KEY, "revision"),
    (_entry(lambda entry: replace(entry, status="ACTIVE")), KEY, "status"),
    (_entry(lambda entry: replace(entry, status="RETRACTED", value=b"", headers=())), KEY, "status"),
    (_entry(lambda entry: replace(entry, status="EXPIRED", value=b"", headers=())), KEY, "status"),
    (_entry(lambda entry: replace(entry, offset=0)), KEY, "offset"),
    (_entry(lambda entry: replace(entry, topic=TOPICS[1])), KEY, "topic"),
    (_entry(lambda entry: replace(entry, signer="another")), KEY, "signer"),
    (_entry(lambda entry: replace(entry, value=entry.value + b"x")), KEY, "content"),
    (_entry(lambda entry: replace(entry, headers=())), KEY, "headers"),
    (_entry(lambda entry: replace(entry, expires_at=1)), KEY, "expires_at"),
    (_entry(lambda entry: replace(entry, forget_at=1)), KEY, "forget_at"),
    (_entry(lambda entry: replace(entry, appended_at=1)), KEY, "appended_at"),
    (_entry(lambda entry: replace(entry, test=True)), KEY, "test"),
    (_without_lineage, KEY, "lineage"),
    (_extra_lineage, "hotline-de/nine", "lineage"),
    (_position, f"position/{GREEN}", "next offset"),
    (_mark(seq=3), "mark", "paid"),
    (_mark(seq=99), "mark", "seq"),
    (_mark(paid=99), "mark", "paid"),
    (_without_held, f"held/sec/case/{KEY}/1", "kept"),
    (_other_held, f"held/sec/case/{KEY}/1", "content"),
    (_notice, f"notice/{PUBLISHERS[0]}/{GREEN}/1", "notice"),
]


@pytest.mark.parametrize(("change", "lineage", "field"), CHANGES, ids=[f"{one[1]} {one[2]}" for one in CHANGES])
def test_every_change_of_the_kept_ledger_is_found(change: Callable[[Kept], None], lineage: str, field: str) -> None:
    """By the lineage and what of it is other; nothing of its content is said."""
    world = settled_world()
    kept = kept_of(world)
    assert found(world, kept) == []
    change(kept)
    differences = found(world, kept)
    assert [one for one in differences if one.lineage == lineage and one.field.startswith(field)], differences
    content = next(one.outcome.value for one in world.topics[GREEN] if isinstance(one.outcome, Verified))
    assert content.decode() not in str(differences)


def test_a_copy_that_the_mark_calls_written_and_that_is_nowhere_is_found() -> None:
    """And one that it calls erased and that is there; an inbox that was made anew is not asked for what it lost."""
    world = settled_world()
    inbox = world.inboxes["bank-de"]
    world.inboxes["bank-de"] = [copy for copy in inbox if copy.key != KEY.encode()]
    assert [(one.lineage, one.field) for one in found(world, kept_of(world))] == [(KEY, "inbox of bank-de")]
    world.inboxes["bank-de"] = [copy for copy in inbox if copy.value is not None]
    assert {one.kept for one in found(world, kept_of(world))} == {"erased"}
    world.remake("bank-de")
    assert found(world, kept_of(world)) == []


def test_a_fault_of_the_record_is_found() -> None:
    """A decision that is missing, or there twice."""
    world = settled_world()
    kept = kept_of(world)
    whole = comparison(world, kept)
    for decisions in (world.audit[1:], [*world.audit[:3], *world.audit[2:]]):
        broken = replace(whole, fold=folded(decisions, kept.ledger.mark.seq))
        assert "record" in {one.lineage for one in broken.differences()}


def test_what_was_decided_since_is_not_compared() -> None:
    """The ledger is read first: what the record says beyond its mark is of a later one."""
    world = settled_world()
    kept = kept_of(world)
    world.publish(GREEN, alert("one", 3, status="RETRACTED"))
    world.publish(GREEN, alert("new"))
    world.rest()
    assert found(world, kept) == []
    assert comparison(world, kept).fold.moved == {KEY, f"{PUBLISHERS[0]}/new"}


def test_the_mark_of_a_rebuilt_ledger_owes_what_inboxes_lack() -> None:
    """Nobody is behind at rest; who lacks a copy is behind from before it."""
    world = settled_world()
    whole = comparison(world, kept_of(world))
    assert rebuilt_mark(whole.fold, whole.copies) == replace(whole.kept.ledger.mark, paid=whole.fold.seq)
    world.inboxes["bank-de"].clear()
    whole = comparison(world, kept_of(world))
    mark = rebuilt_mark(whole.fold, whole.copies)
    assert mark.owes("bank-de", whole.fold.lineages[KEY].entry.standing()["bank-de"].seq)
    assert set(mark.behind) == {"bank-de"}


def test_what_is_gone_everywhere_has_ended_in_a_rebuilt_ledger() -> None:
    """As EXPIRED, or as RETRACTED where the record does not rule that out; remembered as long as may be."""
    world = settled_world()
    whole = comparison(world, kept_of(world))
    nothing = Copies(LANE, header_of=header_of)
    found = {key: rebuilt_entry(known, nothing) for key, known in whole.fold.lineages.items()}
    assert {key: entry.status for key, entry in found.items()} == {
        KEY: "EXPIRED",
        f"{PUBLISHERS[0]}/two": "RETRACTED",
        f"{PUBLISHERS[0]}/three": "EXPIRED",
    }
    assert all(entry.forget_at >= whole.kept.ledger.entries[key].forget_at for key, entry in found.items())
    assert not any(entry.value for entry in found.values())
