"""What the journal says of the policy, and what comes of it; what ends by itself, and who approves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.test_policy import NOW, random_policy
from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PlanRefused
from tocsin.deploy.policy.by_time import Ending, endings
from tocsin.deploy.policy.compile import BreakGlass
from tocsin.deploy.policy.document import Approvals, Policy
from tocsin.deploy.policy.journal import Approval, Change, Journal, Kind, Step, acl_name, acl_of, changes, records
from tocsin.deploy.policy.plan import Plan, approve, insist_on_approval, load_approvals, save_approval
from tocsin.schemas.signing import SigningKey

DENY = AclRow("TOPIC", "alerts.de.", "PREFIXED", "User:m0", "*", "READ", "DENY")
ANN, BEA = SigningKey.generate("ann"), SigningKey.generate("bea")


def _change(kind: Kind, *steps: Step, **fields: Any) -> Change:
    return Change("018f", kind, NOW, "bob", steps=steps, **fields)


def _fold(*told: Change) -> Journal:
    journal = Journal()
    for change in told:
        for part in changes(records(change)):
            journal.apply(part)
    return journal


def test_a_change_of_any_size_is_read_as_it_was_written() -> None:
    """In parts, that no record is too large."""
    steps = [
        Step("CREATE", "ACL", f"TOPIC ALLOW READ User:m{n} * LITERAL t", ("agreement a",), None) for n in range(600)
    ]
    change = _change(
        Kind.BEGUN,
        *steps,
        why="x",
        policy_sha256="aa",
        cluster_id="c",
        acls_sha256="bb",
        approvals=(Approval("ann", ANN.public, b"s" * 64),),
        rule=Approvals(widening=1, approvers={"ann": ANN.public.hex()}),
    )
    parts = [*changes(records(change))]
    assert len(parts) == 3
    assert max(len(value) for value in records(change)) < 60_000
    assert [step for part in parts for step in part.steps] == steps
    assert all(replace(part, steps=()) == replace(change, steps=()) for part in parts)


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ([(Kind.BEGUN, "CREATE")], True),
        ([(Kind.BEGUN, "CREATE"), (Kind.FAILED, "CREATE")], True),
        ([(Kind.BEGUN, "CREATE"), (Kind.DONE, None), (Kind.BEGUN, "DELETE")], True),
        ([(Kind.BEGUN, "CREATE"), (Kind.BEGUN, "DELETE"), (Kind.FAILED, "DELETE")], True),
        ([(Kind.BEGUN, "CREATE"), (Kind.BEGUN, "DELETE"), (Kind.DONE, None)], False),
        ([], False),
    ],
)
def test_a_deny_is_ours_from_before_it_is_made_until_it_is_gone(
    *, told: list[tuple[Kind, str | None]], ours: bool
) -> None:
    """What an interrupted application may have made is ours too."""
    journal = _fold(
        *(_change(kind, *([Step(action, "ACL", acl_name(DENY))] if action else [])) for kind, action in told)
    )
    assert (DENY in journal.denies) == ours
    assert acl_of(acl_name(DENY)) == DENY


def test_who_is_suspended_stays_so_whatever_the_files_say_and_who_has_left_never_comes_back() -> None:
    """Resuming does not undo what the files say."""
    policy = random_policy(3)
    first, second, *_ = policy.members
    kinds = (Kind.SUSPENDED, Kind.RESUMED, Kind.SUSPENDED)
    journal = _fold(*(_change(kind, member=first) for kind in kinds), _change(Kind.WITHDRAWN, member=second))
    journal.apply(_change(Kind.RESUMED, member=second))
    found = journal.effective(policy).members
    assert (found[first].status, found[second].status) == ("suspended", "withdrawn")


def test_what_was_applied_is_what_a_whole_application_ended_with() -> None:
    """As of the moment for which it was planned; not what failed, and not one grant."""
    journal = _fold(
        _change(Kind.BEGUN, policy_sha256="aa"),
        replace(_change(Kind.DONE, policy_sha256="aa"), at=NOW + timedelta(seconds=9)),
        replace(_change(Kind.BEGUN, policy_sha256="bb"), at=NOW + timedelta(days=1)),
        _change(Kind.FAILED, policy_sha256="bb"),
        _change(Kind.DONE),
    )
    assert (journal.applied, journal.applied_at) == ("aa", NOW)


def test_everything_that_ends_by_itself_is_told_in_order() -> None:
    """And is warned of at 30, 7 and 1 days."""
    policy = random_policy(5)
    glass = [BreakGlass("m0", "alerts.de.site-taken-down.green", "ann", "x", NOW + timedelta(hours=1))]
    found = endings(policy, None, glass, NOW)
    timed = (*policy.agreements, *policy.transfers, *policy.prohibitions)
    assert sorted(one.ends for one in found) == [one.ends for one in found]
    assert len(found) == 1 + sum(one.ends is not None and one.ends > NOW for one in timed)
    days = [Ending("key", "k", NOW + timedelta(days=left)).warning_days(NOW) for left in (31, 30, 8, 7, 2, 1, 0.1, -1)]
    assert days == [None, 30, 30, 7, 7, 1, 1, None]


# -- plans -----------------------------------------------------------------------------------------------------------


def _plan(**fields: Any) -> Plan:
    rule = Approvals(widening=1, approvers={"ann": ANN.public.hex(), "bob": BEA.public.hex()})
    made: dict[str, Any] = {
        "plan_id": "018f",
        "made_at": datetime(2026, 11, 23, tzinfo=UTC),
        "by": "bob",
        "coalition": "test",
        "cluster_id": "c",
        "policy_sha256": "aa",
        "acls_sha256": "bb",
        "steps": (Step("CREATE", "SIGHT", "m0 alerts.de.site-taken-down.green", ("agreement a",)),),
        "releases": {"m0": 3},
        "rule": rule,
        "new_rule": rule,
        "warnings": (),
    }
    return Plan.model_validate({**made, **fields})


def test_a_plan_is_read_as_it_was_saved_and_so_are_approvals(tmp_path: Path) -> None:
    """To the byte that is signed."""
    plan, path = _plan(), tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    assert Plan.load(path).digest == plan.digest
    save_approval(path, approve(plan, "ann", ANN))
    insist_on_approval(Plan.load(path), [*load_approvals(path)])


APPROVALS: dict[str, tuple[Approval, ...]] = {
    "none": (),
    "of who made it": (approve(_plan(), "bob", BEA),),
    "by another key": (approve(_plan(), "ann", BEA),),
    "of another plan": (approve(_plan(plan_id="018e"), "ann", ANN),),
    "of another coalition": (approve(_plan(coalition="other"), "ann", ANN),),
    "of somebody else": (approve(_plan(), "eve", ANN),),
    "the same twice": (approve(_plan(), "bob", BEA), approve(_plan(), "bob", BEA)),
}


@pytest.mark.parametrize("name", APPROVALS)
def test_what_is_no_approval_does_not_count(name: str) -> None:
    """The error says whose word is wanting, and how it is given."""
    with pytest.raises(PlanRefused, match=r"let one of ann run `tocsin policy approve FILE`"):
        insist_on_approval(_plan(), APPROVALS[name])


def test_narrowing_needs_nobodys_word_and_other_approvers_do() -> None:
    """Direct reading is widening too."""
    lost = Step("DELETE", "SIGHT", "m0 alerts.de.site-taken-down.green")
    insist_on_approval(_plan(steps=(lost,)), [])
    for widens in (
        _plan(steps=(lost, Step("CREATE", "DIRECT", "m0 alerts.de.site-taken-down.green"))),
        _plan(steps=(lost,), new_rule=Approvals(widening=0)),
        _plan(steps=(lost,), later=(Step("CREATE", "SIGHT", "m0 alerts.de.site-taken-down.green"),)),
    ):
        with pytest.raises(PlanRefused):
            insist_on_approval(widens, [])


@pytest.mark.parametrize(
    "other",
    [
        {"cluster_id": "d"},
        {"policy_sha256": "ab"},
        {"acls_sha256": "ba"},
        {"steps": ()},
        {"rule": Approvals(widening=0)},
    ],
)
def test_a_plan_is_not_applied_to_anything_else(other: dict[str, Any]) -> None:
    """Another cluster, policy, set of ACLs, work or rule."""
    _plan().check(_plan(plan_id="0190", made_at=NOW, releases={}))
    with pytest.raises(PlanRefused, match="plan again"):
        _plan().check(_plan(**other))


def test_a_policy_is_known_by_what_it_says() -> None:
    """Not by its order of keys."""
    policy = random_policy(7)
    turned = Policy.model_validate(dict(reversed(policy.model_dump(by_alias=True, exclude_defaults=True).items())))
    assert turned.sha256 == policy.sha256
    assert random_policy(8).sha256 != policy.sha256
