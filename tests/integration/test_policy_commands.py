"""`tocsin policy` on a real cluster: what would change, who sees what and why, hand-made ACLs included."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.load import TOPIC
from tests.world import World, tocsin
from tocsin.consumers.acl import AclRow
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.cluster.tls import make_certificates
from tocsin.deploy.policy.acls import create_acls, delete_acls
from tocsin.deploy.policy.apply import plan_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.bundle import CA
from tocsin.schemas.names import DELIVERY_HOST

BLIND = "reader-03"
BY_HAND = AclRow("TOPIC", "alerts.se.", "PREFIXED", f"User:{BLIND}", DELIVERY_HOST, "READ", "ALLOW")


def _words(world: World) -> list[str]:
    return ["--home", str(world.home), "--policy", str(world.policy_file)]


@contextmanager
def changed(world: World) -> Generator[None]:
    """The policy file lets reader-03 see Sweden's, and reader-02 nothing; nobody has applied it."""
    before = world.policy_file.read_text()
    policy = yaml.safe_load(before)
    [sweden] = [one for one in policy["agreements"] if one["id"] == "sweden"]
    sweden["to"]["members"] = [BLIND]
    world.policy_file.write_text(yaml.safe_dump(policy))
    try:
        yield
    finally:
        world.policy_file.write_text(before)


def test_a_plan_says_who_gains_and_who_loses_sight_and_changes_nothing(world: World) -> None:
    """Applied, there is nothing to do."""
    words = ["policy", "plan", str(world.policy_file), "--home", str(world.home)]
    assert tocsin(*words) == []
    with changed(world):
        rows = tocsin(*words, code=3)
        assert tocsin(*words, code=3) == rows
    sight = {(row[""], row["by"], row["of"]): row["why"] for row in rows if row["what"] == "sight"}
    assert sight["+", BLIND, TOPIC] == "agreement sweden"
    assert ("-", "reader-02", TOPIC) in sight
    assert {row["what"] for row in rows} == {"policy", "sight", "ACL"}
    assert tocsin(*words) == []


def test_who_sees_a_topic_and_why(world: World) -> None:
    """An ACL that was made by hand counts, and is said to be none of the policy's."""
    asked = ["policy", "explain", BLIND, TOPIC, *_words(world)]
    [row] = tocsin(*asked, code=1)
    assert row["ACL"] is None
    [row] = tocsin("policy", "explain", "reader-02", TOPIC, *_words(world))
    assert row["why"] == "agreement sweden"
    assert {row["member"] for row in tocsin("policy", "who", TOPIC, *_words(world))} == {
        "reader-00",
        "reader-01",
        "reader-02",
    }
    create_acls(world.admin(), [BY_HAND])
    try:
        [row] = tocsin(*asked)
        assert (row["ACL"], row["why"]) == (BY_HAND.text(), "not in the policy: made by hand, or of an earlier one")
        seen = tocsin("policy", "sees", BLIND, *_words(world))
        assert len(seen) == 12
        assert all(row["topic"].startswith("alerts.se.") for row in seen)
    finally:
        delete_acls(world.admin(), [BY_HAND])
    assert tocsin("policy", "sees", BLIND, *_words(world)) == []


def test_a_policy_is_checked_without_a_cluster(world: World) -> None:
    """A wrong word is a usage error of the command."""
    [row] = tocsin("policy", "check", str(world.policy_file))
    assert row["members"] == 6
    assert tocsin("policy", "explain", "nobody", TOPIC, *_words(world), code=2) == []
    assert tocsin("policy", "explain", BLIND, "alerts.se", *_words(world), code=2) == []


def test_bundles_that_name_other_authorities_are_written_anew(world: World, tmp_path: Path) -> None:
    """A plan says how many, applying does it, and then there is nothing to do."""
    own, members = working_as(POLICY, world.home).path / CA, world.member("reader-00").path / CA
    before = own.read_bytes()
    make_certificates(tmp_path / "next.pem", tmp_path / "unused.pem")
    both = before + (tmp_path / "next.pem").read_bytes()
    words = [str(world.policy_file), "--home", str(world.home)]
    for authorities in (both, before):
        own.write_bytes(authorities)
        [row] = tocsin("policy", "plan", *words, code=3)
        assert (row["what"], row["of"].split()[1:3]) == ("user", ["bundles,", "which"])
        tocsin("policy", "apply", *words)
        assert members.read_bytes() == authorities
        assert tocsin("policy", "plan", *words) == []


def test_for_how_long_topics_are_kept_is_planned_applied_and_warned_of(world: World) -> None:
    """Shorter is said before it is done: what is older goes for good."""
    policy, admin = yaml.safe_load(world.policy_file.read_text()), LocalCluster(world.home).admin()
    shorter = Policy.model_validate({**policy, "retention": {"alerts_days": 14}})
    planned = plan_policy(shorter, admin, world.home)
    assert {(step.action, step.what, step.name) for step in planned.steps if step.what == "TOPIC"} == {
        ("CHANGE", "TOPIC", name) for name in world.topics("alerts.")
    }
    [warning] = [one for one in planned.warnings if TOPIC in one]
    assert "kept for 14 days, until now 30" in warning
    world.set_topics([TOPIC], {"retention.ms": str(14 * 86_400_000)})
    try:
        plan = plan_policy(Policy.model_validate(policy), admin, world.home)
        assert [step.name for step in plan.steps] == [TOPIC]
        assert not [one for one in plan.warnings if TOPIC in one]
    finally:
        world.set_topics([TOPIC], {"retention.ms": str(30 * 86_400_000)})
