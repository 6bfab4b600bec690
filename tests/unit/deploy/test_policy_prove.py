"""What must never be so is found out, however it came to be so; and what a policy's own tests expect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.prove import breaches, findings
from tocsin.schemas.names import DELIVERY_HOST

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
MERCHANTS = "alerts.de.merchant-terminated.amber"
GREEN = "alerts.de.merchant-terminated.green"


def _policy(**changes: Any) -> Policy:
    """A bank sees merchants up to AMBER, an isp up to GREEN; no isp may ever see more."""
    terms = {"alerts_of": ["de"], "types": ["merchant-terminated"], "purposes": ["FRAUD_PREVENTION"]}
    terms["legal_basis"] = "GDPR_6_1_F"  # type: ignore[assignment]
    return Policy.model_validate(
        {
            "coalition": "test",
            "members": {
                "acquirer-de": {"role": "acquirer", "jurisdiction": "de", "publishes": ["merchant-terminated"]},
                "bank-de": {"role": "bank", "jurisdiction": "de"},
                "isp-de": {"role": "isp", "jurisdiction": "de", "logins": {"soc": "receive"}},
            },
            "agreements": [
                {"id": "banks", "up_to": "AMBER", "to": {"roles": ["bank"]}, **terms},
                {"id": "isps", "up_to": "GREEN", "to": {"roles": ["isp"]}, **terms},
            ],
            "invariants": [
                {
                    "id": "isps",
                    "says": "no isp sees merchants above green",
                    "types": ["merchant-terminated"],
                    "above": "GREEN",
                    "to": {"roles": ["isp"]},
                }
            ],
            **changes,
        }
    )


def _row(principal: str, name: str, **changes: str) -> AclRow:
    fields = {"resource_type": "TOPIC", "pattern": "LITERAL", "host": "*", "operation": "READ", "permission": "ALLOW"}
    return AclRow(**{**fields, "name": name, "principal": principal, **changes})


def test_a_sound_policy_breaks_nothing() -> None:
    """By its own ACLs."""
    assert [*findings(_policy(), NOW)] == []


WAYS = {
    "sight": (_row("User:isp-de", MERCHANTS, host=DELIVERY_HOST), "User:isp-de", "given it by the fan-out; isp of de"),
    "a client's reading": (_row("User:isp-de", MERCHANTS, host="10.0.0.7"), "User:isp-de", "reads the topic itself"),
    "another login of its": (_row("User:isp-de.soc", MERCHANTS), "User:isp-de.soc", "reads the topic itself"),
    "one that nobody knows": (_row("User:isp-de.x", MERCHANTS), "User:isp-de.x", "isp of de"),
    "a prefix": (_row("User:isp-de", "alerts.de.merchant-t", pattern="PREFIXED"), "User:isp-de", "isp of de"),
    "the wildcard": (_row("User:isp-de", "*", operation="ALL"), "User:isp-de", "isp of de"),
    "everybody": (_row("User:*", MERCHANTS), "User:anybody else", "is no member's login"),
    "a stranger": (_row("User:watcher", MERCHANTS), "User:watcher", "is no member's login"),
    "another kind of principal": (_row("Group:isps", MERCHANTS), "Group:isps", "is no member's login"),
    "somebody's inbox": (_row("User:isp-de", "inbox.bank-de"), "User:isp-de", "reads the inbox of bank-de"),
    "all inboxes": (_row("User:isp-de", "inbox.", pattern="PREFIXED"), "User:isp-de", "reads the inbox of bank-de"),
    "the ledger": (_row("User:isp-de", "ledger.de"), "User:isp-de", "reads the ledger of de"),
    "the right to change ACLs": (
        _row("User:isp-de", "kafka-cluster", resource_type="CLUSTER", operation="ALTER"),
        "User:isp-de",
        "may change ACLs",
    ),
    "the policy tool's own login": (_row("User:policy", "ledger.de"), "User:policy", "reads the ledger of de"),
    "the login that only looks": (_row("User:drift", MERCHANTS), "User:drift", "reads the topic itself"),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_an_alert_is_found(name: str) -> None:
    """With the ACL that opens it."""
    row, principal, how = WAYS[name]
    policy = _policy()
    rows = compile_policy(policy, NOW).rows
    assert [*breaches(policy, AclSet(rows))] == []
    found = {one.principal: one for one in breaches(policy, AclSet({*rows, row})) if one.topic == MERCHANTS}
    assert how in found[principal].text
    assert found[principal].rule == row


HARMLESS = {
    "green": _row("User:isp-de", GREEN),
    "another's sight": _row("User:bank-de", "alerts.de.merchant-terminated.amber-strict"),
    "denied": _row("User:isp-de", MERCHANTS, permission="DENY"),
    "its own inbox": _row("User:isp-de.soc", "inbox.isp-de"),
    "an inbox without such alerts": _row("User:isp-de", "inbox.acquirer-de"),
    "writing": _row("User:isp-de", MERCHANTS, operation="WRITE"),
    "describing": _row("User:isp-de", MERCHANTS, operation="DESCRIBE"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_opens_no_way_is_no_breach(name: str) -> None:
    """A proof that cries wolf is not read."""
    policy = _policy()
    assert [*breaches(policy, AclSet({*compile_policy(policy, NOW).rows, HARMLESS[name]}))] == []


def test_a_prohibition_stands_against_what_is_made_by_hand() -> None:
    """Where an invariant finds it out."""
    policy = _policy(
        prohibitions=[
            {
                "id": "no-isp",
                "reason": "law",
                "above": "GREEN",
                "to": {"roles": ["isp"]},
                "types": ["merchant-terminated"],
            }
        ]
    )
    by_hand = _row("User:isp-de", "*", operation="ALL")
    rows = {*compile_policy(policy, NOW).rows, by_hand}
    assert [one for one in breaches(policy, AclSet(rows)) if "isp-de reads the topic" in one.text] == []


def test_what_only_time_brings_is_found_before_it_comes() -> None:
    """An agreement that begins next month breaks an invariant then."""
    begins = NOW + timedelta(days=30)
    later = _policy().model_dump(mode="json", by_alias=True)
    later["agreements"][1] |= {"up_to": "AMBER", "valid_from": begins.isoformat()}
    found = [*findings(Policy.model_validate(_without_empty(later)), NOW)]
    assert {(one.what, one.begins) for one in found} == {("invariant isps", begins)}


def _without_empty(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_empty(value) for key, value in node.items() if value not in (None, [], {})}
    return [_without_empty(one) for one in node] if isinstance(node, list) else node


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"member": "bank-de", "topic": MERCHANTS, "sees": True, "by": "banks"}, None),
        ({"member": "isp-de", "topic": MERCHANTS, "sees": False}, None),
        ({"member": "bank-de", "topic": MERCHANTS, "sees": False}, "sees it, by agreement banks"),
        (
            {"member": "isp-de", "topic": MERCHANTS, "sees": True},
            "does not see it (banks: to.roles does not have isp, isps: up_to is GREEN)",
        ),
        (
            {"member": "bank-de", "topic": MERCHANTS, "sees": True, "by": "isps"},
            "sees it, but not by agreement isps: by agreement banks",
        ),
    ],
)
def test_tests_of_a_policy_pass_or_say_what_is_so(expected: dict[str, Any], found: str | None) -> None:
    """By whom it is seen too."""
    said = [one.text for one in findings(_policy(tests=[expected]), NOW)]
    assert said == [] if found is None else found in said[0]
