"""Plans, approvals, proofs, drift, time and emergencies, on a real cluster of this module's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.load import TOPIC
from tests.world import World, agreement, guarded_policy, small_policy
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.cli import app
from tocsin.deploy.errors import PlanRefused, PolicyInvalid, TocsinDeployError
from tocsin.deploy.policy.acls import create_acls, delete_acls, read_acls
from tocsin.deploy.policy.journal import Kind, changes, read_journal
from tocsin.deploy.policy.records import read_all
from tocsin.deploy.policy.sight import readers
from tocsin.schemas.names import DELIVERY_HOST, POLICY_AUDIT_TOPIC, AlertType
from tocsin.schemas.signing import SigningKey

BLIND = "reader-03"
AMBER = "alerts.se.site-taken-down.amber"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster whose ACLs and policy these tests change; nobody fans out."""
    made = World(tmp_path_factory.mktemp("policy") / "home", guarded_policy())
    try:
        made.up()
        yield made
    finally:
        made.down()


class Secretariat:
    """What the secretariat does, with the command."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._words = [str(world.policy_file), "--home", str(world.home)]

    def run(self, command: str, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """`tocsin policy COMMAND FILE`: what it says, as JSON."""
        done = CliRunner().invoke(app, ["policy", command, *self._words, "--output", "json", *words])
        if isinstance(done.exception, TocsinDeployError):
            raise done.exception
        assert done.exit_code == code, done.output
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def edit(self, **changes: Any) -> None:
        """Change the policy file."""
        policy = yaml.safe_load(self.world.policy_file.read_text())
        self.world.policy_file.write_text(yaml.safe_dump({**policy, **changes}))

    def agree(self, *added: dict[str, Any]) -> None:
        """The small policy's agreements, and these."""
        self.edit(agreements=[*small_policy()["agreements"], *added])

    def sees(self, member: str, topic: str = TOPIC) -> bool:
        """Whether the live ACLs give `member` sight."""
        return member in readers(AclSet(read_acls(self.world.admin())), [member], topic)


@pytest.fixture
def secretariat(own: World) -> Iterator[Secretariat]:
    """Begins and ends with the small policy applied, and no approvals needed."""
    made = Secretariat(own)
    before = own.policy_file.read_text()
    yield made
    own.policy_file.write_text(before)
    own.apply()


def _by_hand(name: str = TOPIC, **changes: str) -> AclRow:
    fields = {"resource_type": "TOPIC", "pattern": "LITERAL", "operation": "READ", "permission": "ALLOW"}
    return AclRow(**{**fields, "name": name, "principal": f"User:{BLIND}", "host": DELIVERY_HOST, **changes})


def test_a_saved_plan_is_applied_to_what_it_was_made_for_only(secretariat: Secretariat, tmp_path: Path) -> None:
    """Other ACLs, or another policy: refused, and nothing is changed. Applied, there is nothing left to do."""
    saved = str(tmp_path / "plan.json")
    secretariat.agree(agreement("more", ["se"], [BLIND]))
    secretariat.run("plan", "--out", saved, code=3)
    deny = _by_hand(permission="DENY", host="*", name="alerts.de.")
    create_acls(secretariat.world.admin(), [deny])
    with pytest.raises(PlanRefused, match="live ACLs have changed"):
        secretariat.run("apply", "--plan", saved)
    delete_acls(secretariat.world.admin(), [deny])
    secretariat.agree(agreement("more", ["se"], [BLIND], up_to="CLEAR"))
    with pytest.raises(PlanRefused, match="policy files have changed"):
        secretariat.run("apply", "--plan", saved)
    assert not secretariat.sees(BLIND)
    secretariat.agree(agreement("more", ["se"], [BLIND]))
    secretariat.run("apply", "--plan", saved)
    assert secretariat.sees(BLIND)
    assert secretariat.run("plan") == []


def test_widening_needs_the_approval_of_others_where_the_policy_says_so(
    secretariat: Secretariat, tmp_path: Path
) -> None:
    """Of that very plan, by a key of the policy in force; who made the plan, or another key, does not count."""
    ann, eve = SigningKey.generate("ann"), SigningKey.generate("eve")
    for key in (ann, eve):
        key.save(tmp_path / f"{key.member}.pem")
    rule = {"widening": 1, "approvers": {"ann": ann.public.hex()}}
    secretariat.edit(approvals=rule)
    secretariat.run("apply")
    # a policy that asks for nobody's word any more, or for a friend's, still needs Ann's
    secretariat.edit(approvals={"widening": 1, "approvers": {"eve": eve.public.hex()}})
    with pytest.raises(PlanRefused, match="let one of ann run"):
        secretariat.run("apply")
    secretariat.edit(approvals=rule)
    secretariat.agree(agreement("more", ["se"], [BLIND]))
    with pytest.raises(PlanRefused, match=r"widens sight \(now 2, .*tocsin policy approve"):
        secretariat.run("apply")
    # nor does it help to let time do it
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    secretariat.agree(agreement("more", ["se"], [BLIND], valid_from=tomorrow))
    with pytest.raises(PlanRefused, match=r"by itself later 2 times"):
        secretariat.run("apply")
    secretariat.agree(agreement("more", ["se"], [BLIND]))
    saved = tmp_path / "plan.json"
    secretariat.run("plan", "--out", str(saved), "--by", "bob", code=3)
    assert _approve(saved, tmp_path / "eve.pem", "eve") == 2
    assert _approve(saved, tmp_path / "eve.pem", "ann") == 2
    with pytest.raises(PlanRefused, match="has 0"):
        secretariat.run("apply", "--plan", str(saved))
    assert _approve(saved, tmp_path / "ann.pem", "ann") == 0
    (tmp_path / "other.json").write_bytes(saved.read_bytes().replace(b'"bob"', b'"rob"'))
    (tmp_path / "other.json.ann.approval").write_bytes((tmp_path / "plan.json.ann.approval").read_bytes())
    with pytest.raises(PlanRefused, match="has 0"):
        secretariat.run("apply", "--plan", str(tmp_path / "other.json"))
    assert not secretariat.sees(BLIND)
    secretariat.run("apply", "--plan", str(saved))
    assert secretariat.sees(BLIND)
    [*_, done] = changes(one.value for one in read_all(secretariat.world.cluster.admin(), POLICY_AUDIT_TOPIC))
    assert (done.kind, [one.approver for one in done.approvals]) == (Kind.DONE, ["ann"])
    # what ends sight need not wait for what begins it
    secretariat.edit(agreements=[agreement("other", ["se", "de"], [BLIND, "reader-00"])])
    with pytest.raises(PlanRefused, match="widens sight"):
        secretariat.run("apply")
    secretariat.run("apply", "--narrowing")
    assert secretariat.sees(BLIND)
    assert not secretariat.sees(BLIND, "alerts.de.site-taken-down.green")
    assert not secretariat.sees("reader-01")
    # a policy that only narrows needs nobody's word
    secretariat.edit(agreements=[agreement("other", ["se"], [BLIND])])
    secretariat.run("apply")
    assert not secretariat.sees("reader-00")
    _ask_nobody(secretariat, tmp_path)
    assert secretariat.sees("reader-00")
    assert not secretariat.sees(BLIND)


def _ask_nobody(secretariat: Secretariat, folder: Path) -> None:
    """The small policy, for which nobody is asked: that is Ann's to approve."""
    secretariat.agree()
    secretariat.edit(approvals={"widening": 0})
    saved = folder / "last.json"
    secretariat.run("plan", "--out", str(saved), "--by", "bob", code=3)
    assert _approve(saved, folder / "ann.pem", "ann") == 0
    secretariat.run("apply", "--plan", str(saved))


def _approve(plan: Path, key: Path, name: str) -> int:
    return CliRunner().invoke(app, ["policy", "approve", str(plan), "--key", str(key), "--as", name]).exit_code


def test_invariants_are_proved_over_live_acls_or_broken_by_example(secretariat: Secretariat) -> None:
    """A policy that breaks its own is not applied at all."""
    [row] = secretariat.run("prove")
    assert row["invariant"] == "nobody-sees-amber"
    by_hand = _by_hand("alerts.se.", pattern="PREFIXED", host="*")
    create_acls(secretariat.world.admin(), [by_hand])
    try:
        found = secretariat.run("prove", code=3)
        assert {row["counter-example"].split(":")[1] for row in found} == {
            f"{BLIND} can have alerts.se.{kind.value}.{tlp}" for kind in AlertType for tlp in ("amber", "amber-strict")
        }
    finally:
        delete_acls(secretariat.world.admin(), [by_hand])
    secretariat.agree(agreement("wrong", ["se"], [BLIND], up_to="AMBER"))
    with pytest.raises(PolicyInvalid, match="invariant nobody-sees-amber"):
        secretariat.run("apply")
    with pytest.raises(PolicyInvalid, match="invariant nobody-sees-amber"):
        secretariat.run("plan")


def test_a_login_without_rights_tells_whether_everybody_has_some(secretariat: Secretariat) -> None:
    """An ACL for everyone is found by trying, whatever the rows say."""
    everyone = _by_hand("*", principal="User:*", operation="DESCRIBE", host="*")
    create_acls(secretariat.world.admin(), [everyone])
    try:
        found = secretariat.run("prove", code=3)
        assert [row["counter-example"].split(":")[0] for row in found] == [
            "canary may see alerts.de.merchant-terminated.clear"
        ]
    finally:
        delete_acls(secretariat.world.admin(), [everyone])


def test_drift_is_whatever_is_not_as_the_policy_has_it(secretariat: Secretariat) -> None:
    """Taken away, added, or made by hand beside it, and left alone by applying."""
    assert secretariat.run("drift") == []
    lost = _by_hand(principal="User:reader-02")
    added = _by_hand(AMBER)
    foreign = _by_hand("alerts.de.", pattern="PREFIXED", permission="DENY", host="*")
    delete_acls(secretariat.world.admin(), [lost])
    create_acls(secretariat.world.admin(), [added, foreign])
    kinds = {(row["kind"], row["what"].rpartition(" ")[2]) for row in secretariat.run("drift", code=3)}
    assert {("missing", TOPIC), ("extra", AMBER), ("foreign", "alerts.de.")} <= kinds
    assert any(kind == "breach" for kind, _ in kinds)
    secretariat.run("apply")
    assert [row["kind"] for row in secretariat.run("drift", code=3)] == ["foreign"]
    delete_acls(secretariat.world.admin(), [foreign])
    assert secretariat.run("drift") == []


def test_a_prohibition_denies_and_is_lifted_again(secretariat: Secretariat) -> None:
    """Its DENY is the policy's own, so that it goes with it; one made by hand stays."""
    by_hand = _by_hand("alerts.de.", pattern="PREFIXED", permission="DENY", host="*")
    create_acls(secretariat.world.admin(), [by_hand])
    secretariat.edit(prohibitions=[{"id": "court", "reason": "order 7", "to": {"members": ["reader-02"]}}])
    secretariat.run("apply")
    assert not secretariat.sees("reader-02")
    create_acls(secretariat.world.admin(), [_by_hand(principal="User:reader-02")])
    assert not secretariat.sees("reader-02")
    secretariat.edit(prohibitions=[])
    secretariat.run("apply")
    assert secretariat.sees("reader-02")
    assert {row for row in read_acls(secretariat.world.admin()) if row.permission == "DENY"} == {by_hand}
    delete_acls(secretariat.world.admin(), [by_hand])


def test_what_ends_by_itself_is_ended_by_a_tick_and_nothing_else_is_done(secretariat: Secretariat) -> None:
    """Also what begins; but not what somebody has written into the files since."""
    soon = datetime.now(UTC) + timedelta(seconds=12)
    secretariat.agree(
        agreement("ending", ["se"], [BLIND], valid_to=soon),
        agreement("beginning", ["de"], [BLIND], valid_from=soon),
    )
    secretariat.run("apply")
    assert secretariat.sees(BLIND)
    assert any(row.get("name") == "ending" for row in secretariat.run("tick"))
    assert secretariat.sees(BLIND)
    drifted = _by_hand(principal="User:reader-02")
    delete_acls(secretariat.world.admin(), [drifted])
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    secretariat.run("tick")
    assert not secretariat.sees(BLIND)
    assert secretariat.sees(BLIND, "alerts.de.site-taken-down.green")
    assert not secretariat.sees("reader-02"), "only what time changes is changed"
    secretariat.edit(agreements=[])
    with pytest.raises(PlanRefused, match="not what was applied last"):
        secretariat.run("tick")


def test_break_glass_gives_sight_at_once_and_ends_by_itself(secretariat: Secretariat) -> None:
    """On record with who and why, in drift while it lasts; a prohibition is not broken."""
    asked = ["--policy", str(secretariat.world.policy_file), "--home", str(secretariat.world.home), "--by", "ann"]
    words = ["policy", "break-glass", BLIND, TOPIC, *asked, "--why", "case 11"]
    done = CliRunner().invoke(app, [*words, "--hours", "0.002"])
    assert done.exit_code == 0, done.output
    assert secretariat.sees(BLIND)
    [row] = secretariat.run("drift", code=3)
    assert (row["kind"], row["what"]) == ("break-glass", f"{BLIND} {TOPIC}")
    given = read_journal(secretariat.world.cluster.admin()).glass[-1]
    assert (given.by, given.why) == ("ann", "case 11")
    secretariat.run("apply")
    time.sleep(max(0.0, (given.until - datetime.now(UTC)).total_seconds()))
    secretariat.run("tick")
    assert not secretariat.sees(BLIND)
    assert secretariat.run("drift") == []
    secretariat.edit(prohibitions=[{"id": "court", "reason": "order 7", "to": {"members": [BLIND]}}])
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, PolicyInvalid)
