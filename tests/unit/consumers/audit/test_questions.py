"""Every answer against a naive reading of the decisions, over random lives of a lane, and against its inboxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.consumers.audit.lives import AUDIT, IDS, decision, life, records
from tests.unit.consumers.audit.test_index import nobody
from tests.unit.consumers.lane_world import MEMBERS, LaneWorld, alert
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.audit.index import Index, open_index
from tocsin.consumers.audit.questions import FOREVER, Questions, Trace, answers
from tocsin.consumers.audit.report import Table, month_of, percentile, report
from tocsin.consumers.errors import NotOnRecord

Decision = Mapping[str, Any]
SEEDS = range(6)


class Asked:
    """A lane's life, and the index of it."""

    def __init__(self, world: LaneWorld, index: Index) -> None:
        self.world = world
        self.index = index
        self.audit: list[Decision] = world.audit
        self.questions = Questions(index.database)

    def of(self, lineage: str) -> list[Decision]:
        """The accepted decisions on it, naively."""
        return [one for one in self.audit if name(one) == lineage and one["outcome"] == "ACCEPTED"]

    def lineages(self) -> list[str]:
        """All that was ever accepted."""
        return sorted({name(one) for one in self.audit if one["outcome"] == "ACCEPTED"})


def name(one: Decision) -> str:
    """publisher/lineage_id."""
    return f"{one['publisher']}/{one['lineage_id']}"


@pytest.fixture(params=SEEDS)
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    """One of several lives."""
    world = life(request.param)
    with closing(open_index(tmp_path / "index.sqlite", "auditor")) as index:
        index.take(records(world.audit), IDS, nobody)
        yield Asked(world, index)


# -- a naive reading -------------------------------------------------------------------------------------------------


def _copies(decisions: Sequence[Decision]) -> Iterator[tuple[str, int, str, str]]:
    """Member, number of the decision, rule and state of each copy of a lineage: by looking at all that came later."""
    for at, one in enumerate(decisions):
        for given in one["given"]:
            yield given["member"], one["seq"], given["rule"], _state(given["member"], at, decisions)


def _state(member: str, at: int, decisions: Sequence[Decision]) -> str:
    later = decisions[at + 1 :]
    if _withheld(member, at, decisions):
        return "withheld"
    for one in later:
        if member in one["erased"]:
            return "expired" if one["kind"] == "EXPIRED" else "erased"
    again = (n for n in range(at + 1, len(decisions)) if member in _members(decisions[n], "given"))
    return "replaced" if any(not _withheld(member, n, decisions) for n in again) else "held"


def _withheld(member: str, at: int, decisions: Sequence[Decision]) -> bool:
    for one in decisions[at + 1 :]:
        if one["kind"] == "WITHHELD" and member in _members(one, "refused"):
            return bool(one["revision"] == decisions[at]["revision"])
        if member in _members(one, "given"):
            return False
    return False


def _members(one: Decision, part: str) -> set[str]:
    return {entry["member"] for entry in one[part]}


# -- one lineage -----------------------------------------------------------------------------------------------------


def test_who_saw_it_is_who_was_given_it(asked: Asked) -> None:
    """Every copy with its rule and what became of it; and they are those that lay in inboxes."""
    seen: set[tuple[str, str]] = set()
    held: set[tuple[str, str]] = set()
    for lineage in asked.lineages():
        expected = [one for one in _copies(asked.of(lineage)) if one[3] != "withheld"]
        found = [(s.copy.member, s.copy.by.seq, s.copy.rule, s.copy.state) for s in asked.questions.who_saw(lineage)]
        assert sorted(found) == sorted(expected)
        seen |= {(member, lineage) for member, *_ in found}
        held |= {(member, lineage) for member, _, _, state in found if state == "held"}
    assert seen == asked.world.model.ever
    assert held == asked.world.model.holds.keys()


def test_a_trace_says_all_that_was_decided(asked: Asked) -> None:
    """Each recipient, refusal and erasure of each decision once, in order, and nothing else."""
    for lineage in asked.lineages():
        events = asked.questions.trace(lineage).events
        decided = [one for one in asked.audit if name(one) == lineage]
        for one in decided:
            mine = [event for event in events if event.seq == one["seq"]]
            assert {(e.member, e.rule) for e in mine if e.what == "GIVEN"} == {
                (given["member"], given["rule"]) for given in one["given"]
            }
            assert {(e.member, e.reason) for e in mine if e.what in ("REFUSED", "NOT GIVEN")} == {
                (refused["member"], refused["reason"]) for refused in one["refused"]
            }
            assert {e.member for e in mine if e.what == "ERASED"} == set(one["erased"])
            verdict = one["outcome"] if one["kind"] == "ALERT" else one["kind"]
            assert [e.reason for e in mine if e.what == verdict] == [one["reason"]]
            assert [e.at_ms for e in mine if e.what == "PUBLISHED"] == [
                at for at in (one["appended_at"],) if at is not None
            ]
        assert [event.seq for event in events] == sorted(event.seq or 0 for event in events)
        assert {event.seq for event in events} >= {one["seq"] for one in decided}


def test_an_alert_is_found_by_each_of_its_names(asked: Asked) -> None:
    """alert_id, publisher/lineage_id, lineage_id where one publisher has it, topic/offset."""
    for one in asked.audit:
        place = f"{one['topic']}/{one['offset']}"
        trace = asked.questions.trace(place)
        assert one["seq"] in {decided.seq for decided in trace.decisions}
        assert asked.questions.trace(f"{one['topic']}/0/{one['offset']}") == trace
        if one["outcome"] == "ACCEPTED":
            assert asked.questions.trace(name(one)) == trace
            publishers = {name(other) for other in asked.audit if other["lineage_id"] == one["lineage_id"]}
            accepted = publishers & {*asked.lineages()}
            if len(accepted) == 1:
                assert asked.questions.trace(one["lineage_id"]).lineage == name(one)
            else:
                with pytest.raises(NotOnRecord, match="of more than one publisher"):
                    asked.questions.trace(one["lineage_id"])


@pytest.mark.parametrize("alert", ["nothing", "hotline-de/nothing", "alerts.de.site-taken-down.green/99999", "", "/"])
def test_what_is_not_on_record_is_an_error(asked: Asked, alert: str) -> None:
    """That says what can be asked for."""
    with pytest.raises(NotOnRecord, match="not on record here"):
        asked.questions.trace(alert)


# -- many lineages ---------------------------------------------------------------------------------------------------


def test_what_a_member_saw_in_a_period(asked: Asked) -> None:
    """The same copies, by member and time; what became of them later counts too."""
    middle = asked.audit[len(asked.audit) // 2]["decided_at"]
    times = {one["seq"]: one["decided_at"] for one in asked.audit}
    for member in MEMBERS:
        every = {
            (lineage, seq, rule, state)
            for lineage in asked.lineages()
            for who, seq, rule, state in _copies(asked.of(lineage))
            if who == member and state != "withheld"
        }
        for begin, end in ((0, FOREVER), (0, middle), (middle, FOREVER), (middle, middle + 1)):
            found = asked.questions.seen_by(member, begin, end)
            assert {(s.lineage, s.copy.by.seq, s.copy.rule, s.copy.state) for s in found} == {
                one for one in every if begin <= times[one[1]] < end
            }
            assert len(found) == len({(s.lineage, s.copy.by.seq) for s in found})


def test_refusals_are_all_that_was_not_given(asked: Asked) -> None:
    """Rejected records with their signer, and each member that was refused; by time, lane and member."""
    every = [
        (one["seq"], one["outcome"], one["publisher"], one["reason"])
        for one in asked.audit
        if one["outcome"] != "ACCEPTED"
    ] + [
        (one["seq"], "WITHHELD" if one["kind"] == "WITHHELD" else "REFUSED", refused["member"], refused["reason"])
        for one in asked.audit
        for refused in one["refused"]
    ]
    found = [(one.decided.seq, one.what, one.member, one.reason) for one in asked.questions.refusals()]
    assert sorted(found, key=str) == sorted(every, key=str)
    assert [*asked.questions.refusals(lane="fr")] == []
    for member in MEMBERS:
        mine = [(o.decided.seq, o.what, o.member, o.reason) for o in asked.questions.refusals(lane="de", member=member)]
        assert sorted(mine, key=str) == sorted((one for one in every if one[2] == member), key=str)


def test_withdrawals_are_those_that_members_were_told_of_last(asked: Asked) -> None:
    """Nobody has acknowledged; who was given it again since is not among them."""
    expected: dict[tuple[str, str], int] = {}
    for lineage in asked.lineages():
        of = asked.of(lineage)
        for at, one in enumerate(of):
            for member in one["erased"] if one["kind"] != "EXPIRED" else ():
                expected[lineage, member] = one["seq"]
            for member in _members(one, "given"):
                if not _withheld(member, at, of):
                    expected.pop((lineage, member), None)
    found = [*asked.questions.withdrawn()]
    assert {(one.lineage, one.member): one.decided.seq for one in found} == expected
    assert len(found) == len(expected)
    assert [one.decided.decided_at for one in found] == sorted(one.decided.decided_at for one in found)
    assert {one.acknowledged_ms for one in found} <= {None}
    assert [*asked.questions.withdrawn("fr")] == []


def test_retractions_are_those_that_say_so(asked: Asked) -> None:
    """Every accepted one and nothing else, whoever had been given what."""
    told = {w.sha256: w.outcome for of in asked.world.topics.values() for w in of}
    expected = [
        one["seq"]
        for one in asked.audit
        if (one["kind"], one["outcome"]) == ("ALERT", "ACCEPTED")
        and told[one["sha256"]].header["status"] == "RETRACTED"  # type: ignore[union-attr]
    ]
    assert [one.seq for one in asked.questions.retractions(0, FOREVER)] == expected


# -- the month -------------------------------------------------------------------------------------------------------


def test_a_report_counts_what_was_decided(asked: Asked) -> None:
    """Against counting by hand; every table is there, and of another month they are empty."""
    tables = {one.name: one for one in report(asked.questions, asked.index.database, 0, FOREVER)}
    audit = asked.audit
    decisions: dict[tuple[str, str], int] = {}
    for one in audit:
        key = (one["kind"], one["outcome"])
        decisions[key] = decisions.get(key, 0) + 1
    assert {(kind, outcome): count for _, kind, outcome, count in tables["decisions"].rows} == decisions
    [(_, given, gained, withheld, withdrawn, expired, net)] = tables["copies"].rows
    assert given == sum(len(one["given"]) for one in audit if one["kind"] == "ALERT")
    assert gained == sum(len(one["given"]) for one in audit if one["kind"] == "GAINED")
    assert withheld == sum(len(one["refused"]) for one in audit if one["kind"] == "WITHHELD")
    assert withdrawn == sum(len(one["erased"]) for one in audit if one["kind"] != "EXPIRED")
    assert expired == sum(len(one["erased"]) for one in audit if one["kind"] == "EXPIRED")
    assert net == sum(asked.world.model.delivered.values()) - _notices(asked)
    took = sorted(one["decided_at"] - one["appended_at"] for one in audit if one["appended_at"] is not None)
    [(_, records_count, *times)] = tables["latencies"].rows
    assert (records_count, times[-1]) == (len(took), took[-1])
    assert sum(int(row[-1] or 0) for row in tables["rejections"].rows) == sum(
        one["outcome"] != "ACCEPTED" for one in audit
    )
    assert sum(int(row[2] or 0) for row in tables["refusals"].rows) == sum(len(one["refused"]) for one in audit)
    for member, got, refused, taken in tables["receivers"].rows:
        assert got == sum(member in _members(one, "given") for one in audit)
        assert refused == sum(member in _members(one, "refused") for one in audit)
        assert taken == sum(member in one["erased"] for one in audit if one["kind"] != "EXPIRED")
    for publisher, accepted, rejected, duplicates in tables["publishers"].rows:
        mine = [one["outcome"] for one in audit if one["publisher"] == publisher and one["kind"] == "ALERT"]
        counted = [mine.count(outcome) for outcome in ("ACCEPTED", "REJECTED", "DUPLICATE")]
        assert [accepted, rejected, duplicates] == counted
    assert not any(one.rows for one in report(asked.questions, asked.index.database, 0, 1))


def _notices(asked: Asked) -> int:
    """Members were also given notices that what they published was rejected."""
    return sum(
        one["outcome"] == "REJECTED" and one["publisher"] is not None and _was_told(asked, one) for one in asked.audit
    )


def _was_told(asked: Asked, one: Decision) -> bool:
    place = f"{one['topic']}/{one['partition']}/{one['offset']}"
    return (one["publisher"], place) in asked.world.model.delivered


def test_months_and_percentiles() -> None:
    """A month ends where the next begins; a percentile is one of the values."""
    assert month_of("2026-11")[1] == month_of("2026-12")[0]
    assert month_of("2026-12")[1] == month_of("2027-01")[0]
    for foul in ("2026-13", "2026", "11-2026", "2026-11-01", ""):
        with pytest.raises(ValueError, match=r"time data|unconverted"):
            month_of(foul)
    assert [percentile([*range(1, 101)], share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert percentile([7], 0.5) == 7
    assert percentile([], 0.5) is None


# -- particular cases ------------------------------------------------------------------------------------------------


def test_a_trace_says_what_each_revision_is(tmp_path: Path) -> None:
    """As the revision says itself; what is refused afterwards is a forbidden transition."""
    world = LaneWorld([("bank-de", topic) for topic in ("alerts.de.site-taken-down.green",)])
    topic = "alerts.de.site-taken-down.green"
    for number, status in enumerate(("ACTIVE", "CORRECTED", "RETRACTED", "ACTIVE"), 1):
        world.publish(topic, alert("one", number, status=status))
        world.rest()
    trace = _asked(tmp_path / "index.sqlite", world)
    assert [event.note for event in trace.events if event.what == "ACCEPTED"] == [None, "corrected", "retracted"]
    assert [event.reason for event in trace.events if event.what == "REJECTED"] == ["transition"]


def _asked(path: Path, world: LaneWorld) -> Trace:
    with closing(open_index(path, "auditor")) as index:
        index.take(records(world.audit), IDS, nobody)
        return Questions(index.database).trace("one")


def _told(path: Path, *decisions: dict[str, Any]) -> tuple[dict[tuple[str, int | None], str], list[str]]:
    """What became of each member's copies by revision, and who was told of a withdrawal last."""
    with closing(open_index(path, "auditor")) as index:
        index.take(records(decisions), IDS, nobody)
        asked = Questions(index.database)
        copies = {(one.copy.member, one.copy.by.revision): one.copy.state for one in asked.who_saw("one")}
        return copies, [one.member for one in asked.withdrawn()]


CASES: dict[str, tuple[list[dict[str, Any]], tuple[dict[tuple[str, int], str], list[str]]]] = {
    "a newer copy that was withheld has replaced nothing": (
        [
            decision(1, given=["a"]),
            decision(2, revision=2, given=["a"]),
            decision(3, "WITHHELD", 2, refused={"a": "superseded"}),
        ],
        ({("a", 1): "held"}, []),
    ),
    "who loses sight before the newer copy is told that the older one is withdrawn": (
        [
            decision(1, given=["a"]),
            decision(2, revision=2, given=["a"]),
            decision(3, "WITHHELD", 2, refused={"a": "sight-lost"}, erased=["a"]),
        ],
        ({("a", 1): "erased"}, ["a"]),
    ),
    "who is given it again has nothing to acknowledge": (
        [
            decision(1, given=["a", "b"]),
            decision(2, revision=2, given=["b"], erased=["a"]),
            decision(3, "GAINED", 2, given=["a"]),
        ],
        ({("a", 1): "erased", ("a", 2): "held", ("b", 1): "replaced", ("b", 2): "held"}, []),
    ),
    "who was to be given it again, and was not, still has": (
        [
            decision(1, given=["a", "b"]),
            decision(2, revision=2, given=["b"], erased=["a"]),
            decision(3, "GAINED", 2, given=["a"]),
            decision(4, "WITHHELD", 2, refused={"a": "sight-lost"}),
        ],
        ({("a", 1): "erased", ("b", 1): "replaced", ("b", 2): "held"}, ["a"]),
    ),
    "a withheld copy of another revision is not this one": (
        [
            decision(1, given=["a"]),
            decision(2, revision=2, erased=["a"]),
            decision(3, "GAINED", 2, given=["a"]),
            decision(4, revision=3, given=["a"]),
            decision(5, "WITHHELD", 3, refused={"a": "superseded"}),
        ],
        ({("a", 1): "erased", ("a", 2): "held"}, []),
    ),
    "what is taken back expires once more": (
        [decision(1, given=["a"]), decision(2, revision=2, erased=["a"]), decision(3, "EXPIRED", 2)],
        ({("a", 1): "erased"}, ["a"]),
    ),
    "who was told before is told of a retraction, too": (
        [
            decision(1, given=["a", "b"]),
            decision(2, revision=2, given=["b"], erased=["a"]),
            decision(3, revision=3, status="RETRACTED", erased=["a", "b"]),
        ],
        ({("a", 1): "erased", ("b", 1): "erased", ("b", 2): "erased"}, ["a", "b"]),
    ),
    "what only expired is told to nobody": (
        [decision(1, given=["a"]), decision(2, "EXPIRED", erased=["a"])],
        ({("a", 1): "expired"}, []),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_became_of_copies(tmp_path: Path, case: str) -> None:
    """By hand, what random lives seldom come to."""
    decisions, expected = CASES[case]
    assert _told(tmp_path / "index.sqlite", *decisions) == expected


def test_an_acknowledgement_answers_a_notice_of_that_time() -> None:
    """Not one of an earlier correction; an id that says no time answers nothing."""
    assert answers(NOW_MS, NOW_MS)
    assert answers(NOW_MS - 9_000, NOW_MS)
    assert not answers(NOW_MS - 11_000, NOW_MS)
    assert not answers(None, NOW_MS)


def test_tables_name_their_columns(asked: Asked) -> None:
    """Each row has a cell for each; names of tables are names of files."""
    tables: list[Table] = report(asked.questions, asked.index.database, 0, FOREVER)
    assert all(len(row) == len(one.columns) for one in tables for row in one.rows)
    assert all(one.name.isalpha() for one in tables)
    assert len({one.name for one in tables}) == len(tables)
    assert AUDIT in asked.index.places()
