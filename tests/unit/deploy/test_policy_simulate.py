"""Who would be given an alert is who the fan-out's lane gives it to; a plan's ACLs are those that it would leave."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.consumers.lane_world import MEMBERS, PUBLISHERS, READERS, TOPICS, LaneWorld, alert, rule_of
from tests.unit.schemas.samples import NOW_MS
from tocsin.consumers.holds import Hold, HoldKind, Holds
from tocsin.consumers.subscriptions import Subscription
from tocsin.deploy.policy.document import Approvals
from tocsin.deploy.policy.journal import Step, acl_name
from tocsin.deploy.policy.plan import Plan
from tocsin.deploy.policy.simulate import Candidate, Outcome, Recipient, Rules, after, recipients, simulate
from tocsin.schemas.codec import decode
from tocsin.schemas.names import AlertTopic

TOPIC = TOPICS[0]
NOBODY = Outcome({}, {})


def _wish(rng: random.Random, member: str) -> Subscription:
    wish = Subscription(member, own=rng.random() < 0.3)
    if rng.random() < 0.5:
        return wish
    types = frozenset(rng.sample(["site-taken-down", "merchant-terminated"], rng.randint(0, 2)))
    return replace(wish, everything=False, types=types)


def _world(rng: random.Random) -> LaneWorld:
    pairs = [(member, topic) for member in MEMBERS for topic in TOPICS]
    world = LaneWorld(rng.sample(pairs, rng.randint(0, len(pairs))), asking={m: _wish(rng, m) for m in MEMBERS})
    if rng.random() < 0.4:
        world.standing(rng.choice(READERS), "SUSPENDED")
    if rng.random() < 0.2:
        world.holds = Holds([Hold("secretariat-de", "h1", HoldKind.QUARANTINE, rng.choice(PUBLISHERS))])
    if rng.random() < 0.3:  # seen by one look, not yet by the second
        world.grants ^= {rng.choice(pairs)}
        world.look()
    return world


def _rules(world: LaneWorld) -> Rules:
    context = world.context()
    return Rules(context.sight, context.directory, context.subscriptions, context.holds)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_simulated_is_what_the_lane_decides(seed: int) -> None:
    """Given, with the same ACL, and refused, with the same reason: before it is published and after."""
    rng = random.Random(seed)
    world, topic = _world(rng), rng.choice(TOPICS)
    status = "RETRACTED" if rng.random() < 0.1 else "ACTIVE"
    published = alert("l1", publisher=rng.choice(PUBLISHERS), status=status)
    candidate = Candidate(AlertTopic.parse(topic), 0, NOW_MS, {**published.record, "details": {}})
    before = simulate(candidate, _rules(world))
    world.publish(topic, published)
    world.read()
    _, tx = world.make()
    decision = decode(tx.decisions[0])[1]
    assert before.given == {one["member"]: one["rule"] for one in decision["given"]}
    assert before.refused == {one["member"]: one["reason"] for one in decision["refused"]}
    assert simulate(candidate, _rules(world)) == before


def _plan(*steps: Step) -> Plan:
    return Plan(
        plan_id="p",
        made_at=datetime(2026, 11, 23, tzinfo=UTC),
        by="anna",
        coalition="test",
        cluster_id="c",
        policy_sha256="",
        acls_sha256="",
        steps=steps,
        releases={},
        rule=Approvals(widening=0),
        new_rule=Approvals(widening=0),
        warnings=(),
    )


def test_a_plan_is_simulated_before_it_is_applied() -> None:
    """What it creates counts, what it deletes does not; all else stays. Rows that are not on topics are left out."""
    world = LaneWorld([("bank-de", TOPIC), ("isp-de", TOPIC)])
    group = replace(rule_of("bank-fr", "bank-fr."), resource_type="GROUP")
    plan = _plan(
        Step("CREATE", "SIGHT", f"bank-fr {TOPIC}"),
        Step("CREATE", "ACL", acl_name(rule_of("bank-fr", TOPIC))),
        Step("DELETE", "ACL", acl_name(rule_of("bank-de", TOPIC))),
        Step("CREATE", "ACL", acl_name(group)),
    )
    left = after(plan, world.sight)
    assert {*left.latest.acls.rows} == {rule_of("bank-fr", TOPIC), rule_of("isp-de", TOPIC)}
    candidate = Candidate(AlertTopic.parse(TOPIC), 0, NOW_MS, {**alert("l1").record, "details": {}})
    now = simulate(candidate, _rules(world))
    then = simulate(candidate, replace(_rules(world), sight=left))
    assert [(one.sign, one.member) for one in recipients(now, then)] == [
        ("-", "bank-de"),
        ("+", "bank-fr"),
        ("", "isp-de"),
    ]


def test_a_member_that_is_refused_after_a_plan_is_named_once() -> None:
    """With the ACL that it had, and why it is refused."""
    now, then = Outcome({"isp-de": "ALLOW"}, {"bank-fr": "no-sight"}), Outcome({}, {"isp-de": "no-sight"})
    assert [*recipients(now, then)] == [Recipient("-", "isp-de", "no longer given", "ALLOW", "no-sight")]
    assert [*recipients(now)] == [
        Recipient("", "isp-de", "given", "ALLOW", None),
        Recipient("", "bank-fr", "refused", None, "no-sight"),
    ]
    assert [*recipients(NOBODY)] == []
