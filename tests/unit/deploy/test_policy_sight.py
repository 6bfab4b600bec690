"""Who sees what, and why or why not: as the compiled ACLs say, for random policies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.deploy.test_policy import NOW, random_policy
from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.sight import SightChange, look, matched, missing, readers, seen_by, sight_changes
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic

TOPIC = "alerts.de.site-taken-down.green"


def _policy(**changes: Any) -> Policy:
    agreement = {
        "id": "takedowns",
        "alerts_of": ["de"],
        "types": ["site-taken-down"],
        "up_to": "GREEN",
        "purposes": ["CSE_DISRUPTION"],
        "legal_basis": "GDPR_6_1_F",
        "to": {"roles": ["isp"], "jurisdictions": ["fr"], "without": ["isp-out"]},
        **changes,
    }
    return Policy.model_validate(
        {
            "coalition": "test",
            "members": {
                "hotline-de": {"role": "hotline", "jurisdiction": "de"},
                "isp-fr": {"role": "isp", "jurisdiction": "fr"},
                "isp-us": {"role": "isp", "jurisdiction": "us"},
                "isp-out": {"role": "isp", "jurisdiction": "fr"},
                "isp-gone": {"role": "isp", "jurisdiction": "fr", "status": "suspended"},
            },
            "agreements": [agreement],
            "transfers": [
                {
                    "from": ["de", "us"],
                    "to": ["fr", "us"],
                    "plane": "private",
                    "mechanism": "EEA",
                    "reference": "GDPR",
                }
            ],
        }
    )


@pytest.mark.parametrize("seed", range(100))
def test_what_is_missing_is_said_exactly_where_sight_is(seed: int) -> None:
    """No agreement gives it: each says what is missing. One gives it: that one says nothing, and is named."""
    policy = random_policy(seed)
    desired = compile_policy(policy, NOW)
    acls = AclSet(desired.rows)
    for topic in [topic.name for topic in desired.topics if topic.name.startswith("alerts.")]:
        seeing = readers(acls, policy.members, topic)
        for member in policy.members:
            seen = look(acls, desired, member, topic)
            absent = {one.agreement for one in missing(policy, member, AlertTopic.parse(topic), NOW)}
            giving = {f"agreement {one.id}" for one in policy.agreements if one.id not in absent}
            assert seen.allowed == (member in seeing) == bool(giving)
            named = {reason.split(" by ")[0] for reason in seen.reasons}
            assert named <= giving if seen.allowed else not any(name.startswith("agreement") for name in named)
            assert bool(seen.reasons) == (seen.rule is not None)


@pytest.mark.parametrize(
    ("member", "topic", "changes", "condition"),
    [
        ("isp-gone", TOPIC, {}, "isp-gone is suspended"),
        ("isp-fr", "alerts.us.site-taken-down.green", {}, "alerts_of does not have us"),
        ("isp-fr", "alerts.de.merchant-terminated.green", {}, "types does not have merchant-terminated"),
        ("isp-fr", "alerts.de.site-taken-down.amber", {}, "up_to is GREEN"),
        ("isp-out", TOPIC, {}, "to.without names isp-out"),
        ("hotline-de", TOPIC, {}, "to.roles does not have hotline"),
        ("isp-us", TOPIC, {}, "to.jurisdictions does not have us"),
        ("isp-fr", TOPIC, {"to": {"members": ["isp-us"]}}, "to.members does not name isp-fr"),
        ("isp-fr", TOPIC, {"valid_from": NOW + timedelta(days=1)}, f"not in force on {NOW.date()}"),
        ("isp-fr", TOPIC, {"up_to": "CLEAR"}, "up_to is CLEAR"),
        ("isp-us", TOPIC, {"to": {"outside": ["us"]}}, "to.outside has us"),
    ],
)
def test_the_first_condition_that_does_not_hold(
    member: str, topic: str, changes: dict[str, Any], condition: str
) -> None:
    """In the words of the policy file."""
    [one] = missing(_policy(**changes), member, AlertTopic.parse(topic), NOW)
    assert (one.agreement, one.condition) == ("takedowns", condition)


def test_an_acl_that_was_made_by_hand_is_seen_and_is_in_no_agreement() -> None:
    """Also one that takes sight away."""
    policy = _policy()
    desired = compile_policy(policy, NOW)
    hand = AclRow("TOPIC", "alerts.", "PREFIXED", "User:isp-us", DELIVERY_HOST, "READ", "ALLOW")
    deny = AclRow("TOPIC", TOPIC, "LITERAL", "User:isp-fr", "*", "READ", "DENY")
    acls = AclSet({*desired.rows, hand, deny})
    [seen] = seen_by(acls, desired, policy.members, [TOPIC])
    assert (seen.member, seen.rule, seen.reasons) == ("isp-us", hand, ())
    refused = look(acls, desired, "isp-fr", TOPIC)
    assert (refused.allowed, refused.rule) == (False, deny)


def test_a_change_of_acls_says_who_gains_and_who_loses_what() -> None:
    """Who has sight before and after, by whatever row, is not named."""
    policy = _policy()
    desired = compile_policy(policy, NOW)
    kept = AclRow("TOPIC", "alerts.", "PREFIXED", "User:isp-us", DELIVERY_HOST, "READ", "ALLOW")
    narrower = AclRow("TOPIC", TOPIC, "LITERAL", "User:isp-us", DELIVERY_HOST, "READ", "ALLOW")
    lost = AclRow("TOPIC", TOPIC, "LITERAL", "User:isp-gone", DELIVERY_HOST, "READ", "ALLOW")
    changes = sight_changes(AclSet([kept, lost]), AclSet({*desired.rows, narrower}), desired, policy.members, [TOPIC])
    assert [*changes] == [
        SightChange("isp-fr", TOPIC, gains=True, reasons=("agreement takedowns by EEA GDPR",)),
        SightChange("isp-gone", TOPIC, gains=False, reasons=()),
    ]


def test_only_topics_that_a_row_matches_are_looked_at() -> None:
    """By name, by prefix, or all by the wildcard; rows on anything else have no say."""
    topics = [TOPIC, "alerts.de.site-taken-down.amber", "alerts.fr.site-taken-down.green"]
    row = AclRow("TOPIC", TOPIC, "LITERAL", "User:isp-fr", "*", "READ", "ALLOW")
    assert matched(topics, []) == []
    assert matched(topics, [row]) == [TOPIC]
    assert matched(topics, [replace(row, name="alerts.de.", pattern="PREFIXED")]) == topics[:2]
    assert matched(topics, [replace(row, name="*")]) == topics
    assert matched(topics, [replace(row, name="*", resource_type="GROUP")]) == []
