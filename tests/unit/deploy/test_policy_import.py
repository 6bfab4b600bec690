"""A policy that is imported gives the sight that the ACLs gave, and says what it does not say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.test_policy import CLIENT, EXAMPLE, random_policy, sight
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.compile import compile_policy, logins
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.imported import TODO, Imported, Known
from tocsin.deploy.policy.importing import import_acls
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, AlertType, Tlp

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
SEEDS = range(150)


def _known(policy: Policy) -> dict[str, Known]:
    return {name: Known(member.role, member.jurisdiction) for name, member in policy.members.items()}


def _imported(policy: Policy, known: dict[str, Known] | None = None, *more: AclRow) -> Imported:
    desired = compile_policy(policy, NOW)
    return import_acls([*desired.rows, *more], [topic.name for topic in desired.topics], "t1", known)


def _completed(imported: Imported, policy: Policy) -> Policy:
    """What is imported, with what a person who knows the coalition of `policy` says where it says TODO."""
    content: dict[str, Any] = yaml.safe_load(imported.text())
    for name, member in content["members"].items():
        true = policy.members[name]
        member |= {"role": true.role, "jurisdiction": true.jurisdiction}
    for one in content["agreements"]:
        one |= {"purposes": ["FRAUD_PREVENTION"], "legal_basis": "GDPR_6_1_F"}
    for row in content["transfers"]:
        row["mechanism"] = "SCC"
        if TODO in (*row["to"], row["plane"]):
            true = policy.members[row["reference"].removeprefix("imported, for ").removesuffix("; to be named")]
            row |= {"to": [true.jurisdiction], "plane": true.plane}
    return Policy.model_validate(content)


def _writing(policy: Policy) -> set[tuple[str, str]]:
    acls = AclSet(compile_policy(policy, NOW).rows)
    topics = [AlertTopic(place, kind, tlp).name for place in ("de", "fr", "us") for kind in AlertType for tlp in Tlp]
    return {
        (login, topic)
        for member in policy.members
        for login in logins(policy, member)
        for topic in topics
        if acls.decide(f"User:{login}", CLIENT, "WRITE", "TOPIC", topic).allowed
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("knows", [True, False])
def test_an_imported_policy_gives_the_same_sight(seed: int, *, knows: bool) -> None:
    """The same that members are given, may read themselves and may publish, whether roles are known or asked for."""
    policy = random_policy(seed)
    imported = _imported(policy, _known(policy) if knows else None)
    assert imported.left == ()
    again = _completed(imported, policy)
    before, after = compile_policy(policy, NOW).rows, compile_policy(again, NOW).rows
    assert again.members.keys() == policy.members.keys()
    assert sight(after, policy) == sight(before, policy)
    assert sight(after, policy, CLIENT) == sight(before, policy, CLIENT)
    if knows:
        assert _writing(again) == _writing(policy)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_forbidden_stays_forbidden(seed: int) -> None:
    """A DENY comes back, so that what is granted by hand later is not seen either."""
    policy = random_policy(seed)
    again = _completed(_imported(policy, _known(policy)), policy)
    hand = {
        AclRow("TOPIC", "alerts.", "PREFIXED", f"User:{name}", DELIVERY_HOST, "READ", "ALLOW")
        for name in policy.members
    }
    before, after = compile_policy(policy, NOW).rows, compile_policy(again, NOW).rows
    lanes = {f"alerts.{place}." for place in policy.jurisdictions()}
    allowed = {pair for pair in sight(before | hand, policy) if pair[1][:10] in lanes}
    assert {pair for pair in sight(after | hand, policy) if pair[1][:10] in lanes} == allowed


@pytest.mark.parametrize("seed", range(0, 150, 10))
def test_what_is_imported_is_no_policy_before_a_person_has_completed_it(tmp_path: Path, seed: int) -> None:
    """Every TODO is refused, with its line."""
    policy = random_policy(seed)
    file = tmp_path / "first.yaml"
    file.write_text(_imported(policy).text())
    with pytest.raises(PolicyInvalid) as refused:
        read_policy(file)
    for name, member in yaml.safe_load(file.read_text())["members"].items():
        for key in ("role", "jurisdiction"):
            assert (f" members.{name}.{key}: " in str(refused.value)) == (member[key] == TODO)


def _small() -> Policy:
    return Policy.model_validate(
        {
            "coalition": "t1",
            "members": {
                "bank-de": {"role": "bank", "jurisdiction": "de", "publishes": ["merchant-terminated"]},
                "bank-fr": {"role": "bank", "jurisdiction": "fr", "publishes": ["merchant-terminated"]},
            },
        }
    )


GREEN = "alerts.de.merchant-terminated.green"
STRANGE = {
    "everybody": AclRow("TOPIC", GREEN, "LITERAL", "User:*", "*", "DESCRIBE", "ALLOW"),
    "every topic": AclRow("TOPIC", "*", "LITERAL", "User:bank-fr", DELIVERY_HOST, "READ", "ALLOW"),
    "a stranger": AclRow("TOPIC", GREEN, "LITERAL", "User:watcher", "*", "READ", "ALLOW"),
    "no user": AclRow("TOPIC", GREEN, "LITERAL", "Group:bank-fr", "*", "READ", "ALLOW"),
    "another host": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-fr", "10.0.0.1", "READ", "ALLOW"),
    "all operations": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-fr", "*", "ALL", "DENY"),
    "a label alone": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-fr", DELIVERY_HOST, "READ", "ALLOW"),
    "a label alone, denied": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-fr", "*", "READ", "DENY"),
    "another's alerts": AclRow(
        "TOPIC", "alerts.de.merchant-terminated.", "PREFIXED", "User:bank-fr", "*", "WRITE", "ALLOW"
    ),
    "one alert topic": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-de", "*", "WRITE", "ALLOW"),
    "a group": AclRow("GROUP", "other", "LITERAL", "User:bank-fr", "*", "READ", "ALLOW"),
    "a login": AclRow("TOPIC", GREEN, "LITERAL", "User:bank-fr.soc", DELIVERY_HOST, "READ", "ALLOW"),
    "a line\nbreak": AclRow("TOPIC", GREEN, "LITERAL", "User:x\nmembers: {}", "*", "READ", "ALLOW"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_a_policy_cannot_say_is_named(what: str) -> None:
    """On a line of its own, as a comment; and nobody sees more by the policy than he did."""
    policy, row = _small(), STRANGE[what]
    imported = _imported(policy, _known(policy), row)
    assert imported.left
    assert any(row.name in line and row.principal in line for line in imported.left)
    again = _completed(imported, policy)
    live = [*compile_policy(policy, NOW).rows, row]
    assert again.members.keys() == policy.members.keys()
    assert sight(compile_policy(again, NOW).rows, policy) <= sight(live, policy)


def test_sight_by_a_prefix_made_by_hand_becomes_an_agreement() -> None:
    """Across a border, with a transfer to be named."""
    policy = _small()
    row = AclRow("TOPIC", "alerts.de.", "PREFIXED", "User:bank-fr", DELIVERY_HOST, "READ", "ALLOW")
    imported = _imported(policy, _known(policy), row)
    [agreement], [transfer] = imported.content["agreements"], imported.content["transfers"]
    assert (agreement["alerts_of"], agreement["up_to"], agreement["to"]) == (
        ["de"],
        "AMBER_STRICT",
        {"members": ["bank-fr"]},
    )
    assert (transfer["from"], transfer["to"], transfer["mechanism"]) == (["de"], ["fr"], TODO)


def test_the_example_comes_back_with_few_agreements() -> None:
    """Members that see the same are together."""
    policy = read_policy(EXAMPLE)
    imported = _imported(policy, _known(policy))
    assert imported.left == ()
    assert len(imported.content["agreements"]) < 30
    again = _completed(imported, policy)
    topics = [topic.name for topic in compile_policy(policy, NOW).topics if topic.name.startswith("alerts.")]
    before, after = (AclSet(compile_policy(one, NOW).rows) for one in (policy, again))
    for topic in topics:
        seen = [acls.readers(topic, DELIVERY_HOST).keys() for acls in (before, after)]
        assert seen[0] == seen[1]
